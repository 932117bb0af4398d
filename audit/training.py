# SPDX-License-Identifier: Apache-2.0
"""Recomputing the committed rounds of a task, from where an interrupted audit stopped."""

from __future__ import annotations

from collections.abc import Sequence

from audit.chain_state import TaskOnChain
from audit.checks import Checks, equal
from audit.kept_file import KeptFile
from audit.kept_rounds import KeptRounds, pack, read_again, unpack
from audit.published import (
    PublishedContent,
    read_blob,
    read_checkpoint,
    read_records,
    scored_rounds,
)
from audit.report import AuditReport
from dao import bls
from dao.cid import blob_ref
from dao.errors import ReplayMismatch
from dao.messages import recover_round_record_signer
from dao.records import Checkpoint, Position, RoundRecord, SignedRoundRecord, Task
from dao.store import Store
from rounds.history import PublishedRound
from rounds.replay import ReplayInput, ReplayPoint, replay_round
from rounds.stretch import ScoredRound
from valuation.family import Family


class StaleRounds(Exception):
    """What was kept of an earlier audit does not lead to what the chain holds: it is no use."""


class Training:
    """The rounds of one task, checkpoint by checkpoint.

    Args:
        kept: where recomputed rounds are kept after each checkpoint, and looked for; None keeps
            nothing.
    """

    def __init__(
        self,
        chain: TaskOnChain,
        store: Store,
        task: Task,
        family: Family,
        *,
        allow_seeded: bool,
        kept: KeptFile | None,
    ) -> None:
        self._chain = chain
        self._store = store
        self._task = task
        self._kept_file = kept
        self._kept = _usable(kept, chain)
        self._published: list[PublishedRound] = []
        self._content = PublishedContent(store)
        self._given = ReplayInput(
            task=task,
            place=chain.place,
            roster=chain.roster,
            family=family,
            content=self._content,
            verify=bls.verify,
            verify_many=bls.verify_many,
            ref=blob_ref,
            coordinator_signed=self._coordinator_signed,
            allow_seeded=allow_seeded,
        )

    def audit(self, checks: Checks, report: AuditReport) -> list[tuple[ScoredRound, ...]]:
        """Check every committed round; the rounds of each checkpoint with their bytes.

        StaleRounds where what was kept is of no use: audit again without it.
        """
        chain, stretches = self._chain, []
        if not chain.checkpoints:
            return []
        report.rounds_kept = 0 if self._kept is None else self._kept.last_round
        with checks.of("initial model"):
            initial = read_blob(self._store, self._task.model.initial, place="initial model")
            point = ReplayPoint.start(self._task, chain.roster, initial_state=initial)
        for committed in chain.checkpoints:
            place = f"checkpoint {committed.index}"
            with checks.of(f"{place}, record"):
                checkpoint = read_checkpoint(
                    self._store, committed.records_root, index=committed.index
                )
                self._checkpoint_fields(checkpoint, committed.index)
                records = read_records(self._store, checkpoint)
            point = self._rounds(checks, point, records, first=committed.first_round)
            with checks.of(f"{place}, model"):
                equal(
                    f"{place}, model",
                    on_chain=committed.model_digest,
                    recomputed=point.model.sha256,
                )
                if checkpoint.model != point.model:
                    raise ReplayMismatch(
                        place=f"{place}, record, model",
                        recorded=checkpoint.model.cid,
                        recomputed=point.model.cid,
                    )
                stretches.append(scored_rounds(records, self._content))
            self._keep(point, committed.index)
        with checks.of("last model"):
            equal("model digest", on_chain=chain.task.model_digest, recomputed=point.model.sha256)
        return stretches

    def _rounds(
        self,
        checks: Checks,
        point: ReplayPoint,
        records: Sequence[SignedRoundRecord],
        *,
        first: int,
    ) -> ReplayPoint:
        kept = self._kept
        for number, signed in enumerate(records, start=first):
            with checks.of(f"round {number}"):
                self._of_this_round(signed.record, number)
                self._content.learn(signed.record)
                if kept is None or len(self._published) == kept.last_round:
                    point = replay_round(self._given, point, signed)
                else:
                    self._read_again(kept, signed)
                    if len(self._published) == kept.last_round:
                        point = self._resumed(kept, signed)
            checks.round_done(number)
        return point

    def _of_this_round(self, record: RoundRecord, number: int) -> None:
        """Name what was signed elsewhere before anything is computed from it."""
        here = self._chain.place.model_copy(update={"round": number})
        placed = [("position", record.position)]
        placed += [
            (f"receipts[{index}].body.position", receipt.body.position)
            for index, receipt in enumerate(record.receipts)
        ]
        for where, position in placed:
            for name in Position.model_fields:
                if getattr(position, name) != getattr(here, name):
                    raise ReplayMismatch(
                        place=f"round {number}, {where}.{name}",
                        recorded=str(getattr(position, name)),
                        recomputed=str(getattr(here, name)),
                    )

    def _read_again(self, kept: KeptRounds, signed: SignedRoundRecord) -> None:
        """Every byte of a round that was recomputed before."""
        known = kept.point.history.published[len(self._published)]
        if known.round_number != signed.record.position.round:
            raise StaleRounds
        self._published.append(
            read_again(self._task, signed.record, known.addresses, self._content)
        )

    def _resumed(self, kept: KeptRounds, signed: SignedRoundRecord) -> ReplayPoint:
        record = signed.record
        if (kept.point.model, kept.point.last_record) != (record.model, record.digest()):
            raise StaleRounds
        return kept.resumed(self._content[record.model.sha256], self._published)

    def _keep(self, point: ReplayPoint, index: int) -> None:
        """Keep the point after a checkpoint, unless it came from there."""
        kept, file = self._kept, self._kept_file
        if file is None or (kept is not None and point.history.round_number <= kept.last_round):
            return
        roots = tuple(each.records_root for each in self._chain.checkpoints[: index + 1])
        file.write(pack(KeptRounds(roots=roots, point=point)))

    def _checkpoint_fields(self, checkpoint: Checkpoint, index: int) -> None:
        chain, committed = self._chain, self._chain.checkpoints[index]
        expected = {
            "chain_id": chain.chain_id,
            "ledger": chain.ledger,
            "task_id": chain.task_id,
            "task_digest": chain.task.task_digest,
            "index": index,
            "first_round": committed.first_round,
            "last_round": committed.last_round,
        }
        for name, value in expected.items():
            equal(
                f"checkpoint {index}, {name}", on_chain=value, recomputed=getattr(checkpoint, name)
            )

    def _coordinator_signed(self, signed: SignedRoundRecord) -> bool:
        signer = recover_round_record_signer(
            signed.record.position,
            signed.record.digest(),
            bytes.fromhex(signed.signature.removeprefix("0x")),
        )
        return signer == self._chain.terms.coordinator.lower()


def _usable(file: KeptFile | None, chain: TaskOnChain) -> KeptRounds | None:
    data = None if file is None else file.read()
    kept = None if data is None else unpack(data)
    return kept if kept is not None and kept.fits(chain) else None
