# SPDX-License-Identifier: Apache-2.0
"""A town of `federation_town` whose whole task is trained in one process, and what it published.

A test works on a copy of the town's files over the same chain, which is turned back afterwards.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flwr.app import Message

from audit.task import audit_task
from dao.cid import of_digest
from dao.records import BlobRef, Checkpoint, ScoreReport, SignedRoundRecord
from dao.settings import load_settings
from demo.devnet import Devnet, dev_account
from fl_client.client_app import make_client_app
from fl_client.opening import open_vault
from fl_client.vault import Vault
from fl_server.context import Progress, Timing
from fl_server.coordinate import train_task
from fl_server.opening import open_context
from tests.federation_town import COORDINATOR, Town, address, build_town
from tests.plain_grid import PlainGrid

CONTRIBUTORS, ROUNDS = 4, 4
QUICK = Timing(poll=0.0, round=0.3, cosign=0.3, patience=0.6)


def small_town(folder: Path, net: Devnet, *, rule: str = "sum") -> Town:
    """Four contributors with a few rows each; all use the coordinator's store."""
    town = build_town(
        folder, net, contributors=CONTRIBUTORS, rounds=ROUNDS, rows_each=40, rule=rule
    )
    town.share_store()
    return town


@contextmanager
def town_on(built: Town, folder: Path) -> Iterator[Town]:
    """A copy of the town's files over the same chain, which is turned back afterwards."""
    mark = built.net.snapshot()
    shutil.copytree(built.folder, folder, dirs_exist_ok=True, symlinks=True)
    yield dataclasses.replace(built, folder=folder)
    built.net.revert(mark)


@dataclasses.dataclass
class Played:
    """A town and the replies of its vaults, in order, with the message that each one answers."""

    town: Town
    replies: list[tuple[str, Message, Message]] = dataclasses.field(default_factory=list)

    def train(self) -> None:
        """Train the task to its close in this process."""
        town, vaults = self.town, dict[int, Vault]()

        def vault_of(context: Any) -> Vault:
            place = int(context.node_config["partition-id"])
            if place not in vaults:
                vaults[place] = open_vault(load_settings(town.vault_settings(place)))
            return vaults[place]

        def progress(each: Progress) -> None:
            if each.kind == "revealing":
                town.open_parts()

        def listen(node: int, message: Message, reply: Message) -> Message:
            self.replies.append((address(9 + node), message, reply))
            return reply

        context = open_context(
            town.coordinator,
            task_id=town.task_id,
            progress=progress,
            authenticated=False,
            account=dev_account(COORDINATOR),
        )
        grid = PlainGrid(make_client_app(vault_of), CONTRIBUTORS)
        grid.tamper = listen
        try:
            train_task(grid, dataclasses.replace(context, timing=QUICK))
        finally:
            context.journal.close()

    def checkpoints(self) -> list[Checkpoint]:
        """All that the chain holds, from the store."""
        ledger, task_id = self.town.dao.ledger, self.town.task_id
        roots = [
            ledger.checkpoint_of(task_id, index).records_root
            for index in range(ledger.task_of(task_id).checkpoint_count)
        ]
        return [Checkpoint.parse(self.town.store.get(of_digest(root))) for root in roots]

    def records(self) -> list[SignedRoundRecord]:
        """All committed round records."""
        references = [ref for each in self.checkpoints() for ref in each.records]
        return [SignedRoundRecord.parse(self.town.store.get(ref.cid)) for ref in references]

    def published(self) -> dict[str, str]:
        """Place by CID of every blob that chain and records name."""
        town = self.town
        final = town.dao.ledger.final_of(town.task_id)
        report = ScoreReport.parse(town.store.get(of_digest(final.score_digest)))
        blobs: list[tuple[str, BlobRef]] = [
            ("set-up", town.task.model.setup),
            ("initial model", town.task.model.initial),
        ]
        if town.task.public_rows is not None:
            blobs.append(("public rows", town.task.public_rows))
        blobs += [(f"validation part {part.index}", part.rows) for part in report.parts]
        found = {ref.cid: place for place, ref in blobs}
        found[of_digest(town.task.digest())] = "task"
        found[of_digest(final.score_digest)] = "score report"
        for checkpoint in self.checkpoints():
            found[of_digest(checkpoint.digest())] = f"checkpoint {checkpoint.index}"
            for number, ref in enumerate(checkpoint.records, start=checkpoint.first_round):
                found[ref.cid] = f"round {number}, record"
        for signed in self.records():
            number = signed.record.position.round
            for receipt in signed.record.receipts:
                owner = receipt.body.contributor
                found[receipt.body.update.cid] = f"round {number}, update of {owner}"
            # that of a survey is the model which it found
            found.setdefault(signed.record.model.cid, f"round {number}, model")
        return found

    def audit(self) -> str:
        """What the audit says of its first failure; empty where nothing differs."""
        report = audit_task(self.town.dao, self.town.store, self.town.task_id, allow_seeded=True)
        failure = report.first_failure
        return "" if failure is None else f"{failure.place}: {failure.detail}"
