# SPDX-License-Identifier: Apache-2.0
"""What a task would pay: the scores and the settlement of the federation's own rounds, with
held-out rows in the place of opened sealed ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dao.cid import blob_ref
from dao.records import (
    Position,
    Receipt,
    ReceiptBody,
    RoundRecord,
    SeedBlock,
    StretchScores,
    Task,
)
from demo.forecast import TrainedRound, made_up_account
from rounds.own_parts import OwnParts
from rounds.phases import event_of
from rounds.score import score_stretch
from rounds.seeds import simulated_block
from rounds.settle import Settlement, settle
from rounds.step import Steps
from rounds.stretch import ScoredRound, Stretch
from valuation.family import Family, JudgeRows, Prepared

MOST_JUDGING_ROWS = 1_000
"""Sealed parts hold some hundred rows; scoring costs contributors times rows in every stretch."""
_CLASSES = 5
_NO_LEDGER = "0x" + "00" * 20


@dataclass(frozen=True)
class Payouts:
    """What each contributor would get, in the contributors' order.

    Attributes:
        units: int64[K], what each brought.
        scores_pico, standard_errors_pico, thresholds_pico, payouts_wei: of each; who does not pass
            its threshold is paid nothing. Errors are 0 where scores are exact.
    """

    units: NDArray[np.int64]
    scores_pico: tuple[int, ...]
    standard_errors_pico: tuple[int, ...]
    thresholds_pico: tuple[int, ...]
    payouts_wei: tuple[int, ...]
    budget_wei: int
    stake_wei: int

    @property
    def paid(self) -> int:
        """How many are paid anything."""
        return sum(payout > 0 for payout in self.payouts_wei)

    @property
    def total_wei(self) -> int:
        """The sum of all payouts; what is left of the budget is burned."""
        return sum(self.payouts_wei)


@dataclass(frozen=True)
class SizeClass:
    """Contributors of about one size: how many, their least and most units, how many are paid, and
    the mean payout of all of them in 1e-18 token (rounded down)."""

    contributors: int
    least_units: int
    most_units: int
    paid: int
    mean_payout_wei: int


class Scoring:
    """Scores a task's rounds as they are trained, one checkpoint's stretch after the other.

    `steps` are those that train it (`demo.forecast.surveyed_steps`). `block_of` supplies the block
    after each checkpoint, by index, which random draws follow from: there is no chain here, so it
    is a simulated one unless it is given.
    """

    def __init__(
        self,
        task: Task,
        family: Family,
        steps: Steps,
        *,
        contributors: int,
        judging: Prepared,
        block_of: Callable[[int], SeedBlock] | None = None,
    ) -> None:
        assert judging.residual is not None
        rows = slice(0, MOST_JUDGING_ROWS)
        self._rows = JudgeRows(
            inputs=judging.inputs[rows],
            offset=judging.offset[rows],
            residual=judging.residual[rows],
        )
        self._task, self._family, self._steps = task, family, steps
        self._block_of = block_of or partial(simulated_block, task)
        self._digest = task.digest()
        self._roster = tuple(made_up_account(place) for place in range(contributors))
        # Of a receipt scores read whose it is, and nothing else: one serves all rounds.
        self._receipts = tuple(self._receipt(account) for account in self._roster)
        self._own = OwnParts(task, family, steps, self._roster)
        self._stretch: list[ScoredRound] = []
        self._scored: list[StretchScores] = []

    def add(self, trained: TrainedRound) -> None:
        """The next training round. Ends a stretch where the federation commits a checkpoint."""
        length = self._task.terms.checkpoint_length
        if self._stretch:
            first = self._stretch[0].record.position.round
            if (first - 1) // length != (trained.number - 1) // length:
                self._score()
        record = RoundRecord(
            kind="covalue.round/1",
            position=self._position(trained.number),
            previous_record=self._digest,
            base_model=blob_ref(trained.base),
            receipts=self._receipts,
            exclusions=(),
            norm_clips=trained.norm_clips,
            judgements=(),
            judge_floor_pico=None,
            model=blob_ref(trained.model),
        )
        updates = dict(zip(self._roster, trained.updates, strict=True))
        self._stretch.append(
            ScoredRound(
                record=record, base_state=trained.base, model=trained.model, updates=updates
            )
        )

    def settle(self, units: NDArray[np.int64]) -> Payouts:
        """Money from all rounds added; `units` int64[K] is what each contributor brought."""
        if self._stretch:
            self._score()
        settled = self._settlement()
        return Payouts(
            units=units,
            scores_pico=tuple(each.score_pico for each in settled.results),
            standard_errors_pico=tuple(each.standard_error_pico for each in settled.results),
            payouts_wei=tuple(each.payout_wei for each in settled.results),
            thresholds_pico=tuple(each.threshold_pico for each in settled.results),
            budget_wei=self._task.terms.budget_wei,
            stake_wei=self._task.terms.stake_wei,
        )

    def _settlement(self) -> Settlement:
        # The records would only tell who was excluded and which rounds each answered: here nobody
        # is, and all answer all.
        return settle(
            self._task, task_id=1, roster=self._roster, records=(), stretches=self._scored
        )

    def _position(self, number: int) -> Position:
        return Position(
            chain_id=0, ledger=_NO_LEDGER, task_id=1, task_digest=self._digest, round=number
        )

    def _receipt(self, account: str) -> Receipt:
        """Unsigned: nobody signs a forecast."""
        nothing = blob_ref(b"")
        body = ReceiptBody(
            kind="covalue.receipt/1",
            position=self._position(1),
            contributor=account,
            base_model_sha256=nothing.sha256,
            update=nothing,
            event=event_of(self._task, 1, seeded=True),
        )
        return Receipt(body=body, signature="0x")

    def _score(self) -> None:
        rounds = tuple(self._stretch)
        own = self._own.of(rounds)
        stretch = Stretch(self._task, self._family, self._steps, self._roster, rounds, own)
        index = (rounds[0].record.position.round - 1) // self._task.terms.checkpoint_length
        self._scored.append(score_stretch(stretch, self._rows, self._block_of(index)))
        self._stretch = []


def told_draws(payouts: Payouts) -> str:
    """In words what the draws behind scores follow from, and how far they may be off."""
    told = (
        "Random draws behind scores follow from simulated blocks here; on chain, from the block "
        "after each checkpoint"
    )
    if any(payouts.standard_errors_pico):
        error = max(payouts.standard_errors_pico) / max(1, *map(abs, payouts.scores_pico))
        told += f". Scores are sampled: standard error at most {error:.2%} of the largest score"
    return told


def by_size(payouts: Payouts, *, classes: int = _CLASSES) -> tuple[SizeClass, ...]:
    """Contributors in at most `classes` classes of as many each, from the smallest up."""
    order = np.argsort(payouts.units, kind="stable")
    parts = np.array_split(order, min(classes, len(order)))
    return tuple(_size_class(payouts, part.tolist()) for part in parts)


def _size_class(payouts: Payouts, places: Sequence[int]) -> SizeClass:
    amounts = [payouts.payouts_wei[place] for place in places]
    units = payouts.units[list(places)]
    return SizeClass(
        contributors=len(places),
        least_units=int(units.min()),
        most_units=int(units.max()),
        paid=sum(amount > 0 for amount in amounts),
        mean_payout_wei=sum(amounts) // len(amounts),
    )
