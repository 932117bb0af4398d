# SPDX-License-Identifier: Apache-2.0
"""What a round publishes, and where the coordinator keeps it before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dao.cid import blob_ref
from dao.records import BlobRef, Receipt, RoundRecord, SignedRoundRecord
from dao.store import Store
from rounds.exclusion import Answer
from rounds.replay import decided_without_bytes


@dataclass(frozen=True)
class PublishedRound:
    """A closed round whose blobs are in the public store."""

    signed: SignedRoundRecord
    record_ref: BlobRef
    """Of the SignedRoundRecord."""


def spool_answers(spool: Store, answers: Mapping[str, Answer]) -> list[dict[str, Any]]:
    """Put answers into the private spool; what the journal says of them, by contributor."""
    entries = []
    for address in sorted(answers):
        answer = answers[address]
        entry = {"contributor": address, "receipt": spool.put(answer.receipt.canonical()).cid}
        if answer.update is not None:
            entry["update"] = spool.put(answer.update).cid
        entries.append(entry)
    return entries


def spooled_answers(spool: Store, entries: list[dict[str, Any]]) -> dict[str, Answer]:
    """The answers that a journal entry names."""
    return {
        entry["contributor"]: Answer(
            receipt=Receipt.parse(spool.get(entry["receipt"])),
            update=spool.get(entry["update"]) if "update" in entry else None,
        )
        for entry in entries
    }


def publish_round(
    store: Store,
    *,
    signed: SignedRoundRecord,
    answers: Mapping[str, Answer],
    model: bytes,
) -> PublishedRound:
    """Put updates, model and signed record into the public store. Repeating it is harmless.

    Only updates that hash to their receipts are published: nothing else can be named.
    """
    for answer in answers.values():
        if answer.update is not None and blob_ref(answer.update) == answer.receipt.body.update:
            _keep(store, answer.update)
    _keep(store, model)
    return PublishedRound(signed=signed, record_ref=_keep(store, signed.canonical()))


def _keep(store: Store, data: bytes) -> BlobRef:
    reference = store.put(data)
    store.pin(reference.cid)
    return reference


class StoreContent(Mapping[str, bytes]):
    """Bytes by SHA-256 from a store, for the blobs that records name: `rounds.replay` reads this.

    Fetched when asked for; a digest that no record named is a KeyError.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cids: dict[str, str] = {}

    def add_record(self, record: RoundRecord) -> None:
        """Learn where the updates and models of a record lie."""
        excluded = (
            each.receipt
            for each in record.exclusions
            if each.receipt is not None and not decided_without_bytes(each)
        )
        references = [receipt.body.update for receipt in (*record.receipts, *excluded)]
        for reference in (*references, record.base_model, record.model):
            self._cids[reference.sha256] = reference.cid

    def __getitem__(self, sha256: str) -> bytes:
        return self._store.get(self._cids[sha256])

    def __iter__(self) -> Iterator[str]:
        return iter(self._cids)

    def __len__(self) -> int:
        return len(self._cids)
