# SPDX-License-Identifier: Apache-2.0
"""One round at the coordinator: ask, fix the answers, close, sign, publish (docs/SPEC.md, 4).

Every step is journaled before the next, so that a crash anywhere resumes to the same record: the
fixed answers are read back from the spool, a signed record is read back and never made anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from flwr.serverapp import Grid

from dao import bls
from dao.cid import blob_ref
from dao.messages import sign_round_record
from dao.records import BlobRef, RoundRecord, SignedRoundRecord
from fl_server.collecting import FixedAnswers, fixed_answers
from fl_server.context import CoordinatorContext
from fl_server.journal import JournalError
from fl_server.publish import PublishedRound, publish_round
from rounds.close import Closed, CloseInput, close_round
from rounds.history import History
from rounds.training import RecordedFigures


@dataclass(frozen=True)
class TrainingPoint:
    """Where training stands: after `history.round_number` rounds."""

    history: History
    model: BlobRef
    model_bytes: bytes
    previous_record: str
    published: tuple[PublishedRound, ...]

    @classmethod
    def start(cls, context: CoordinatorContext) -> TrainingPoint:
        """Before round 1; the task and its blobs are put into the public store."""
        task = context.task
        context.store.put(task.canonical())
        return cls(
            history=History.start(task, tuple(member.address for member in context.roster)),
            model=task.model.initial,
            model_bytes=context.store.get(task.model.initial.cid),
            previous_record=task.digest(),
            published=(),
        )


def run_round(grid: Grid, context: CoordinatorContext, point: TrainingPoint) -> TrainingPoint:
    """Run the next round, or redo from the journal what was done of it."""
    number = point.history.round_number + 1
    fixed = fixed_answers(
        grid,
        context,
        number,
        base=point.model_bytes,
        judged_out=frozenset(point.history.judged_out),
    )
    closed, signed = _sealed(context, point, number, fixed)
    published = publish_round(
        context.store, signed=signed, answers=fixed.answers, model=closed.model
    )
    record = closed.record
    context.tell(
        "round",
        number,
        rounds=context.task.total_rounds,
        counted=len(record.receipts),
        excluded={each.contributor: each.reason for each in record.exclusions},
        refusals=fixed.refusals,
        model=record.model.sha256,
    )
    return TrainingPoint(
        history=closed.history,
        model=record.model,
        model_bytes=closed.model,
        previous_record=record.digest(),
        published=(*point.published, published),
    )


def _sealed(
    context: CoordinatorContext,
    point: TrainingPoint,
    number: int,
    fixed: FixedAnswers,
) -> tuple[Closed, SignedRoundRecord]:
    """Close and sign; or, where the round was signed before, close to that very record."""
    before = context.journal.find("signed", round=number)
    recorded = None
    if before is not None:
        record = RoundRecord.parse(context.spool.get(before["record"]))
        recorded = RecordedFigures.of(record)
    closed = close_round(
        CloseInput(
            task=context.task,
            position=context.position(number),
            roster=context.roster,
            base_model=point.model,
            base_state=point.model_bytes,
            previous_record=point.previous_record,
            answers=fixed.answers,
            history=point.history,
            family=context.family,
            verify=bls.verify,
            verify_many=bls.verify_many,
            ref=blob_ref,
            late=fixed.late - fixed.answers.keys(),
            allow_seeded=context.allow_seeded,
        ),
        recorded=recorded,
    )
    digest = closed.record.digest()
    if before is not None:
        if before["digest"] != digest:
            raise JournalError(
                f"round {number} was signed as {before['digest']}, now it closes to {digest}",
                hint="resume on the machine and version that signed it; a second signature for "
                "the round would cost the bond",
            )
        return closed, SignedRoundRecord(record=closed.record, signature=before["signature"])
    signature = sign_round_record(context.account, context.position(number), digest)
    signed = SignedRoundRecord(record=closed.record, signature="0x" + signature.hex())
    context.journal.append(
        "signed",
        round=number,
        digest=digest,
        record=context.spool.put(closed.record.canonical()).cid,
        signature=signed.signature,
    )
    return closed, signed
