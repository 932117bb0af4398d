# SPDX-License-Identifier: Apache-2.0
"""Promise 7: whoever changes one byte of what was published is found, and the place is named."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from played_world import Played

from audit.published import read_checkpoint, read_records, read_report, read_task
from audit.task import audit_task
from dao.cid import of_digest, parse_cid
from dao.records import BlobRef
from dao.store import LocalStore

RANDOM_BLOCKS = 30


def named_artefacts(played: Played) -> dict[str, str]:
    """One CID of each kind of artefact, by the word that the audit must use for its place."""
    ledger, store = played.dao.ledger, played.store
    task_id = played.result.provenance.task_id
    digest = ledger.task_of(task_id).task_digest
    root = ledger.checkpoint_of(task_id, 1).records_root
    checkpoint = read_checkpoint(store, root, index=1)
    signed = read_records(store, checkpoint)[3]
    number = signed.record.position.round
    report = read_report(store, ledger.final_of(task_id).score_digest)
    task = read_task(store, digest)
    assert task.public_rows is not None
    blobs: dict[str, BlobRef] = {
        "set-up": task.model.setup,
        "initial model": task.model.initial,
        "public rows": task.public_rows,
        f"round {number}, record": checkpoint.records[3],
        f"round {number}, update of {signed.record.receipts[0].body.contributor}": (
            signed.record.receipts[0].body.update
        ),
        "validation part 1": report.parts[1].rows,
    }
    cids = {place: ref.cid for place, ref in blobs.items()}
    cids["task"] = of_digest(digest)
    cids["checkpoint 1"] = of_digest(root)
    cids["score report"] = of_digest(report.digest())
    cids[f"round {number}, model"] = signed.record.model.cid
    return cids


@pytest.fixture(scope="module")
def copied(played: Played, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the public store, to be spoiled."""
    target = tmp_path_factory.mktemp("spoiled") / "store"
    shutil.copytree(played.settings.store.path, target)
    return target


def spoil_and_audit(played: Played, folder: Path, block: Path, place: int) -> str:
    """Flip one byte of a block, audit, put it back; what the audit said of the first failure."""
    before = block.read_bytes()
    after = bytearray(before)
    after[place % len(before)] ^= 1 + place % 255
    block.write_bytes(bytes(after))
    try:
        report = audit_task(played.dao, LocalStore(folder), played.result.provenance.task_id)
    finally:
        block.write_bytes(before)
    failure = report.first_failure
    return "" if failure is None else f"{failure.place}: {failure.detail}"


def test_promise_7_untouched_copy_passes(played: Played, copied: Path) -> None:
    report = audit_task(played.dao, LocalStore(copied), played.result.provenance.task_id)
    assert report.ok, report.first_failure
    assert len(report.checks) > 40


def test_promise_7_one_byte_of_each_kind_is_named(played: Played, copied: Path) -> None:
    chooser = random.Random(7)
    for word, cid in named_artefacts(played).items():
        store = LocalStore(copied)
        block = store.block_path(parse_cid(cid))
        said = spoil_and_audit(played, copied, block, chooser.randrange(10**6))
        assert word.split(",")[0] in said, f"{word}: {said or 'passed'}"


def test_promise_7_one_byte_of_any_block_is_found(played: Played, copied: Path) -> None:
    chooser = random.Random(77)
    blocks = sorted(path for path in copied.rglob("*") if path.is_file())
    for block in chooser.sample(blocks, RANDOM_BLOCKS):
        said = spoil_and_audit(played, copied, block, chooser.randrange(10**6))
        assert said, f"a flipped byte in {block.name} was not noticed"


def test_promise_7_every_block_of_the_store_is_read(played: Played, copied: Path) -> None:
    read: set[bytes] = set()

    class Recording(LocalStore):
        def get_block(self, cid: bytes) -> bytes:
            read.add(cid)
            return super().get_block(cid)

    assert audit_task(played.dao, Recording(copied), played.result.provenance.task_id).ok
    kept = {parse_cid(path.name) for path in copied.rglob("*") if path.is_file()}
    assert kept <= read


def test_promise_7_a_missing_blob_is_named(played: Played, copied: Path) -> None:
    cid = named_artefacts(played)["checkpoint 1"]
    block = LocalStore(copied).block_path(parse_cid(cid))
    before = block.read_bytes()
    block.unlink()
    try:
        report = audit_task(played.dao, LocalStore(copied), played.result.provenance.task_id)
    finally:
        block.write_bytes(before)
    assert report.first_failure is not None
    assert "checkpoint 1" in report.first_failure.place
