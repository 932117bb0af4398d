# SPDX-License-Identifier: Apache-2.0
"""A vault over a small linear task, with a chain that is a plain object."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_account import Account

from dao.keystore import BlsKey
from dao.records import SeedBlock, Task
from dao.store import MemoryStore
from demo.market import TARGET, generate_market
from fl_client.approval import PartOnChain, TaskOnChain
from fl_client.policy import PolicyFloor
from fl_client.vault import Vault, VaultConfig
from fl_client.wire import TrainRequest
from privacy import accounting
from rounds.exclusion import RosterMember
from rounds.state import encode_state
from valuation.build import build_task
from valuation.draft import draft_task
from valuation.rows import parse_csv
from valuation.taskfile import TaskFile

ACCOUNT = "0x" + "11" * 20
COORDINATOR_ACCOUNT = Account.from_key("0x" + "22" * 32)
COORDINATOR = COORDINATOR_ACCOUNT.address.lower()
LEDGER = "0x" + "33" * 20
BUNDLE = "ab" * 32


@dataclass
class PlainChain:
    """`ChainView` of one task that a test can change."""

    state: TaskOnChain
    parts: tuple[PartOnChain, ...] = ()
    roots: dict[int, str] = field(default_factory=dict)
    blocks: tuple[SeedBlock, ...] = ()

    def task(self, task_id: int) -> TaskOnChain:
        return dataclasses.replace(self.state, task_id=task_id)

    def checkpoint_root(self, task_id: int, index: int) -> str:
        return self.roots[index]

    def opened_parts(self, task_id: int) -> tuple[PartOnChain, ...]:
        return self.parts

    def seed_blocks(self, task_id: int, *, checkpoints: int) -> tuple[SeedBlock, ...]:
        return self.blocks[:checkpoints]


@dataclass
class VaultWorld:
    """A task in a store, a chain that runs it, and the means to open its contributor's vault."""

    folder: Path
    task: Task
    store: MemoryStore
    chain: PlainChain
    key: BlsKey
    config: VaultConfig

    def open(self, **changes: Any) -> Vault:
        """A vault as after a start of its process."""
        floor = {
            name: changes.pop(name)
            for name in list(changes)
            if name in PolicyFloor.__dataclass_fields__
        }
        config = dataclasses.replace(
            self.config, floor=dataclasses.replace(self.config.floor, **floor)
        )
        return Vault(config, key=self.key, store=self.store, chain=self.chain, **changes)

    def request(self, round_number: int = 1, *, base: bytes | None = None) -> TrainRequest:
        """The coordinator's request for a round; the base differs from round to round."""
        if base is None:
            d = self.task.model.parameters
            base = encode_state(np.full((1, d), round_number, dtype=np.int64))
            if self.task.optimiser.kind == "adam":
                base = base + bytes(16 * d)
        return TrainRequest(
            task_id=7, task_digest=self.task.digest(), round=round_number, base=base
        )

    def adopt(self, task: Task) -> None:
        """Let the chain say that this task was approved and runs."""
        self.store.put(task.canonical())
        self.task = task
        self.chain.state = dataclasses.replace(self.chain.state, task_digest=task.digest())


def small_task(store: MemoryStore, *, rounds: int = 5, epsilon: float = 8.0) -> Task:
    """A task over generated sales without public rows (a small mlp; nothing to fit)."""
    market = generate_market(60, 3, location=False)
    draft = draft_task(parse_csv(market.to_csv(index=False).encode(), name="rows"), target=TARGET)
    taskfile = TaskFile.model_validate(
        {
            "title": "Homes",
            "asset_class": "homes",
            "licence": "CC-BY-4.0",
            "target": draft.target.model_dump(),
            "feature": [feature.model_dump() for feature in draft.features],
            "privacy": {"epsilon": epsilon, "delta": 1e-5, "rounds": rounds, "public_n": 1000},
            "model": {"family": "mlp", "hidden": [4]},
            "terms": {"coordinator": COORDINATOR},
        }
    )
    task = build_task(taskfile, None, store.put, bundle_sha256=BUNDLE, accounting=accounting)
    store.put(task.canonical())
    return task


def make_world(folder: Path, **task_changes: Any) -> VaultWorld:
    """A running task 7 with this vault alone on its roster; noise is seeded, to compare bytes."""
    store = MemoryStore()
    task = small_task(store, **task_changes)
    key = BlsKey(hashlib.sha256(b"a test's key").digest()[:31].rjust(32, b"\0"))
    records = folder / "records.csv"
    records.write_text(generate_market(80, 4, location=False).to_csv(index=False))
    chain = PlainChain(
        TaskOnChain(
            chain_id=31337,
            ledger=LEDGER,
            task_id=7,
            task_digest=task.digest(),
            state="Running",
            coordinator=COORDINATOR,
            last_round=0,
            checkpoint_count=0,
            parts_opened=0,
            reveal_over=False,
            roster=(RosterMember(ACCOUNT, key.public_key),),
        )
    )
    config = VaultConfig(
        account=ACCOUNT,
        folder=folder / "vault",
        records=records,
        witness=folder / "witness.json",
        floor=PolicyFloor(
            lifetime_epsilon_micro=20_000_000, delta_e12=10_000_000, allow_seeded_noise=True
        ),
        bundle_sha256=BUNDLE,
        noise_seed=b"test",
    )
    return VaultWorld(folder, task, store, chain, key, config)


@pytest.fixture
def world(tmp_path: Path) -> VaultWorld:
    """See `make_world`."""
    return make_world(tmp_path)
