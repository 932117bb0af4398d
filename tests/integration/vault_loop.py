# SPDX-License-Identifier: Apache-2.0
"""The coordinator's loop and the vaults of a small town over a real chain, in one process."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
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
from fl_server.context import CoordinatorContext, Progress, Timing
from fl_server.coordinate import train_task
from fl_server.opening import open_context
from tests.federation_town import COORDINATOR, Town, build_town
from tests.plain_grid import PlainGrid

QUICK = Timing(poll=0.0, round=0.3, cosign=0.3, patience=0.6)


@dataclass
class Loop:
    """A town whose contributors answer in this process."""

    town: Town
    grid: PlainGrid
    told: list[Progress]
    vaults: dict[int, Vault]

    def context(self, **changes: Any) -> CoordinatorContext:
        def progress(each: Progress) -> None:
            self.told.append(each)
            if each.kind == "revealing":
                self.town.open_parts()

        context = open_context(
            self.town.coordinator,
            task_id=self.town.task_id,
            progress=progress,
            authenticated=False,
            account=dev_account(COORDINATOR),
        )
        return dataclasses.replace(context, **({"timing": QUICK} | changes))

    def train(self, **changes: Any) -> None:
        context = self.context(**changes)
        try:
            train_task(self.grid, context)
        finally:
            context.journal.close()

    def records(self) -> list[SignedRoundRecord]:
        """All committed round records, from the chain and the store alone."""
        ledger, store = self.town.dao.ledger, self.town.store
        found = []
        for index in range(ledger.task_of(self.town.task_id).checkpoint_count):
            root = ledger.checkpoint_of(self.town.task_id, index).records_root
            checkpoint = Checkpoint.parse(store.get(of_digest(root)))
            found += [SignedRoundRecord.parse(store.get(ref.cid)) for ref in checkpoint.records]
        return found

    @property
    def state(self) -> TaskState:
        return self.town.dao.ledger.task_of(self.town.task_id).state

    @property
    def journal(self) -> Path:
        return self.town.folder / "coordinator" / "journal" / f"task-{self.town.task_id}.jsonl"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with Devnet() as net:
        town = build_town(tmp_path_factory.mktemp("town"), net, contributors=4, rows_each=60)
        town.share_store()
        yield town


@contextmanager
def loop_on(built: Town, folder: Path) -> Iterator[Loop]:
    """A copy of the built town's files over the same chain, which is turned back afterwards."""
    mark = built.net.snapshot()
    shutil.copytree(built.folder, folder, dirs_exist_ok=True, symlinks=True)
    town = dataclasses.replace(built, folder=folder)
    vaults: dict[int, Vault] = {}

    def vault_of(context: Any) -> Vault:
        place = int(context.node_config["partition-id"])
        if place not in vaults:
            vaults[place] = open_vault(load_settings(town.vault_settings(place)))
        return vaults[place]

    grid = PlainGrid(make_client_app(vault_of), town.contributors)
    yield Loop(town, grid, [], vaults)
    built.net.revert(mark)


@pytest.fixture
def loop(built: Town, tmp_path: Path) -> Iterator[Loop]:
    with loop_on(built, tmp_path / "town") as found:
        yield found
