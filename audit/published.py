# SPDX-License-Identifier: Apache-2.0
"""Reading a task's published bytes: every blob is fetched by CID, verified, and named when wrong.

Vaults (before they co-sign), the coordinator (when it scores) and auditors read through this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from dao.canonical import MAX_RECORD_BYTES, Record
from dao.cid import blob_ref, of_digest
from dao.contracts.task_types import OpenedPartEvent
from dao.errors import (
    MissingBlobError,
    RecordError,
    ReplayMismatch,
    StoreError,
    UnreadableBlobError,
)
from dao.records import (
    BlobRef,
    Checkpoint,
    OpenedPart,
    RoundRecord,
    ScoreReport,
    SignedRoundRecord,
    Task,
)
from dao.store import Store
from dao.strict_json import load_json
from rounds.replay import decided_without_bytes
from rounds.stretch import ScoredRound

R = TypeVar("R", bound=Record)


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Put the place in front of what went wrong with stored bytes."""
    try:
        yield
    except MissingBlobError as error:
        raise MissingBlobError(f"{place}: {error.message}", hint=error.hint) from error
    except StoreError as error:
        raise StoreError(f"{place}: {error.message}", hint=error.hint) from error
    except RecordError as error:
        raise RecordError(f"{place}: {error.message}", hint=error.hint) from error


def parse_record(kind: type[R], data: bytes, *, version: str) -> R:
    """A record of this version; RecordError names another version where the bytes are of one."""
    try:
        return kind.parse(data)
    except RecordError as error:
        found = _stated_version(data)
        if found is None or found == version:
            raise
        raise RecordError(
            f"a record of version {found!r}, expected {version!r}",
            hint="a newer covalue may read it; one of another kind was put in its place otherwise",
        ) from error


def _stated_version(data: bytes) -> str | None:
    """What stands under `kind`, of the record or of the one that it signs."""
    if len(data) > MAX_RECORD_BYTES:
        return None
    try:
        document = load_json(data)
    except ValueError:
        return None
    inner = document.get("record", document) if isinstance(document, dict) else None
    found = inner.get("kind") if isinstance(inner, dict) else None
    return found[:80] if isinstance(found, str) else None


def read_blob(store: Store, ref: BlobRef, *, place: str) -> bytes:
    """The bytes that a reference names; StoreError names the place where they are not these."""
    with naming(place):
        data = store.get(ref.cid)
        _hold_to(ref, data)
        return data


def _hold_to(ref: BlobRef, data: bytes) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != ref.sha256 or len(data) != ref.size:
        raise StoreError(
            f"{ref.cid} holds {len(data)} bytes with SHA-256 {found}, "
            f"the reference says {ref.size} bytes with {ref.sha256}"
        )


def read_task(store: Store, digest: str) -> Task:
    """The task record with this digest."""
    with naming(f"task {digest}"):
        return parse_record(Task, store.get(of_digest(digest)), version="covalue.task/1")


def read_checkpoint(store: Store, root: str, *, index: int) -> Checkpoint:
    """The checkpoint record whose digest is the root that the chain holds."""
    with naming(f"checkpoint {index}"):
        data = store.get(of_digest(root))
        return parse_record(Checkpoint, data, version="covalue.checkpoint/1")


def read_report(store: Store, digest: str) -> ScoreReport:
    """The score report with this digest."""
    with naming("score report"):
        data = store.get(of_digest(digest))
        return parse_record(ScoreReport, data, version="covalue.scores/2")


def read_records(store: Store, checkpoint: Checkpoint) -> tuple[SignedRoundRecord, ...]:
    """The signed round records of a checkpoint, each with the digest that the checkpoint lists.

    ReplayMismatch where the lists do not cover the stretch or a record is another one.
    """
    expected = checkpoint.last_round - checkpoint.first_round + 1
    for name in ("records", "record_digests"):
        listed = len(getattr(checkpoint, name))
        if listed != expected:
            raise ReplayMismatch(
                place=f"checkpoint {checkpoint.index}, {name}",
                recorded=f"{listed} entries",
                recomputed=f"{expected} rounds",
            )
    records = []
    for offset, (ref, digest) in enumerate(
        zip(checkpoint.records, checkpoint.record_digests, strict=True)
    ):
        place = f"round {checkpoint.first_round + offset}, record"
        with naming(place):
            data = store.get(ref.cid)
            _hold_to(ref, data)
            signed = parse_record(SignedRoundRecord, data, version="covalue.round/1")
        if signed.record.digest() != digest:
            raise ReplayMismatch(place=place, recorded=digest, recomputed=signed.record.digest())
        records.append(signed)
    return tuple(records)


class PublishedContent(Mapping[str, bytes]):
    """Updates and models by SHA-256, fetched when asked for: what `rounds.replay` reads.

    A digest that no record named is a KeyError.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._named: dict[str, tuple[BlobRef, str]] = {}

    def learn(self, record: RoundRecord) -> None:
        """Learn which updates and models a record names."""
        number = record.position.round
        for receipt in record.receipts:
            owner = receipt.body.contributor
            self._name(receipt.body.update, f"round {number}, update of {owner}")
        for each in record.exclusions:
            if each.receipt is not None and not decided_without_bytes(each):
                ref = each.receipt.body.update
                self._name(ref, f"round {number}, update of {each.contributor}")
        self._name(record.base_model, f"round {number}, base model")
        self._name(record.model, f"round {number}, model")

    def references(self) -> Iterator[tuple[BlobRef, str]]:
        """Every blob that a record named, with its place."""
        yield from self._named.values()

    def _name(self, ref: BlobRef, place: str) -> None:
        self._named.setdefault(ref.sha256, (ref, place))

    def __getitem__(self, sha256: str) -> bytes:
        ref, place = self._named[sha256]
        return read_blob(self._store, ref, place=place)

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)


def opened_parts(
    store: Store, events: Sequence[OpenedPartEvent]
) -> tuple[tuple[OpenedPart, bytes], ...]:
    """The sealed parts that count, by index: opened on chain, to be had, and hashing to the digest
    that the chain checked against the commitment. Others are left out, as if never opened."""
    found = []
    for event in sorted(events, key=lambda each: each.part):
        with naming(f"validation part {event.part}"):
            try:
                data = store.get(event.part_cid)
            except (MissingBlobError, UnreadableBlobError):
                continue  # its holder published nothing
        ref = blob_ref(data)
        if ref.sha256 == event.part_digest:
            found.append((OpenedPart(index=event.part, salt=event.salt, rows=ref), data))
    return tuple(found)


def scored_rounds(
    records: tuple[SignedRoundRecord, ...], content: Mapping[str, bytes]
) -> tuple[ScoredRound, ...]:
    """A stretch's rounds with the bytes that scoring needs."""
    return tuple(ScoredRound.read(signed.record, content) for signed in records)
