# SPDX-License-Identifier: Apache-2.0
"""Promise 13 of a coordinator that is killed again and again, for real and with SIGKILL, until a
whole task is trained, closed and finalised over a real chain.

Each start is a process of its own with the four vaults inside it; it dies at the next step of its
schedule. Chain, store, journal and vault folders are all that the next process finds.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Iterator
from itertools import cycle
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from dao.cid import of_digest
from dao.contracts.task_types import TaskState
from dao.records import Checkpoint, SignedRoundRecord
from dao.settings import load_settings
from demo.devnet import Devnet, dev_account
from fl_client.client_app import make_client_app
from fl_client.opening import open_vault
from fl_client.vault import Vault
from fl_server.context import Progress
from fl_server.coordinate import train_task
from fl_server.journal import read_entries
from fl_server.opening import open_context
from privacy.ledger import LedgerEntry, LedgerState
from tests.federation_town import COORDINATOR, Town
from tests.plain_grid import PlainGrid
from tests.playing_town import CONTRIBUTORS, QUICK, ROUNDS, small_town, town_on

PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["tests.federation_town", "fl_client.client_app", "fl_server.opening", "tests.plain_grid"]
)


@dataclasses.dataclass(frozen=True)
class Death:
    """Where a process dies: as a function is entered ("call") or left ("return"), after the
    first `spared` times."""

    file: str
    function: str
    event: str
    spared: int = 0


ENTRY_WRITTEN = Death("fl_server/journal.py", "append", "return")
BEFORE_SECOND_ENTRY = Death("fl_server/journal.py", "append", "call", spared=1)
TWO_VAULTS_REVEALED = Death("fl_client/reveal.py", "reveal", "return", spared=1)
TWO_VAULTS_ANSWERED = Death("fl_client/vault.py", "answer", "return", spared=1)
ANSWERS_SPOOLED = Death("fl_server/publish.py", "spool_answers", "return")
BEFORE_TRANSACTION = Death("dao/chain.py", "_submit", "call")
TRANSACTION_SENT = Death("dao/chain.py", "_submit", "return")

SCHEDULES = {
    "after every entry of the journal": (ENTRY_WRITTEN,),
    "before every entry of the journal": (BEFORE_SECOND_ENTRY,),
    "around answers": (
        TWO_VAULTS_ANSWERED,
        ANSWERS_SPOOLED,
        ENTRY_WRITTEN,
        TWO_VAULTS_REVEALED,
        BEFORE_SECOND_ENTRY,
    ),
    "around transactions": (BEFORE_TRANSACTION, TRANSACTION_SENT),
}


def die_at(death: Death) -> None:
    """Kill this process there. The interpreter reports its own calls; no function is replaced."""
    spared = 0

    def watch(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal spared
        code = frame.f_code
        if (event, code.co_name) != (death.event, death.function):
            return
        if not code.co_filename.endswith(death.file):
            return
        if spared == death.spared:
            os.kill(os.getpid(), signal.SIGKILL)
        spared += 1

    sys.setprofile(watch)


def coordinate(folder: Path, task_id: int, death: Death | None, pipe: Connection) -> None:
    """The coordinator's process. It ends where the sealed parts have yet to be opened."""
    vaults: dict[int, Vault] = {}

    def vault_of(context: Any) -> Vault:
        place = int(context.node_config["partition-id"])
        if place not in vaults:
            settings = folder / f"contributor-{place}" / "covalue.toml"
            vaults[place] = open_vault(load_settings(settings))
        return vaults[place]

    def progress(each: Progress) -> None:
        if each.kind == "revealing":
            sys.setprofile(None)
            pipe.send_bytes(b"revealing")
            os._exit(0)

    context = open_context(
        load_settings(folder / "coordinator" / "covalue.toml"),
        task_id=task_id,
        progress=progress,
        authenticated=False,
        account=dev_account(COORDINATOR),
    )
    if death is not None:
        die_at(death)
    context = dataclasses.replace(context, timing=QUICK)
    train_task(PlainGrid(make_client_app(vault_of), CONTRIBUTORS), context)
    sys.setprofile(None)
    pipe.send_bytes(b"done")


def run(town: Town, death: Death | None) -> str:
    """One process from start to end: "done", "revealing" or "killed"."""
    receiving, sending = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=coordinate, args=(town.folder, town.task_id, death, sending))
    process.start()
    sending.close()
    try:
        said = receiving.recv_bytes().decode()
    except EOFError:
        said = "killed"
    process.join()
    exit_code = process.exitcode
    process.close()
    assert exit_code == (-signal.SIGKILL if said == "killed" else 0)
    return said


def committed(town: Town) -> list[str]:
    """Digests of all round records that the chain's checkpoints lead to."""
    ledger, found = town.dao.ledger, []
    for index in range(ledger.task_of(town.task_id).checkpoint_count):
        root = ledger.checkpoint_of(town.task_id, index).records_root
        checkpoint = Checkpoint.parse(town.store.get(of_digest(root)))
        records = [SignedRoundRecord.parse(town.store.get(ref.cid)) for ref in checkpoint.records]
        found += [each.record.digest() for each in records]
    return found


def charged(town: Town, place: int) -> LedgerState:
    """What a contributor's ledger file says."""
    lines = (town.vault_settings(place).parent / "vault" / "ledger.jsonl").read_bytes().splitlines()
    return LedgerState.replay(LedgerEntry.parse(line) for line in lines)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with Devnet() as net:
        yield small_town(tmp_path_factory.mktemp("town"), net)


@pytest.fixture(scope="module")
def undisturbed(built: Town, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    with town_on(built, tmp_path_factory.mktemp("undisturbed") / "town") as town:
        assert run(town, None) == "revealing"
        return committed(town)


@pytest.mark.promise(13)
@pytest.mark.parametrize("name", SCHEDULES)
def test_promise_13_a_coordinator_killed_at_every_step_loses_and_repeats_nothing(
    built: Town, undisturbed: list[str], tmp_path: Path, name: str
) -> None:
    with town_on(built, tmp_path / "town") as town:
        ledger, distributor = town.dao.ledger, town.dao.distributor
        schedule, deaths, kept = cycle(SCHEDULES[name]), 0, list[str]()
        while ledger.task_of(town.task_id).state is not TaskState.FINALISED:
            said = run(town, next(schedule))
            deaths += said == "killed"
            assert deaths < 60, "it does not get on"
            now = committed(town)
            assert now[: len(kept)] == kept, "a committed round is lost"
            kept = now
            state = ledger.task_of(town.task_id).state
            if said == "revealing":
                town.open_parts()
            if state is TaskState.CLOSED:
                built.net.advance(town.task.terms.challenge_seconds + 1)
        assert run(town, None) == "done", "after the end there is nothing left to do"
        assert deaths >= 5
        assert kept == undisturbed
        journal = town.folder / "coordinator" / "journal" / f"task-{town.task_id}.jsonl"
        signed = [each["digest"] for each in read_entries(journal) if each["kind"] == "signed"]
        assert signed == undisturbed, "no round is signed twice"
        for place in range(CONTRIBUTORS):
            state_of = charged(town, place)
            assert state_of.length == 1 + ROUNDS, "one reservation, one entry a round"
            (task,) = state_of.tasks.values()
            assert sorted(task.answered) == list(range(1, ROUNDS + 1))
        total = ledger.final_of(town.task_id).payout_total_wei
        assert distributor.funded_of(town.task_id) == (total, 0)
        assert town.dao.token.balance_of(distributor.address) == total, "paid in once"
