# SPDX-License-Identifier: Apache-2.0
"""A holder opens its validation part under a CID that leads nowhere: its rows do not count, and
nobody else's pay waits for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dao.cid import format_cid, of_digest
from dao.contracts.task_types import TaskState
from dao.records import ScoreReport
from demo.devnet import Devnet
from rounds import report
from tests.federation_town import HOLDERS, SALTS, Town
from tests.playing_town import Played, small_town, town_on
from valuation.loading import load_family


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with Devnet() as net:
        yield small_town(tmp_path_factory.mktemp("town"), net)


@pytest.fixture
def town(built: Town, tmp_path: Path) -> Iterator[Town]:
    with town_on(built, tmp_path / "town") as found:
        yield found


@pytest.mark.parametrize("where", ["no-cid-at-all", of_digest("cd" * 32), "a directory"])
def test_a_part_that_nobody_can_read_holds_nobody_up(
    town: Town, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_parts(self: Town) -> None:
        for part, data in enumerate(self.parts):
            reference = self.store.put(data)
            cid = reference.cid if part else where
            if cid == "a directory":
                cid = _directory(self)
            call = self.dao.ledger.open_part(
                self.task_id,
                part,
                salt=SALTS[part],
                part_digest=reference.sha256,
                part_cid=cid,
            )
            self.send(HOLDERS[part], call)

    monkeypatch.setattr(Town, "open_parts", open_parts)
    found = Played(town)
    found.train()
    ledger = town.dao.ledger
    assert ledger.task_of(town.task_id).state is TaskState.CLOSED
    digest = ledger.final_of(town.task_id).score_digest
    settled = ScoreReport.parse(town.store.get(of_digest(digest)))
    assert [part.index for part in settled.parts] == [1]
    assert found.audit() == ""


def test_a_part_beyond_the_limit_counts_as_empty(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = load_family(town.task, town.store.get(town.task.model.setup.cid))
    part = town.parts[0]
    monkeypatch.setattr(report, "MAX_PART_BYTES", len(part))
    assert report.sealed_rows(town.task, family, [part]) is not None
    monkeypatch.setattr(report, "MAX_PART_BYTES", len(part) - 1)
    assert report.sealed_rows(town.task, family, [part]) is None


def _directory(town: Town) -> str:
    """The CID of a block that is here, but is no file: an empty UnixFS directory."""

    block = b"\x0a\x02\x08\x01"
    cid = bytes((0x01, 0x70, 0x12, 0x20)) + hashlib.sha256(block).digest()
    town.store.put_block(cid, block)
    return format_cid(cid)
