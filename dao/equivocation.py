# SPDX-License-Identifier: Apache-2.0
"""Two round records that a coordinator signed for one round: found among records, as the call that
takes its bond (TaskLedger.proveEquivocation)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dao.chain import Call
from dao.deployment import Contracts
from dao.errors import RecordError
from dao.messages import recover_round_record_signer
from dao.records import SignedRoundRecord
from dao.store import LocalStore

_BEGINNING = b'{"record":{"base_model":'
"""Of a SignedRoundRecord's canonical bytes; other blobs of a store need not be read."""


def kept_records(store: LocalStore) -> Iterator[SignedRoundRecord]:
    """Every signed round record in a store's own folder, of whatever task."""
    for data in store.blobs_beginning(_BEGINNING):
        try:
            yield SignedRoundRecord.parse(data)
        except RecordError:
            continue


def find_equivocation(
    dao: Contracts, task_id: int, records: Iterable[SignedRoundRecord]
) -> Call | None:
    """The proof that the coordinator of a task signed two of these records for one round; None
    where it did not. Records of other tasks, or signed by others, are passed over."""
    coordinator = dao.ledger.task_of(task_id).coordinator
    place = (dao.chain.chain_id, dao.ledger.address, task_id)
    first: dict[int, tuple[str, bytes]] = {}
    for signed in records:
        position, digest = signed.record.position, signed.record.digest()
        if (position.chain_id, position.ledger, position.task_id) != place:
            continue
        try:
            signature = bytes.fromhex(signed.signature.removeprefix("0x"))
            if recover_round_record_signer(position, digest, signature) != coordinator:
                continue
        except RecordError:
            continue
        known, known_signature = first.setdefault(position.round, (digest, signature))
        if known != digest:
            return dao.ledger.prove_equivocation(
                task_id,
                round=position.round,
                digest_a=known,
                signature_a=known_signature,
                digest_b=digest,
                signature_b=signature,
            )
    return None
