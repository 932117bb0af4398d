# SPDX-License-Identifier: Apache-2.0
"""What a task would give at several settings, on the same rows: prepare, train, judge, pay."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dao.cid import blob_ref
from dao.records import ModelCard, Task
from demo.forecast import forecast_noise, judge, surveyed_steps, train_rounds
from demo.forecast_build import BuiltTask
from demo.forecast_intervals import IntervalsJudged, calibrate, judge_intervals
from demo.forecast_payouts import Payouts, Scoring
from demo.forecast_rows import Division, divide, hold_out
from demo.forecast_settings import Setting, remarks
from rounds.calibration_summary import CalibrationSummary
from rounds.card import CardInput, SealedRows, make_card
from rounds.estimate import released_stretch, stretch_of
from rounds.state import theta_of
from valuation.encode import Encoded
from valuation.family import Family, Prepared
from valuation.holdout import calibrates
from valuation.metrics import Metrics
from valuation.private_rows import PrivateRows, survey_cells
from valuation.schema import Ints

OnRound = Callable[[int], object]
"""Told the number of each round that was trained."""

_PROBES = 64


@dataclass(frozen=True)
class Outcome:
    """What a task would give at one setting.

    Attributes:
        before: on the test rows, of the model that training starts from. after: of the trained one.
        card: the model card to which the test rows would lead as opened sealed rows.
        intervals: None for a task without a calibration.
        curve: R2 on the test rows before training and after each training round.
        payouts: None where nobody asked for them.
        model_sha256: of the final model state's bytes.
    """

    setting: Setting
    task: Task
    before: Metrics
    after: Metrics
    card: ModelCard
    intervals: IntervalsJudged | None
    curve: tuple[float, ...]
    payouts: Payouts | None
    trained_rows: int
    calibrated_rows: int
    remarks: tuple[str, ...]
    model_sha256: str

    @property
    def start(self) -> str:
        """In words what the model knows that training starts from."""
        return "before training" if self.task.public_rows is None else "public rows only"


class PreparedRows:
    """Rows as model families read them, prepared once for all settings where that is the same.

    The kernel family's features at one setting are the first ones of those at another that plans
    for less noise. Whether they are is tried on a few rows, to the ninth digit.
    """

    def __init__(self, rows: Encoded, *, keep: bool) -> None:
        self._rows = rows
        self._keep = keep
        self._kept: Prepared | None = None

    def of(self, family: Family, rows: Ints) -> Prepared:
        """These rows, in this order, as `family` reads them."""
        if not self._keep:
            return family.prepare(self._rows.take(rows))
        probes = np.linspace(0, len(self._rows.units) - 1, _PROBES).astype(np.int64)
        probed = family.prepare(self._rows.take(probes))
        width = probed.inputs.shape[1]
        if self._kept is None or not _agree(self._kept, probes, probed):
            self._kept = family.prepare(self._rows)
        kept = self._kept
        return Prepared(
            inputs=np.ascontiguousarray(kept.inputs[rows, :width]),
            offset=kept.offset[rows],
            residual=None if kept.residual is None else kept.residual[rows],
            units=kept.units[rows],
        )


def _agree(kept: Prepared, probes: Ints, probed: Prepared) -> bool:
    width = probed.inputs.shape[1]
    return (
        width <= kept.inputs.shape[1]
        and np.allclose(kept.inputs[probes, :width], probed.inputs, rtol=1e-9, atol=1e-12)
        and np.allclose(kept.offset[probes], probed.offset, rtol=1e-9, atol=1e-12)
    )


class Trial:
    """The rows at hand, divided once into those that train and those that test."""

    def __init__(self, rows: Encoded, *, seed: int, division: Division, settings: int) -> None:
        self._train, self._test = hold_out(rows, seed=seed)
        self._prepared_train = PreparedRows(self._train, keep=settings > 1)
        self._prepared_test = PreparedRows(self._test, keep=settings > 1)
        self._division, self._seed = division, seed

    def outcome(
        self, built: BuiltTask, *, payouts: bool, on_round: OnRound = lambda number: None
    ) -> Outcome:
        """Train a task on the rows, divided among its contributors, and judge what comes of it.

        Raises:
            InputError: fewer units than contributors.
        """
        task, family, count = built.task, built.family, built.setting.contributors
        owner = divide(self._train, count, self._division, seed=self._seed)
        kept_out = calibrates(task, self._train.unit_keys)
        contributors = self._contributors(built, owner, np.flatnonzero(~kept_out))
        test = self._prepared_test.of(family, np.arange(len(self._test.units)))
        noise_of = forecast_noise(self._seed, task_digest=task.digest())
        steps = surveyed_steps(task, family, contributors, noise_of)
        scoring = None
        if payouts:
            scoring = Scoring(task, family, steps, contributors=count, judging=test)
        before = _judged(built, built.initial, test)
        state, curve = built.initial, [before.r2]
        rounds = train_rounds(task, family, built.initial, contributors, noise_of, steps=steps)
        for each in rounds:
            state = each.model
            curve.append(_judged(built, state, test).r2)
            if scoring is not None:
                scoring.add(each)
            on_round(each.number)
        summary = None
        if task.calibration is not None:
            rows = self._train.take(np.flatnonzero(kept_out))
            summary = calibrate(built, rows, theta_of(task, state), noise_of)
        card = self._card(built, state, test, summary)
        stretch = stretch_of(card.stretch_center_micro, card.stretch_slope_micro)
        units = _units_of(self._train, owner, count)
        after = judge(task, family, theta_of(task, state), test, stretch=stretch)
        return Outcome(
            setting=built.setting,
            task=task,
            before=before,
            after=after,
            card=card,
            intervals=judge_intervals(built, card, self._test, test, theta_of(task, state)),
            curve=tuple(curve),
            payouts=None if scoring is None else scoring.settle(units),
            trained_rows=sum(len(rows.training.units) for rows in contributors),
            calibrated_rows=int(kept_out.sum()),
            remarks=remarks(task, built.setting, units=int(units.sum()), gain=after.r2 - before.r2),
            model_sha256=hashlib.sha256(state).hexdigest(),
        )

    def _contributors(self, built: BuiltTask, owner: Ints, rows: Ints) -> list[PrivateRows]:
        """What each one trains on, in file order; `owner` of all rows, `rows` that train."""
        order = rows[np.argsort(owner[rows], kind="stable")]
        prepared = self._prepared_train.of(built.family, order)
        cells = survey_cells(built.task, built.family, self._train.take(order))
        ends = np.cumsum(np.bincount(owner[rows], minlength=built.setting.contributors))
        parts = [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        return [
            PrivateRows(
                training=_part(prepared, part),
                survey=None if cells is None else cells[part],
                calibration=None,
            )
            for part in parts
        ]

    def _card(
        self, built: BuiltTask, state: bytes, test: Prepared, summary: CalibrationSummary | None
    ) -> ModelCard:
        given = CardInput(
            task=built.task,
            task_digest=built.task.digest(),
            contributors=built.setting.contributors,
            family=built.family,
            model=blob_ref(state),
            state=state,
            summary=summary,
        )
        return make_card(given, sealed=SealedRows(encoded=self._test, prepared=test), rows=None)


def _units_of(rows: Encoded, owner: Ints, contributors: int) -> Ints:
    """int64[K]: how many units each contributor has."""
    _, first = np.unique(rows.units, return_index=True)
    return np.bincount(owner[first], minlength=contributors)


def _part(prepared: Prepared, rows: slice) -> Prepared:
    """A view of consecutive rows."""
    return Prepared(
        inputs=prepared.inputs[rows],
        offset=prepared.offset[rows],
        residual=None if prepared.residual is None else prepared.residual[rows],
        units=prepared.units[rows],
    )


def _judged(built: BuiltTask, state: bytes, test: Prepared) -> Metrics:
    theta = theta_of(built.task, state)
    stretch = released_stretch(built.task, built.family, theta, None)
    return judge(built.task, built.family, theta, test, stretch=stretch)
