# SPDX-License-Identifier: Apache-2.0
"""What an audit keeps of the rounds that it has recomputed, as bytes, and back.

Only what follows from published bytes by long computation is kept: how far everybody moved the
model, and the judge's word. The bytes themselves are read and hashed again by every audit, so a
blob that was changed or taken away since is found like any other; the committed roots, which are
kept beside it, say which bytes the computation was about.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from audit.chain_state import TaskOnChain
from dao.records import BlobRef, RoundRecord, Task
from rounds.history import History, PublishedRound
from rounds.phases import release_of
from rounds.replay import ReplayPoint, decided_without_bytes
from rounds.state import Floats, decode_update, sum_updates
from rounds.step import Displacement

_CODE = ("audit", "dao", "privacy", "rewards", "rounds", "valuation")
"""The packages by whose functions a round is recomputed."""


def code_digest() -> str:
    """SHA-256 over every source file that an audit runs, and what runs them."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256(f"{platform.python_version()} {np.__version__}".encode())
    for path in sorted(path for room in _CODE for path in (root / room).rglob("*.py")):
        data = path.read_bytes()
        digest.update(f"\n{path.relative_to(root).as_posix()} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def kept_name(chain: TaskOnChain, *, allow_seeded: bool) -> str:
    """The name of the file of a task: of this code, this chain, this roster, these rules."""
    document = {
        "code": code_digest(),
        "chain_id": chain.chain_id,
        "ledger": chain.ledger,
        "task_id": chain.task_id,
        "task_digest": chain.task.task_digest,
        "coordinator": chain.terms.coordinator.lower(),
        "roster": [[each.address, each.bls_public_key.hex()] for each in chain.roster],
        "allow_seeded": allow_seeded,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class KeptRounds:
    """A replay's point after some checkpoints, less what is read again.

    Attributes:
        roots: of the checkpoints that were replayed, as they stood on chain.
        point: its `model_bytes` are empty, and `history.published` has no vectors.
    """

    roots: tuple[str, ...]
    point: ReplayPoint

    @property
    def last_round(self) -> int:
        """The last round that was replayed."""
        return self.point.history.round_number

    def fits(self, chain: TaskOnChain) -> bool:
        """Whether the chain still holds these checkpoints, and they end where the replay did."""
        held = tuple(each.records_root for each in chain.checkpoints[: len(self.roots)])
        return (
            bool(self.roots)
            and held == self.roots
            and chain.checkpoints[len(self.roots) - 1].last_round == self.last_round
            and chain.checkpoints[len(self.roots) - 1].model_digest == self.point.model.sha256
        )

    def resumed(self, model_bytes: bytes, published: Sequence[PublishedRound]) -> ReplayPoint:
        """The point itself, with the bytes that were read again."""
        history = replace(self.point.history, published=tuple(published))
        return replace(self.point, history=history, model_bytes=model_bytes)


def read_again(
    task: Task, record: RoundRecord, addresses: Sequence[str], content: Mapping[str, bytes]
) -> PublishedRound:
    """What a round of which the record was checked before published, from its bytes.

    `addresses` are those whose updates were well-formed. Reads what a replay of the round reads.
    """
    release = release_of(task, record.position.round)
    read = {each.body.contributor: content[each.body.update.sha256] for each in record.receipts}
    for each in record.exclusions:
        if each.receipt is not None and not decided_without_bytes(each):
            read[each.contributor] = content[each.receipt.body.update.sha256]
    updates = {address: decode_update(release, read[address]) for address in addresses}
    copies = {each.contributor for each in record.exclusions if each.reason == "copy"}
    counted = [update for address, update in updates.items() if address not in copies]
    total = sum_updates(counted, length=release.length)
    return PublishedRound.of(record.position.round, updates, total)


def pack(kept: KeptRounds) -> bytes:
    """As bytes: SHA-256 of the rest; a NumPy archive of plain arrays, one of them a JSON header."""
    history = kept.point.history
    arrays: dict[str, Any] = {}
    header = {
        "roots": kept.roots,
        "round_number": history.round_number,
        "model": kept.point.model.model_dump(mode="json"),
        "last_record": kept.point.last_record,
        "judged_out": dict(history.judged_out),
        "published": [[each.round_number, each.addresses] for each in history.published],
        "displacements": _pack_all(arrays, "displacements", history.displacements),
        "to_judge": _pack_all(arrays, "to_judge", history.to_judge),
        "noise": _pack_one(arrays, "noise", history.noise),
        "surveys": list(history.surveys),
    }
    arrays |= {f"survey {address}": counts for address, counts in history.surveys.items()}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **arrays)
    return hashlib.sha256(packed.getvalue()).digest() + packed.getvalue()


def unpack(data: bytes) -> KeptRounds | None:
    """None for bytes that no `pack` of this code has made: cut off, or spoilt on disk."""
    digest, archive = data[:32], data[32:]
    if hashlib.sha256(archive).digest() != digest:
        return None
    with np.load(io.BytesIO(archive), allow_pickle=False) as packed:
        arrays = {name: packed[name] for name in packed.files}
    header = json.loads(arrays["header"].tobytes())
    history = History(
        round_number=header["round_number"],
        displacements=_unpack_all(arrays, "displacements", header["displacements"]),
        to_judge=_unpack_all(arrays, "to_judge", header["to_judge"]),
        noise=_unpack_one(arrays, "noise") if header["noise"] else None,
        judged_out=header["judged_out"],
        surveys={each: arrays[f"survey {each}"] for each in header["surveys"]},
        published=tuple(
            PublishedRound(number, tuple(addresses), np.zeros((0, 0)))
            for number, addresses in header["published"]
        ),
    )
    point = ReplayPoint(
        history=history,
        model=BlobRef.model_validate(header["model"]),
        model_bytes=b"",
        last_record=header["last_record"],
    )
    return KeptRounds(roots=tuple(header["roots"]), point=point)


def _pack_all(arrays: dict[str, Any], name: str, several: Mapping[str, Displacement]) -> list[str]:
    if several:
        _pack_one(arrays, name, Displacement.stacked(list(several.values())))
    return list(several)


def _pack_one(arrays: dict[str, Any], name: str, each: Displacement | None) -> bool:
    if each is None:
        return False
    arrays[f"{name} phi"] = each.phi
    if each.momentum is not None:
        arrays[f"{name} momentum"] = each.momentum
    return True


def _unpack_all(
    arrays: Mapping[str, Floats], name: str, addresses: Sequence[str]
) -> dict[str, Displacement]:
    if not addresses:
        return {}
    stacked = _unpack_one(arrays, name)
    return {address: stacked.row(row) for row, address in enumerate(addresses)}


def _unpack_one(arrays: Mapping[str, Floats], name: str) -> Displacement:
    return Displacement(phi=arrays[f"{name} phi"], momentum=arrays.get(f"{name} momentum"))
