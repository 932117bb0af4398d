# SPDX-License-Identifier: Apache-2.0
"""Promises 1, 2, 3 and 13 of a vault whose process is killed, for real and with SIGKILL, before
and after every call that writes to its disk.

Each vault lives in a process of its own. What it releases goes through a pipe; what it charged
stands in the ledger that it leaves behind.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import math
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from dao.errors import CovalueError
from dao.records import Receipt
from fl_client.refusals import code_of
from fl_client.wire import TrainAnswer
from privacy.accounting import epsilon_of_mu, task_mu
from privacy.ledger import LedgerEntry, LedgerState
from tests.unit.fl_client.vault_world import VaultWorld, make_world

# Children are forked from a process that has imported all this and runs no thread.
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.unit.fl_client.vault_world"])

DELTA = 1e-5
SYSTEM_CALLS = ("fsync", "ftruncate", "rename", "replace", "truncate", "unlink", "write")
FILE_CALLS = ("flush", "truncate", "write")
FILES = (io.BufferedWriter, io.BufferedRandom, io.FileIO)


@dataclasses.dataclass(frozen=True)
class Wish:
    """What one process of the vault is asked for, and when it dies (0: it does not)."""

    folder: Path
    rounds: tuple[int, ...]
    lifetime_epsilon_micro: int
    title: str = "Homes"
    records: str = "records.csv"
    kill_at: int = 0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came out of a process: replies in order, the refusal's code, its writing steps."""

    released: tuple[TrainAnswer, ...]
    refusal: str | None
    steps: int
    exit_code: int | None


def world_of(wish: Wish) -> VaultWorld:
    """The vault's surroundings, the same in every process; noise is fresh."""
    world = make_world(wish.folder)
    rows = wish.folder / wish.records
    if not rows.exists():
        shutil.copy(world.config.records, rows)
    world.config = dataclasses.replace(world.config, records=rows, noise_seed=None)
    world.adopt(world.task.model_copy(update={"title": wish.title}))
    return world


def die_at(step: int) -> Callable[[], int]:
    """Kill this process at its `step`-th entry into or return from a call that writes to disk.

    Returns a function that counts the steps so far. Nothing of the vault is replaced: the
    interpreter reports its own calls into C.
    """
    seen = 0

    def watch(frame: FrameType, event: str, called: Any) -> None:
        nonlocal seen
        if event not in ("c_call", "c_return"):
            return
        piped = "multiprocessing" in frame.f_code.co_filename
        system = called.__module__ == "posix" and called.__name__ in SYSTEM_CALLS and not piped
        file = called.__name__ in FILE_CALLS and isinstance(called.__self__, FILES)
        if system or file:
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    return lambda: seen


def serve(wish: Wish, pipe: Connection) -> None:
    """The process of a vault: answer the rounds, each reply leaves as soon as it is given."""
    world = world_of(wish)
    steps = die_at(wish.kill_at)
    try:
        vault = world.open(lifetime_epsilon_micro=wish.lifetime_epsilon_micro)
        for number in wish.rounds:
            answer = vault.answer(world.request(number))
            pipe.send_bytes(b"receipt" + answer.receipt)
            pipe.send_bytes(b"update" + answer.update)
    except CovalueError as error:
        pipe.send_bytes(b"refusal" + code_of(error).encode())
    sys.setprofile(None)
    pipe.send_bytes(b"steps" + str(steps()).encode())


def run(wish: Wish) -> Outcome:
    """Run one process to its end or to its death."""
    wish.folder.mkdir(parents=True, exist_ok=True)
    receiving, sending = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=serve, args=(wish, sending))
    process.start()
    sending.close()
    heard: list[bytes] = []
    while True:
        try:
            heard.append(receiving.recv_bytes())
        except EOFError:
            break
    process.join()
    exit_code = process.exitcode
    process.close()
    texts = [each.removeprefix(b"refusal") for each in heard if each.startswith(b"refusal")]
    steps = [int(each.removeprefix(b"steps")) for each in heard if each.startswith(b"steps")]
    receipts = [each.removeprefix(b"receipt") for each in heard if each.startswith(b"receipt")]
    updates = [each.removeprefix(b"update") for each in heard if each.startswith(b"update")]
    answers = zip(receipts, updates, strict=False)
    return Outcome(
        released=tuple(TrainAnswer(receipt=receipt, update=update) for receipt, update in answers),
        refusal=texts[0].decode() if texts else None,
        steps=steps[0] if steps else 0,
        exit_code=exit_code,
    )


def ledger_of(folder: Path) -> LedgerState:
    """What stands in the ledger file: whole lines only, as a reader after the crash sees it."""
    path = folder / "vault" / "ledger.jsonl"
    data = path.read_bytes() if path.exists() else b""
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    return LedgerState.replay(LedgerEntry.parse(line) for line in lines)


def epsilon_micro_of(tasks: int, folder: Path) -> int:
    """The lifetime limit that has room for exactly so many tasks of this world."""
    mu = task_mu(make_world(folder).task.policy) * math.sqrt(tasks)
    return int(1e6 * epsilon_of_mu(mu, DELTA)) + 10


@pytest.mark.promise(13)
def test_promise_13_killed_at_any_write_a_round_is_charged_once_and_keeps_its_bytes(
    tmp_path: Path,
) -> None:
    """The limit has room for one task: whatever is charged twice is refused at once."""
    limit = epsilon_micro_of(1, tmp_path)
    whole = run(Wish(tmp_path / "whole", (1,), limit))
    assert whole.exit_code == 0
    assert whole.steps > 40, "the writes of a first answer are seen"
    kept, thrown_away = 0, 0
    for step in range(1, whole.steps + 1):
        folder = tmp_path / str(step)
        killed = run(Wish(folder, (1,), limit, kill_at=step))
        assert killed.exit_code == -signal.SIGKILL
        assert killed.released == ()
        charged = ledger_of(folder).tasks
        staged = folder / "vault" / "answers" / make_world(folder).task.digest() / "1.update"
        again = run(Wish(folder, (1, 2, 1), limit))
        assert again.refusal is None, f"killed at step {step}: {again.refusal}"
        first, _, repeated = again.released
        assert repeated == first
        state = ledger_of(folder)
        assert state.length == 3, f"killed at step {step}: reservation and two rounds, no more"
        (task,) = state.tasks.values()
        assert sorted(task.answered) == [1, 2]
        assert task.answered[1][1] == hashlib.sha256(first.update).hexdigest()
        for spending in charged.values():
            if 1 in spending.answered:
                kept += 1
                assert spending.answered[1] == task.answered[1], "charged bytes are the bytes"
                assert staged.exists()
        thrown_away += not any(1 in each.answered for each in charged.values())
        shutil.rmtree(folder)
    assert kept > 3
    assert thrown_away > 20


@pytest.mark.promise(2)
@pytest.mark.promise(3)
def test_promise_2_what_was_released_before_a_kill_is_in_the_ledger_and_comes_again(
    tmp_path: Path,
) -> None:
    """Killed within the second round: the first was released, so it is durable and is repeated."""
    limit = epsilon_micro_of(1, tmp_path)
    first = run(Wish(tmp_path / "first", (1,), limit)).steps
    both = run(Wish(tmp_path / "both", (1, 2), limit)).steps
    assert both > first + 20
    for step in range(first + 1, both + 1, 3):
        folder = tmp_path / str(step)
        killed = run(Wish(folder, (1, 2), limit, kill_at=step))
        assert killed.exit_code == -signal.SIGKILL
        (released,) = killed.released
        (spending,) = ledger_of(folder).tasks.values()
        assert spending.answered[1][1] == hashlib.sha256(released.update).hexdigest()
        again = run(Wish(folder, (1, 2), limit))
        assert again.released[0] == released
        shutil.rmtree(folder)


def epsilon_of_released(answers: list[TrainAnswer]) -> float:
    """Epsilon of all distinct updates that ever left, by the Gaussian mechanism's exact delta."""
    distinct = {each.update: Receipt.parse(each.receipt).body.event for each in answers}
    deviations = [each.noise_multiplier_micro / 1e6 for each in distinct.values()]
    mu = math.sqrt(sum(1 / deviation**2 for deviation in deviations))

    def excess(epsilon: float) -> float:
        upper = norm.cdf(mu / 2 - epsilon / mu)
        return float(upper - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu) - DELTA)

    return 0.0 if not distinct else float(brentq(excess, 0.0, 200.0))


@pytest.mark.promise(1)
@pytest.mark.parametrize("seed", [1, 2])
def test_promise_1_no_mix_of_tasks_restarts_kills_backups_and_renamed_data_passes_the_limit(
    tmp_path: Path, seed: int
) -> None:
    """Four tasks of five rounds each; the limit has room for two of them."""
    chooser = random.Random(seed)
    limit = epsilon_micro_of(2, tmp_path)
    home, backup = tmp_path / "home", tmp_path / "backup"
    released: list[TrainAnswer] = []
    refusals: set[str] = set()
    for turn in range(36):
        deed = chooser.choice(("answer", "answer", "kill", "backup", "restore"))
        if deed == "backup" and (home / "vault").exists():
            shutil.rmtree(backup, ignore_errors=True)
            shutil.copytree(home / "vault", backup)
        newest = None
        if deed == "restore" and backup.exists():
            newest = tmp_path / "newest"
            (home / "vault").rename(newest)
            shutil.copytree(backup, home / "vault")
        outcome = run(
            Wish(
                home,
                (chooser.randint(1, 5), chooser.randint(1, 5)),
                limit,
                title=chooser.choice(("first", "second", "third", "fourth")),
                records=chooser.choice(("records.csv", "copy.csv", "moved-house.csv")),
                kill_at=chooser.randint(1, 60) if deed == "kill" else 0,
            )
        )
        released += outcome.released
        if outcome.refusal:
            refusals.add(outcome.refusal)
        if newest is not None:
            shutil.rmtree(home / "vault")
            newest.rename(home / "vault")
        assert epsilon_of_released(released) * 1e6 <= limit, f"after turn {turn}"
    assert refusals == {"budget", "ledger"}
    bytes_of: dict[tuple[str, int], set[bytes]] = {}
    for each in released:
        position = Receipt.parse(each.receipt).body.position
        bytes_of.setdefault((position.task_digest, position.round), set()).add(each.update)
    assert len(bytes_of) > 6
    assert {len(updates) for updates in bytes_of.values()} == {1}, "one update a round, ever"
    assert len({digest for digest, _ in bytes_of}) == 2, "two tasks are paid for, no third"
