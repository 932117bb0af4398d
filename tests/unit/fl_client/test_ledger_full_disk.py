# SPDX-License-Identifier: Apache-2.0
"""A disk that fills or fails while a round is charged: the ledger stays charged or unchanged, no
update leaves, and with room again the round is answered once."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from failing_disk import Disk
from vault_world import VaultWorld, make_world

from fl_client.refusals import Code, Refused

HERE = Path(__file__).resolve().parent


def ran(kind: str, folder: Path) -> list[dict[str, Any]]:
    command = [sys.executable, str(HERE / "full_disk.py"), kind, str(folder)]
    if kind == "tmpfs":
        command = ["unshare", "--map-root-user", "--mount", *command]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def may_mount() -> bool:
    """Whether this machine lets a process mount a tmpfs for itself."""
    probe = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def test_a_real_disk_that_fills_while_a_round_is_charged(tmp_path: Path) -> None:
    """A tmpfs with 0, 1, 2, ... free pages; where none may be mounted, the kernel's bound on the
    size of files, which cuts the ledger's line instead."""
    found = ran("tmpfs" if may_mount() else "limit", tmp_path)
    said = [each["said"] for each in found]
    assert set(said) == {"unavailable", "answered"}
    assert said == sorted(said, reverse=True), "with more room it works"
    assert not any(each["charged"] for each in found if each["room"] == 0)


def test_a_line_of_which_the_disk_takes_a_part(tmp_path: Path) -> None:
    found = ran("limit", tmp_path)
    assert [each["said"] for each in found] == ["unavailable"] * 5 + ["answered"]
    assert [each["charged"] for each in found] == [False] * 5 + [True]


def ready(folder: Path) -> VaultWorld:
    """A vault whose rows are prepared and whose first round is answered."""
    world = make_world(folder)
    world.config = dataclasses.replace(world.config, noise_seed=None)
    world.open().answer(world.request(1))
    return world


def count_steps(folder: Path) -> int:
    world, disk = ready(folder), Disk()
    with pytest.MonkeyPatch.context() as patch:
        disk.install(patch)
        world.open().answer(world.request(2))
    return disk.steps


@pytest.mark.promise(2)
@pytest.mark.parametrize("stays_full", [False, True])
def test_promise_2_whatever_write_fails_nothing_leaves_and_the_round_is_charged_once(
    tmp_path: Path, stays_full: bool
) -> None:
    (tmp_path / "count").mkdir()
    steps = count_steps(tmp_path / "count")
    assert steps >= 8, "reply, receipt, entry and witness, each written and synced"
    charged_at = []
    for fails_at in range(1, steps + 1):
        folder = tmp_path / str(fails_at)
        folder.mkdir()
        world = ready(folder)
        ledger = world.config.folder / "ledger.jsonl"
        before = ledger.read_bytes()
        with pytest.MonkeyPatch.context() as patch:
            Disk(fails_at=fails_at, stays_full=stays_full).install(patch)
            with pytest.raises(Refused, match="cannot write") as caught:
                world.open().answer(world.request(2))
        assert caught.value.code is Code.UNAVAILABLE
        assert ledger.read_bytes().startswith(before)
        state = world.open().ledger_state()
        answered = state.tasks[world.task.digest()].answered
        assert state.length in (2, 3)
        staged = world.config.folder / "answers" / world.task.digest() / "2.update"
        again = world.open().answer(world.request(2))
        if 2 in answered:
            charged_at.append(fails_at)
            assert again.update == staged.read_bytes()
        assert world.open().ledger_state().length == 3
        assert not list(world.config.folder.rglob("*.new")), "nothing half-written is left"
    # The witness's write, sync, replace and folder come after the entry is durable. An entry whose
    # own sync failed is taken back: it may look whole and be gone after a power cut.
    assert charged_at == list(range(steps - 3, steps + 1))


def test_a_first_round_on_a_failing_disk_reserves_the_task_at_most(tmp_path: Path) -> None:
    """Reservation and round are two entries: whatever fails, the reservation may stay."""
    lengths = set()
    for fails_at in range(1, 40):
        folder = tmp_path / str(fails_at)
        folder.mkdir()
        world = make_world(folder)
        world.open().records.prepared(*world.open().task(world.task.digest()))
        codes = []
        with pytest.MonkeyPatch.context() as patch:
            Disk(fails_at=fails_at, stays_full=True).install(patch)
            try:
                world.open().answer(world.request(1))
                break
            except Refused as error:
                codes.append(error.code)
        assert codes == [Code.UNAVAILABLE]
        lengths.add(world.open().ledger_state().length)
        world.open().answer(world.request(1))
        assert world.open().ledger_state().length == 2
    assert lengths == {0, 1, 2}
