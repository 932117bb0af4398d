# SPDX-License-Identifier: Apache-2.0
"""The score report of a task: scores, payouts, shares and the model card, from published bytes.

The coordinator makes it, vaults and auditors check it with the same function. Scores and card
figures are floats put on a grid, so a check takes the recorded ones after finding them within the
tolerance; money follows exactly from the recorded scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dao.errors import InputError, ReplayMismatch
from dao.records import (
    BlobRef,
    ModelCard,
    OpenedPart,
    Position,
    ScoreReport,
    SeedBlock,
    StretchScores,
    Task,
)
from rounds.calibration_summary import CalibrationSummary
from rounds.card import CardInput, SealedRows, check_card, make_card
from rounds.own_parts import stretches_of
from rounds.rules import steps_of
from rounds.score import JudgedOn, judging_rows, score_stretch, surveys_of
from rounds.settle import check_scores, check_seeds, check_stretches, settle
from rounds.stretch import ScoredRound
from valuation.encode import encode
from valuation.family import Family, JudgeRows
from valuation.rows import check_frame, parse_csv


@dataclass(frozen=True)
class ReportInput:
    """All that a report follows from.

    Attributes:
        place: chain id, ledger, task id and task digest; its round is not read.
        roster: addresses in the order that the chain froze.
        stretches: the rounds of every checkpoint, with bytes.
        blocks: the block after each checkpoint, as the chain has it; for a check, as far as it is
            there (`dao.seed_blocks`).
        parts: the opened validation parts in order of index, and their bytes.
        model, state: the last round's model and its bytes.
    """

    task: Task
    place: Position
    roster: tuple[str, ...]
    family: Family
    stretches: tuple[tuple[ScoredRound, ...], ...]
    blocks: tuple[SeedBlock, ...]
    parts: tuple[tuple[OpenedPart, bytes], ...]
    model: BlobRef
    state: bytes


MAX_PART_BYTES = 1 << 23
"""Of a validation part. Its holder commits to a digest only; a part of any length could exhaust the
memory of everybody who recomputes the scores."""


def sealed_rows(task: Task, family: Family, parts: Sequence[bytes]) -> SealedRows | None:
    """Rows of the opened parts, in order; None where no row is left.

    A part that is no table of the task, or longer than MAX_PART_BYTES, counts as empty: its holder
    loses nothing but its say.
    """
    frames: list[pd.DataFrame] = []
    for data in parts:
        if len(data) > MAX_PART_BYTES:
            continue
        try:
            frame = parse_csv(data, name="part")
            frames.append(frame[check_frame(task, frame, with_target=True).accepted])
        except InputError:
            continue
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return None
    encoded = encode(task, pd.concat(frames, ignore_index=True), with_target=True)
    return SealedRows(encoded=encoded, prepared=family.prepare(encoded))


def make_report(given: ReportInput) -> ScoreReport:
    """Score every stretch, settle, and describe the model."""
    sealed, judged_on, rows = _judges(given)
    return _assemble(given, judged_on, _scores(given, rows), card=_card(given, sealed, rows))


def check_report(recorded: ScoreReport, given: ReportInput) -> None:
    """Recompute a report and compare; ReplayMismatch names the place that differs."""
    check_seeds(recorded, stretches=len(given.stretches), blocks=given.blocks)
    sealed, judged_on, rows = _judges(given)
    check_stretches(recorded, judged_on=judged_on, stretches=_scores(given, rows, recorded))
    expected = _assemble(
        given, judged_on, recorded.stretches, card=_card(given, sealed, rows, recorded.card)
    )
    check_scores(
        recorded,
        settlement=settle(
            given.task,
            task_id=given.place.task_id,
            roster=given.roster,
            records=[each.record for stretch in given.stretches for each in stretch],
            stretches=recorded.stretches,
        ),
    )
    check_card(recorded.card, expected.card)
    remade = expected.model_copy(update={"card": recorded.card, "results": recorded.results})
    for name in ScoreReport.model_fields:
        was, now = getattr(recorded, name), getattr(remade, name)
        if was != now:
            raise ReplayMismatch(
                place=f"score report, {name}", recorded=str(was), recomputed=str(now)
            )


def _judges(given: ReportInput) -> tuple[SealedRows | None, JudgedOn, JudgeRows | None]:
    sealed = sealed_rows(given.task, given.family, [data for _, data in given.parts])
    judged_on, rows = judging_rows(given.family, None if sealed is None else sealed.prepared)
    return sealed, judged_on, rows


def _scores(
    given: ReportInput, rows: JudgeRows | None, recorded: ScoreReport | None = None
) -> tuple[StretchScores, ...]:
    """Of every stretch; with a record, whom it dropped is dropped."""
    surveys = surveys_of(given.task, [each for stretch in given.stretches for each in stretch])
    steps = steps_of(given.task, given.family, given.roster, surveys)
    stretches = stretches_of(given.task, given.family, steps, given.roster, given.stretches)
    known = () if recorded is None else recorded.stretches
    return tuple(
        score_stretch(
            stretch,
            rows,
            given.blocks[index],
            dropped=known[index].dropped if index < len(known) else None,
            place=f"score report, stretches[{index}].",
        )
        for index, stretch in enumerate(stretches)
    )


def _assemble(
    given: ReportInput,
    judged_on: JudgedOn,
    stretches: tuple[StretchScores, ...],
    *,
    card: ModelCard,
) -> ScoreReport:
    settlement = settle(
        given.task,
        task_id=given.place.task_id,
        roster=given.roster,
        records=[each.record for stretch in given.stretches for each in stretch],
        stretches=stretches,
    )
    return ScoreReport(
        kind="covalue.scores/2",
        chain_id=given.place.chain_id,
        ledger=given.place.ledger,
        task_id=given.place.task_id,
        task_digest=given.place.task_digest,
        model=given.model,
        judged_on=judged_on,
        parts=tuple(part for part, _ in given.parts),
        stretches=stretches,
        results=settlement.results,
        payout_total_wei=settlement.payout_total_wei,
        payout_root=settlement.payout_root,
        share_root=settlement.share_root,
        card=card,
    )


def _summary(given: ReportInput) -> CalibrationSummary | None:
    """Of the last round, where it calibrates."""
    if given.task.calibration is None:
        return None
    last = given.stretches[-1][-1]
    counted = [last.updates[each.body.contributor] for each in last.record.receipts]
    return CalibrationSummary.of(given.task, counted)


def _card(
    given: ReportInput,
    sealed: SealedRows | None,
    rows: JudgeRows | None,
    recorded: ModelCard | None = None,
) -> ModelCard:
    return make_card(
        CardInput(
            task=given.task,
            task_digest=given.place.task_digest,
            contributors=len(given.roster),
            family=given.family,
            model=given.model,
            state=given.state,
            summary=_summary(given),
        ),
        sealed=sealed,
        rows=rows,
        recorded=recorded,
    )
