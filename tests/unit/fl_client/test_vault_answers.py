# SPDX-License-Identifier: Apache-2.0
"""What a vault answers, and all it refuses."""

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from vault_world import ACCOUNT, BUNDLE, VaultWorld, make_world, world

from dao import bls
from dao.errors import BudgetError, CovalueError
from dao.records import Receipt
from fl_client.refusals import Code, Refused, code_of
from fl_client.wire import TrainAnswer
from rounds.phases import release_of
from rounds.state import decode_update, theta_of, update_to_float
from valuation.encode import encode
from valuation.loading import load_family
from valuation.rows import check_frame, parse_csv

__all__ = ["world"]


def refusal(world: VaultWorld, request: Any = None, **changes: Any) -> CovalueError:
    with pytest.raises(CovalueError) as caught:
        world.open(**changes).answer(request or world.request())
    return caught.value


def test_the_update_is_the_clipped_sum_plus_the_noise(world: VaultWorld) -> None:
    """Against per-row gradients by torch.func, with a seeded noise source of its own."""
    from privacy.noise import SeededNoise

    request = world.request()
    answer = world.open().answer(request)
    task = world.task
    release = release_of(task, 1)
    update = update_to_float(release, decode_update(release, answer.update))

    family = load_family(task, world.store.get(task.model.setup.cid))
    frame = parse_csv(world.config.records.read_bytes(), name="rows")
    check = check_frame(task, frame, with_target=True)
    rows = family.prepare(encode(task, frame[check.accepted], with_target=True))
    assert rows.residual is not None
    module = family.module(theta_of(task, request.base))
    names = [name for name, _ in module.named_parameters()]
    weights = tuple(each.detach() for each in module.parameters())

    def loss(weights: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        out = torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x[None],))
        error = (out.reshape(()) - y).abs()
        beyond = task.model.huber_micro / 1e6
        if not beyond:
            return 0.5 * error**2
        return torch.where(error < beyond, 0.5 * error**2, beyond * (error - 0.5 * beyond))

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(
        weights, torch.from_numpy(np.array(rows.inputs)), torch.from_numpy(np.array(rows.residual))
    )
    flat = torch.cat([each.reshape(len(rows.residual), -1) for each in gradients], dim=1).numpy()
    clip = task.policy.clip_norm_nano / 1e9
    norms = np.linalg.norm(flat, axis=1)
    total = (flat * np.minimum(1.0, clip / np.maximum(norms, 1e-300))[:, None]).sum(axis=0)

    noise = SeededNoise(b"test/" + f"{ACCOUNT}/{task.digest()}/1".encode())
    deviation = task.policy.noise_multiplier_micro / 1e6 * clip
    expected = total + deviation * noise.gaussian(task.model.parameters)
    assert np.abs(update - expected).max() < 2.0**-task.model.update_grid_bits


def test_the_receipt_states_the_update_and_is_signed(world: VaultWorld) -> None:
    answer = world.open().answer(world.request(2))
    receipt = Receipt.parse(answer.receipt)
    body = receipt.body
    assert body.update.sha256 == hashlib.sha256(answer.update).hexdigest()
    assert (body.position.task_id, body.position.round, body.position.chain_id) == (7, 2, 31337)
    assert body.base_model_sha256 == hashlib.sha256(world.request(2).base).hexdigest()
    assert body.event.seeded
    signature = bytes.fromhex(receipt.signature[2:])
    assert bls.verify(world.key.public_key, body.signing_digest(), signature)


def test_promise_3_same_bytes_when_asked_again(world: VaultWorld) -> None:
    secure = dataclasses.replace(world.config, noise_seed=None)
    world.config = secure
    first = world.open().answer(world.request())
    assert world.open().answer(world.request()) == first
    vault = world.open()
    assert vault.answer(world.request()) == first
    vault.answer(world.request(2))
    assert vault.answer(world.request()) == first


def test_unseeded_noise_is_fresh(tmp_path: Path) -> None:
    answers = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        other = make_world(tmp_path / name)
        other.config = dataclasses.replace(other.config, noise_seed=None)
        answers.append(other.open().answer(other.request()).update)
    assert answers[0] != answers[1]
    body = Receipt.parse(other.open().answer(other.request()).receipt).body
    assert not body.event.seeded


def test_another_base_for_an_answered_round_is_refused(world: VaultWorld) -> None:
    world.open().answer(world.request())
    other = world.request(2)
    error = refusal(world, dataclasses.replace(other, round=1))
    assert code_of(error) is Code.OTHER_BASE


@pytest.mark.parametrize("state", ["None", "Open", "Revealing", "Closed", "Finalised", "Aborted"])
def test_a_task_that_does_not_run_is_refused(world: VaultWorld, state: str) -> None:
    world.chain.state = dataclasses.replace(world.chain.state, state=state)
    assert code_of(refusal(world)) is Code.NOT_APPROVED


def test_an_unapproved_task_is_refused(world: VaultWorld) -> None:
    """The coordinator sends another task record than the one that the vote opened."""
    weaker = world.task.model_copy(
        update={"policy": world.task.policy.model_copy(update={"noise_multiplier_micro": 1})}
    )
    world.store.put(weaker.canonical())
    request = dataclasses.replace(world.request(), task_digest=weaker.digest())
    assert code_of(refusal(world, request)) is Code.NOT_APPROVED


def test_a_contributor_off_the_roster_or_with_another_key_is_refused(world: VaultWorld) -> None:
    member = world.chain.state.roster[0]
    for roster in (
        (),
        (dataclasses.replace(member, address="0x" + "44" * 20),),
        (dataclasses.replace(member, bls_public_key=bytes(48)),),
    ):
        world.chain.state = dataclasses.replace(world.chain.state, roster=roster)
        assert code_of(refusal(world)) is Code.NOT_APPROVED


@pytest.mark.parametrize(
    "limit",
    [
        {"min_noise_multiplier_micro": 10**9},
        {"max_clip_norm_nano": 1},
        {"max_task_epsilon_micro": 7_000_000},
        {"max_rounds": 4},
        {"delta_e12": 9_999_999},
        {"unit_columns": ("owner",)},
    ],
)
def test_promise_4_the_owners_limits_hold_against_an_approved_task(
    world: VaultWorld, limit: dict[str, Any]
) -> None:
    assert code_of(refusal(world, **limit)) is Code.POLICY
    assert world.open().ledger_state().length == 0


def test_promise_4_a_task_that_misstates_its_epsilon_is_refused(world: VaultWorld) -> None:
    policy = world.task.policy
    halved = policy.model_copy(
        update={"noise_multiplier_micro": policy.noise_multiplier_micro // 2}
    )
    world.adopt(world.task.model_copy(update={"policy": halved}))
    assert code_of(refusal(world)) is Code.POLICY


def test_promise_4_a_task_that_names_another_bundle_is_refused(world: VaultWorld) -> None:
    world.adopt(world.task.model_copy(update={"bundle_sha256": "cd" * 32}))
    assert code_of(refusal(world)) is Code.WRONG_BUNDLE
    assert world.config.bundle_sha256 == BUNDLE


def test_a_round_beyond_the_task_is_refused(world: VaultWorld) -> None:
    assert code_of(refusal(world, world.request(6))) is Code.BAD_REQUEST


def test_a_base_of_the_wrong_shape_is_refused(world: VaultWorld) -> None:
    error = refusal(world, world.request(1, base=b"\1" * 9))
    assert code_of(error) is Code.BAD_REQUEST
    assert world.open().ledger_state().length == 0


def test_seeded_noise_needs_the_owners_leave(world: VaultWorld) -> None:
    with pytest.raises(Refused, match="seed"):
        world.open(allow_seeded_noise=False)


def test_promise_1_a_task_that_the_ledger_cannot_afford_whole_is_refused(
    world: VaultWorld,
) -> None:
    """Not even its first, cheap round."""
    error = refusal(world, lifetime_epsilon_micro=7_900_000)
    assert isinstance(error, BudgetError)
    assert code_of(error) is Code.BUDGET
    world.open(lifetime_epsilon_micro=8_000_001).answer(world.request())


def test_promise_1_tasks_add_up_and_restarts_and_renamed_data_change_nothing(
    world: VaultWorld,
) -> None:
    """Three tasks of epsilon 8 under a lifetime limit that has room for two of them."""
    from privacy.accounting import epsilon_of_mu, task_mu

    two = int(1e6 * epsilon_of_mu(task_mu(world.task.policy) * 2**0.5, 1e-5)) + 10
    for title in ("first", "second"):
        world.adopt(world.task.model_copy(update={"title": title}))
        world.open(lifetime_epsilon_micro=two).answer(world.request())
    copy = world.folder / "copy.csv"
    shutil.copy(world.config.records, copy)
    world.config = dataclasses.replace(world.config, records=copy)
    world.adopt(world.task.model_copy(update={"title": "third"}))
    assert code_of(refusal(world, lifetime_epsilon_micro=two)) is Code.BUDGET
    state = world.open(lifetime_epsilon_micro=two).ledger_state()
    assert state.charged_epsilon_micro(delta_e12=10_000_000) <= two


def test_promise_1_a_restored_backup_is_refused(world: VaultWorld) -> None:
    world.open().answer(world.request(1))
    backup = world.folder / "backup"
    shutil.copytree(world.config.folder, backup)
    world.open().answer(world.request(2))
    shutil.rmtree(world.config.folder)
    shutil.copytree(backup, world.config.folder)
    error = refusal(world, world.request(2))
    assert code_of(error) is Code.LEDGER
    assert "backup" in error.message
    assert error.hint


def test_promise_1_a_deleted_ledger_is_a_restored_backup_too(world: VaultWorld) -> None:
    world.open().answer(world.request(1))
    (world.config.folder / "ledger.jsonl").unlink()
    assert code_of(refusal(world)) is Code.LEDGER


def test_promise_1_a_lost_witness_stops_the_vault_until_its_owner_speaks(
    world: VaultWorld,
) -> None:
    first = world.open().answer(world.request(1))
    world.config.witness.unlink()
    error = refusal(world)
    assert code_of(error) is Code.LEDGER
    assert error.hint is not None
    assert "--rebuild-witness" in error.hint
    world.open().rebuild_witness()
    assert world.open().answer(world.request(1)) == first


def test_a_changed_ledger_line_is_refused(world: VaultWorld) -> None:
    world.open().answer(world.request(1))
    path = world.config.folder / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    entry = json.loads(lines[0])
    entry["reservation"]["rounds"] = 1
    path.write_bytes(json.dumps(entry).encode() + b"\n" + lines[1])
    assert code_of(refusal(world)) is Code.LEDGER


def _crash_at(monkeypatch: pytest.MonkeyPatch, world: VaultWorld, place: str) -> None:
    """Die where the vault calls `place` for the second time that matters."""
    import fl_client.vault as module

    class Killed(BaseException):
        pass

    def die(*_args: object, **_kwargs: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(getattr(module, place.split(".")[0]), place.split(".")[1], die)
        with pytest.raises(Killed):
            world.open().answer(world.request())


def test_promise_2_nothing_leaves_before_the_ledger_entry_is_durable(
    world: VaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry's fsync comes after the reply's and before the return."""
    synced: list[int] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    answer = world.open().answer(world.request())
    names = {path.stat().st_ino: path.name for path in world.config.folder.rglob("*")}
    seen = [names.get(inode) for inode in synced]
    assert seen.index("1.receipt") < seen.index("ledger.jsonl")
    assert seen.index("1.update") < seen.index("ledger.jsonl")
    assert seen.count("ledger.jsonl") == 2, "reservation and round"
    entries = (world.config.folder / "ledger.jsonl").read_text().splitlines()
    assert hashlib.sha256(answer.update).hexdigest() in entries[-1]


def test_promise_2_a_ledger_that_cannot_be_written_lets_nothing_out(
    world: VaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    ledger = world.config.folder / "ledger.jsonl"

    def failing(descriptor: int) -> None:
        if ledger.exists() and os.fstat(descriptor).st_ino == ledger.stat().st_ino:
            raise OSError("disk full")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    error = refusal(world)
    assert "disk full" in error.message
    monkeypatch.undo()
    assert world.open().ledger_state().length == 0, "what was not durable is taken back"


def test_promise_13_killed_between_reply_and_ledger_the_round_is_not_charged(
    world: VaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.config = dataclasses.replace(world.config, noise_seed=None)
    _crash_at(monkeypatch, world, "LedgerFile.append")
    assert world.open().ledger_state().length == 0
    staged = (world.config.folder / "answers" / world.task.digest() / "1.update").read_bytes()
    answer = world.open().answer(world.request())
    assert answer.update != staged, "the staged reply never left and is thrown away"
    assert world.open().ledger_state().length == 2


def test_promise_13_killed_after_the_ledger_the_staged_reply_is_the_reply(
    world: VaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.config = dataclasses.replace(world.config, noise_seed=None)
    from fl_client.ledger_file import LedgerFile

    class Killed(BaseException):
        pass

    write = LedgerFile._write_witness

    def die(file: LedgerFile) -> None:
        ledger = world.config.folder / "ledger.jsonl"
        if ledger.exists() and ledger.read_bytes().count(b"\n") == 2:
            raise Killed
        write(file)

    with monkeypatch.context() as patch:
        patch.setattr(LedgerFile, "_write_witness", die)
        with pytest.raises(Killed):
            world.open().answer(world.request())
    staged = (world.config.folder / "answers" / world.task.digest() / "1.update").read_bytes()
    assert world.open().answer(world.request()).update == staged
    assert world.open().ledger_state().length == 2


def test_promise_13_a_torn_ledger_line_is_cut_off(world: VaultWorld) -> None:
    world.open().answer(world.request(1))
    path = world.config.folder / "ledger.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    world.open().answer(world.request(2))
    assert path.read_bytes().startswith(whole)
    assert world.open().ledger_state().length == 3


def test_promise_5_the_reply_holds_receipt_and_update_only(world: VaultWorld) -> None:
    """Row counts, losses and file names of the contributor appear nowhere in it."""
    answer = world.open().answer(world.request())
    assert set(TrainAnswer.__dataclass_fields__) == {"receipt", "update"}
    assert set(json.loads(answer.receipt)) == {"body", "signature"}
    body = json.loads(answer.receipt)["body"]
    assert set(body) == {
        "kind",
        "position",
        "contributor",
        "base_model_sha256",
        "update",
        "event",
    }
    assert len(answer.update) == 8 * world.task.model.parameters


def test_the_answer_waits_for_the_tasks_time_grid(world: VaultWorld) -> None:
    terms = world.task.terms.model_copy(update={"answer_grid_millis": 500})
    world.adopt(world.task.model_copy(update={"terms": terms}))
    waited: list[float] = []
    world.open(clock=lambda: 1000.125, sleep=waited.append).answer(world.request())
    assert waited == [pytest.approx(0.375)]


def test_an_ended_task_gives_its_rounds_back_and_is_not_answered(world: VaultWorld) -> None:
    vault = world.open()
    vault.answer(world.request(1))
    before = vault.ledger_state().charged_nano
    after = vault.end_task(world.task.digest()).charged_nano
    assert after == pytest.approx(before / 5, rel=1e-6)
    assert code_of(refusal(world, world.request(2))) is Code.POLICY


def test_files_of_the_vault_are_the_owners_alone(world: VaultWorld) -> None:
    world.open().answer(world.request())
    for path in world.config.folder.rglob("*"):
        if path.name != "lock" and path.is_file() and "prepared" not in path.parts:
            assert path.stat().st_mode & 0o077 == 0, path
