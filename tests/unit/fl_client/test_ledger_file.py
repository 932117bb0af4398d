# SPDX-License-Identifier: Apache-2.0
"""A ledger file that is cut short, edited, another vault's or in use is refused and left alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vault_world import VaultWorld, make_world, world

from dao.records import PrivacyPolicy
from fl_client.ledger_file import LedgerFile
from fl_client.refusals import Code, Refused
from fl_client.service_lock import ServiceLock
from privacy.filters import LifetimeLimit

__all__ = ["world"]

ACCOUNT = "0x" + "11" * 20
OTHER = "0x" + "22" * 20
LIMIT = LifetimeLimit(epsilon_micro=20_000_000, delta_e12=10_000_000)
POLICY = PrivacyPolicy(
    mechanism="gaussian-full-batch",
    clip_norm_nano=10**9,
    noise_multiplier_micro=4_000_000,
    rounds=6,
    sampling=None,
    survey_noise_micro=0,
    calibration_noise_micro=0,
    delta_e12=10_000_000,
    epsilon_micro=8_000_000,
    public_n=100,
)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def ledger(folder: Path, account: str = ACCOUNT) -> LedgerFile:
    return LedgerFile(folder / "ledger.jsonl", witness=folder / "witness.json", account=account)


def filled(folder: Path, *, rounds: int = 3, account: str = ACCOUNT) -> bytes:
    """A ledger with a reservation and some rounds; its bytes."""
    folder.mkdir(exist_ok=True)
    file = ledger(folder, account)
    entry = file.load().reserve(task_digest=digest("task"), policy=POLICY, limit=LIMIT)
    assert entry is not None
    state = file.append(entry)
    for number in range(1, rounds + 1):
        entry = state.answer(
            task_digest=digest("task"),
            round_number=number,
            base_model_sha256=digest("base"),
            update_sha256=digest(f"update {number}"),
        )
        assert entry is not None
        state = file.append(entry)
    return (folder / "ledger.jsonl").read_bytes()


def refused(folder: Path, account: str = ACCOUNT) -> Refused:
    """Why the ledger is refused, now and again; both files are as before."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(Refused) as caught:
        ledger(folder, account).load()
    with pytest.raises(Refused):
        ledger(folder, account).load()
    assert caught.value.code is Code.LEDGER
    assert caught.value.hint
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    return caught.value


def test_cut_short_anywhere_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    whole = filled(tmp_path)
    path = tmp_path / "ledger.jsonl"
    for length in (0, 1, *range(7, len(whole) - 1, 41), len(whole) - 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "cut short" in refused(tmp_path).message
    path.write_bytes(whole)
    assert ledger(tmp_path).load().length == 4


def test_any_changed_byte_is_refused_and_left_alone(tmp_path: Path) -> None:
    whole = filled(tmp_path)
    generator = np.random.default_rng(0)
    for place in generator.integers(0, len(whole), 150):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(generator.integers(0, 7))
        (tmp_path / "ledger.jsonl").write_bytes(bytes(changed))
        refused(tmp_path)


def test_lines_taken_out_doubled_or_added_are_refused(tmp_path: Path) -> None:
    whole = filled(tmp_path)
    lines = whole.splitlines(keepends=True)
    for change in (
        [lines[0], *lines[2:]],
        [lines[0], lines[2], lines[1], lines[3]],
        [*lines, lines[3]],
        [*lines, b"{}\n"],
        [*lines, b"\n"],
        [b"\xff\xfe\n", *lines],
    ):
        (tmp_path / "ledger.jsonl").write_bytes(b"".join(change))
        assert "line" in refused(tmp_path).message or len(change) < len(lines)


def test_a_change_behind_an_open_ledger_is_seen(tmp_path: Path) -> None:
    """The same length, another past: what was read before is not trusted."""
    whole = filled(tmp_path)
    file = ledger(tmp_path)
    file.load()
    (tmp_path / "ledger.jsonl").write_bytes(whole.replace(b'"round":2', b'"round":5'))
    with pytest.raises(Refused, match="line 3: changed"):
        file.load()
    (tmp_path / "ledger.jsonl").write_bytes(whole)
    assert file.load().length == 4


def test_an_edit_is_told_by_the_line_it_was_made_in(tmp_path: Path) -> None:
    """Whatever was changed there, and the way out is told once."""
    whole = filled(tmp_path, rounds=5)
    lines = whole.splitlines(keepends=True)
    edits = {
        "update_sha256": "0" * 64,
        "base_model_sha256": "0" * 64,
        "previous": "0" * 64,
        "account": OTHER,
        "sequence": 7,
        "round": 6,
        "order": 2,
        "charge_nano": "1",
    }
    for number in range(2, len(lines)):
        for field, value in edits.items():
            changed = json.loads(lines[number - 1]) | {field: value}
            line = json.dumps(changed, sort_keys=True, separators=(",", ":")).encode() + b"\n"
            assert line != lines[number - 1]
            edited = [*lines[: number - 1], line, *lines[number:]]
            (tmp_path / "ledger.jsonl").write_bytes(b"".join(edited))
            error = refused(tmp_path)
            named = f"{tmp_path / 'ledger.jsonl'}, line {number}: "
            assert error.message.startswith(named), (number, field, error.message)
            hint = error.hint or ""
            assert hint.count("back") == hint.count("if it is lost") + 1, hint
            assert "restore" not in hint
    (tmp_path / "ledger.jsonl").write_bytes(whole)
    assert ledger(tmp_path).load().length == 6


def test_where_nothing_tells_which_of_two_lines_was_changed_both_are_named(tmp_path: Path) -> None:
    whole = filled(tmp_path, rounds=2)
    (tmp_path / "witness.json").unlink()
    (tmp_path / "ledger.jsonl").write_bytes(whole.replace(b'"round":1', b'"round":5'))
    assert "line 2 or 3: one of the two was changed" in refused(tmp_path).message


@pytest.mark.promise(1)
def test_another_vaults_ledger_is_refused_by_name_even_with_its_witness(tmp_path: Path) -> None:
    filled(tmp_path, account=OTHER)
    error = refused(tmp_path)
    assert f"of the vault of {OTHER}" in error.message
    assert f"this is the vault of {ACCOUNT}" in error.message
    assert "put this vault's own one back" in (error.hint or "")
    assert ledger(tmp_path, OTHER).load().length == 4


def test_another_ledger_of_the_same_vault_is_not_its_witness_s(tmp_path: Path) -> None:
    filled(tmp_path / "a", rounds=3)
    other = filled(tmp_path / "b", rounds=4)
    (tmp_path / "a" / "ledger.jsonl").write_bytes(other.replace(b"update", b"update"))
    assert ledger(tmp_path / "a").load().length == 5, "the same past, and more: after a crash"
    (tmp_path / "c").mkdir()
    file = ledger(tmp_path / "c")
    entry = file.load().reserve(task_digest=digest("other"), policy=POLICY, limit=LIMIT)
    assert entry is not None
    state = file.append(entry)
    for name in ("x", "y", "z", "u", "v"):
        more = state.reserve(task_digest=digest(name), policy=POLICY, limit=LIMIT)
        assert more is not None
        state = file.append(more)
    (tmp_path / "a" / "ledger.jsonl").write_bytes((tmp_path / "c" / "ledger.jsonl").read_bytes())
    assert "not the ledger that its witness has seen" in refused(tmp_path / "a").message


def test_a_torn_last_line_for_which_nothing_left_is_the_only_thing_ever_cut(
    tmp_path: Path,
) -> None:
    whole = filled(tmp_path)
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(whole + whole[:50])
    assert ledger(tmp_path).load().length == 4
    assert path.read_bytes() == whole


def tells_what_to_run_and_what_is_lost(error: Refused) -> None:
    hint = error.hint or ""
    assert "covalue contributor check --rebuild-witness" in hint
    assert "if you know that ledger.jsonl is the newest one, nothing is lost" in hint
    assert "would be spent again" in hint
    assert "the budget of these records counts as spent" in hint


def test_no_witness_is_made_from_a_ledger_that_is_gone(tmp_path: Path) -> None:
    """Else a vault that lost its ledger would start anew with nothing spent."""
    whole = filled(tmp_path)
    seen = (tmp_path / "witness.json").read_bytes()
    (tmp_path / "ledger.jsonl").unlink()
    with pytest.raises(Refused, match="no ledger to write a witness from") as caught:
        ledger(tmp_path).rebuild_witness()
    assert "the budget of these records counts as spent" in (caught.value.hint or "")
    assert (tmp_path / "witness.json").read_bytes() == seen
    assert not (tmp_path / "ledger.jsonl").exists()
    (tmp_path / "ledger.jsonl").write_bytes(whole)
    assert ledger(tmp_path).rebuild_witness().length == 4
    # of a vault that has spent nothing there is nothing to lose
    (tmp_path / "new").mkdir()
    assert ledger(tmp_path / "new").load().length == 0
    (tmp_path / "new" / "witness.json").write_bytes(b"{")
    assert "--rebuild-witness" in (refused(tmp_path / "new").hint or "")
    assert ledger(tmp_path / "new").rebuild_witness().length == 0
    assert ledger(tmp_path / "new").load().length == 0


@pytest.mark.promise(1)
def test_promise_1_looking_at_a_lost_ledger_does_not_vouch_for_an_older_one(tmp_path: Path) -> None:
    """A witness of an empty ledger, written by who only looked, would let any backup pass."""
    whole = filled(tmp_path)
    (tmp_path / "ledger.jsonl").unlink()
    (tmp_path / "witness.json").unlink()
    assert ledger(tmp_path).load().length == 0
    assert not (tmp_path / "witness.json").exists()
    (tmp_path / "ledger.jsonl").write_bytes(whole[: whole.index(b"\n") + 1])
    assert "witness" in refused(tmp_path).message
    assert not (tmp_path / "witness.json").exists()


def test_a_damaged_witness_or_an_unreadable_ledger_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    witness = tmp_path / "witness.json"
    seen = witness.read_bytes()
    head = json.loads(seen)["head"].encode()
    for damaged in (
        b"",
        b"{}",
        b"[1]",
        b'{"length":"x","head":""}',
        b'{"length":1e999,"head":"' + head + b'"}',
        b'{"length":-1,"head":"' + head + b'"}',
        b'{"length":4,"head":4}',
        b"[" * 100_000,
        b'{"length":4,"head":"' + head + b'","head":"' + head + b'"}',
        seen[:20],
    ):
        witness.write_bytes(damaged)
        error = refused(tmp_path)
        assert f"the witness {witness} of {tmp_path / 'ledger.jsonl'} is damaged" in error.message
        tells_what_to_run_and_what_is_lost(error)
    witness.unlink()
    error = refused(tmp_path)
    assert f"the witness {witness} of {tmp_path / 'ledger.jsonl'} is gone" in error.message
    assert "its 4 entries" in error.message
    tells_what_to_run_and_what_is_lost(error)
    witness.mkdir()
    with pytest.raises(Refused, match="cannot read the witness") as caught:
        ledger(tmp_path).load()
    tells_what_to_run_and_what_is_lost(caught.value)
    witness.rmdir()
    witness.write_bytes(seen)
    (tmp_path / "ledger.jsonl").unlink()
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises(Refused, match="cannot read") as caught:
        ledger(tmp_path).load()
    assert caught.value.code is Code.LEDGER


def test_rebuilding_the_witness_loses_nothing_when_the_ledger_is_damaged(tmp_path: Path) -> None:
    whole = filled(tmp_path)
    seen = (tmp_path / "witness.json").read_bytes()
    (tmp_path / "ledger.jsonl").write_bytes(whole[:200] + b"x" + whole[201:])
    with pytest.raises(Refused):
        ledger(tmp_path).rebuild_witness()
    assert (tmp_path / "witness.json").read_bytes() == seen
    (tmp_path / "ledger.jsonl").write_bytes(whole)
    (tmp_path / "witness.json").unlink()
    assert ledger(tmp_path).rebuild_witness().length == 4
    assert (tmp_path / "witness.json").read_bytes() == seen


HOLD = """
import sys, time
from pathlib import Path
from fl_client.service_lock import ServiceLock
with ServiceLock(Path(sys.argv[1])).held():
    print("held", flush=True)
    time.sleep(600)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.promise(1)
def test_two_processes_on_one_ledger_the_second_refuses(world: VaultWorld) -> None:
    """While one serves, neither a second service nor a simulation works; a kill frees the vault."""
    first = world.open().answer(world.request())
    entries = world.open().ledger_state().length
    process = holder(world.config.folder)
    try:
        for attempt in (
            lambda: world.open().service_lock.held().__enter__(),
            lambda: world.open().answer(world.request(2)),
            lambda: world.open().answer(world.request(1)),
        ):
            with pytest.raises(Refused, match=f"served by process {process.pid}") as caught:
                attempt()
            assert caught.value.code is Code.UNAVAILABLE
            assert caught.value.hint
        assert world.open().ledger_state().length == entries, "the owner may still look"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert world.open().answer(world.request(1)) == first
    vault = world.open()
    with vault.service_lock.held():
        vault.answer(world.request(2))
        with pytest.raises(Refused, match="served by process"):
            world.open().answer(world.request(3))
    world.open().answer(world.request(3))


def test_simulations_take_turns_and_keep_a_service_away(tmp_path: Path) -> None:
    first, second = ServiceLock(tmp_path), ServiceLock(tmp_path)
    with (
        first.answering(),
        second.answering(),
        pytest.raises(Refused, match="another process just now"),
        ServiceLock(tmp_path).held(),
    ):
        raise AssertionError("a service started beside a simulation")
    with ServiceLock(tmp_path).held():
        pass


def test_a_vault_refuses_the_ledger_of_another_vault(tmp_path: Path) -> None:
    """The whole folder and witness were copied, and given another account."""
    (tmp_path / "a").mkdir()
    mine: Any = make_world(tmp_path / "a")
    mine.open().answer(mine.request())
    mine.config = dataclasses.replace(mine.config, account=OTHER)
    with pytest.raises(Refused, match=f"of the vault of {ACCOUNT}"):
        mine.open().answer(mine.request(2))
