# SPDX-License-Identifier: Apache-2.0
"""Flipping bytes of what a finished task has published, and asking two readers what they find."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audit.task import audit_task
from dao.cid import format_cid, parse_cid
from dao.errors import StoreError
from dao.store import LocalStore
from tests.independent.canonical import Blocks
from tests.independent.facts import Differs
from tests.independent.liar_town import PLANS, Federation, play
from tests.independent.verifier import verify


@dataclass
class FoundFlips:
    """Of how many flips each reader names the block that was spoilt, and of how many both do; in
    how many blocks they were, and how many were put to whole runs."""

    blocks: int = 0
    whole: int = 0
    audit: int = 0
    verifier: int = 0
    agreed: int = 0


def found_flips(folder: Path, flips: int, chooser: random.Random) -> FoundFlips:
    """Play a task below `folder`, and flip a random byte of a random block so many times.

    RuntimeError where a reader refuses what was played, or reads a block that the other does not.
    """
    found = FoundFlips()
    with play(folder, PLANS["newton"]) as federation:
        cids = sorted(_read_by_audit(federation))
        if set(cids) != _read_by_verifier(federation):
            raise RuntimeError("audit and verifier do not read the same blocks")
        found.blocks, tried = len(cids), set[str]()
        for _ in range(flips):
            cid = chooser.choice(cids)
            data = bytearray(federation.blocks[cid])
            data[chooser.randrange(len(data))] ^= chooser.randrange(1, 256)
            whole = cid not in tried
            tried.add(cid)
            said = (
                _audit_says(federation, cid, bytes(data), whole=whole),
                _verifier_says(federation, cid, bytes(data), whole=whole),
            )
            named = [cid in each for each in said]
            found.whole += whole
            found.audit += named[0]
            found.verifier += named[1]
            found.agreed += all(named)
    return found


class _Recording(LocalStore):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read: set[str] = set()

    def get_block(self, cid: bytes) -> bytes:
        block = super().get_block(cid)
        self.read.add(format_cid(cid))
        return block


def _read_by_audit(federation: Federation) -> set[str]:
    store = _Recording(federation.played.town.store.path)
    said = _audit_of(federation, store)
    if said:
        raise RuntimeError(f"the audit refuses what was played: {said}")
    return store.read


def _audit_of(federation: Federation, store: LocalStore) -> str:
    town = federation.played.town
    failure = audit_task(town.dao, store, town.task_id, allow_seeded=True).first_failure
    return "" if failure is None else f"{failure.place}: {failure.detail}"


class _Read(dict[str, bytes]):
    def __init__(self, blocks: dict[str, bytes]) -> None:
        super().__init__(blocks)
        self.read: set[str] = set()

    def __getitem__(self, cid: str) -> bytes:
        self.read.add(cid)
        return super().__getitem__(cid)


def _read_by_verifier(federation: Federation) -> set[str]:
    blocks = _Read(federation.blocks)
    verify(federation.chain, blocks, allow_seeded=True)
    return blocks.read


def _audit_says(federation: Federation, cid: str, data: bytes, *, whole: bool) -> str:
    """What the audit says with the block on disk spoilt: a whole run, or the read of the block."""
    store = federation.played.town.store
    path = store.block_path(parse_cid(cid))
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        if whole:
            return _audit_of(federation, store)
        return _refused(lambda: store.get_block(parse_cid(cid)))
    finally:
        path.write_bytes(before)


def _verifier_says(federation: Federation, cid: str, data: bytes, *, whole: bool) -> str:
    blocks = {**federation.blocks, cid: data}
    if whole:
        return _refused(lambda: verify(federation.chain, blocks, allow_seeded=True))
    return _refused(lambda: Blocks(blocks).file(cid, "a block"))


def _refused(read: Callable[[], object]) -> str:
    try:
        read()
    except StoreError as error:
        return error.message
    except Differs as error:
        return str(error)
    return ""
