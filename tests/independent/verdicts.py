# SPDX-License-Identifier: Apache-2.0
"""What product and verifier say of the same published blocks; empty where nothing differs."""

from __future__ import annotations

import dataclasses
import random
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import audit.task
from audit.chain_state import TaskOnChain
from dao.cid import parse_cid
from dao.store import LocalStore
from tests.independent.facts import Chain, Differs
from tests.independent.liar_town import Federation
from tests.independent.verifier import verify


class HeldStore(LocalStore):
    """A public store of just these blocks, below a folder of its own."""

    def __init__(self, folder: Path, blocks: Mapping[str, bytes]) -> None:
        super().__init__(folder)
        self._held: dict[str, bytes] = {}
        self.hold(blocks)

    def hold(self, blocks: Mapping[str, bytes]) -> None:
        """Make these the blocks that the folder holds, also where bytes do not fit their CID."""
        for cid in self._held.keys() - blocks.keys():
            self._place(cid).unlink()
        for cid, data in blocks.items():
            if self._held.get(cid) != data:
                self._place(cid).parent.mkdir(parents=True, exist_ok=True)
                self._place(cid).write_bytes(data)
        self._held = dict(blocks)

    def _place(self, cid: str) -> Path:
        return self.block_path(parse_cid(cid))


def product_says(
    federation: Federation, store: LocalStore, seen: TaskOnChain, patch: pytest.MonkeyPatch
) -> str:
    """The place of the audit's first failure."""
    patch.setattr(audit.task, "read_chain", lambda _dao, _task_id: seen)
    town = federation.played.town
    report = audit.task.audit_task(town.dao, store, town.task_id, allow_seeded=True)
    failure = report.first_failure
    return "" if failure is None else f"{failure.place}: {failure.detail}"


def verifier_says(chain: Chain, blocks: Mapping[str, bytes]) -> str:
    """What the verifier finds first."""
    try:
        verify(chain, blocks, allow_seeded=True)
    except Differs as found:
        return str(found)
    return ""


def other_value(value: Any, chooser: random.Random) -> Any:
    """A value of the same type, near by: a number moved, one character of a text changed."""
    if value is None or isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + chooser.choice((-1, 1)) * chooser.choice((1, 1, 900, 10**6))
    place = chooser.randrange(len(value))
    pool = string.digits if value.isdigit() else "0123456789abcdef"
    letter = chooser.choice([each for each in pool if each != value[place]])
    return value[:place] + letter + value[place + 1 :]


@dataclasses.dataclass
class Judges:
    """Both readers of one federation."""

    federation: Federation
    store: HeldStore
    patch: pytest.MonkeyPatch

    def say(self, blocks: dict[str, bytes], forged: Any = None) -> tuple[str, str]:
        """What product and verifier find; empty where nothing differs."""
        chain = self.federation.chain if forged is None else forged.chain
        seen = self.federation.seen if forged is None else forged.seen
        self.store.hold(blocks)
        product = product_says(self.federation, self.store, seen, self.patch)
        return product, verifier_says(chain, blocks)
