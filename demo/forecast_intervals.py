# SPDX-License-Identifier: Apache-2.0
"""The intervals that a task would give: its calibration round, and how the test rows judge it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dao.records import ModelCard
from demo.forecast import NoiseOf
from demo.forecast_build import BuiltTask
from privacy.noise import NoiseSource
from rounds.calibration_summary import CalibrationSummary
from rounds.contribution import contribution
from rounds.estimate import stretch_of
from rounds.phases import release_of
from rounds.state import decode_update, update_to_float
from valuation.difficulty import Difficulty
from valuation.encode import Encoded, target_to_value
from valuation.family import Prepared
from valuation.interval import ErrorModel
from valuation.private_rows import divide_rows
from valuation.schema import MICRO, Floats


@dataclass(frozen=True)
class IntervalsJudged:
    """What the test rows say of the intervals and confidences of a model.

    Attributes:
        level: share of prices that shall lie within. covered: share of the test rows' that do.
        width: median of (upper - lower) / estimate.
        confidence: mean probability of being within 10 %. close: share of test rows that are.
    """

    level: float
    covered: float
    width: float
    confidence: float
    close: float


def calibrate(
    built: BuiltTask, rows: Encoded, theta: Floats, noise_of: NoiseOf
) -> CalibrationSummary:
    """The calibration round on the rows kept out of training, those of all contributors at once:
    histograms add up, and so does their noise."""
    task, number = built.task, built.task.total_rounds
    release, count = release_of(task, number), built.setting.contributors
    divided = divide_rows(task, built.family, rows)
    noise = _Together([noise_of(place, number) for place in range(count)])
    update = contribution(task, built.family, divided, theta, number=number, noise=noise)
    return CalibrationSummary(
        counts=update_to_float(release, decode_update(release, update)),
        noise_variance=count * release.deviation**2,
    )


class _Together:
    """The sum of the noises of many."""

    seeded = True

    def __init__(self, sources: list[NoiseSource]) -> None:
        self._sources = sources

    def gaussian(self, n: int) -> Floats:
        total = np.zeros(n)
        for source in self._sources:
            total += source.gaussian(n)
        return total


def judge_intervals(
    built: BuiltTask, card: ModelCard, rows: Encoded, test: Prepared, theta: Floats
) -> IntervalsJudged | None:
    """Judge what a card promises; None where it rests on no calibration."""
    task, family = built.task, built.family
    if task.calibration is None or card.calibrated is None:
        return None
    assert rows.target is not None
    errors = ErrorModel(
        task.calibration, card.calibrated, Difficulty.of(family.process, task.target)
    )
    prediction = family.predict(test, theta)
    estimate = stretch_of(card.stretch_center_micro, card.stretch_slope_micro).apply(prediction)
    widths = errors.widths(rows, prediction)
    low, high = (target_to_value(task.target, end) for end in errors.interval(prediction, widths))
    prices, values = (target_to_value(task.target, each) for each in (rows.target, estimate))
    confidence = errors.probability_within(task.target, prediction, widths, estimate=estimate)
    return IntervalsJudged(
        level=card.interval_level_micro * MICRO,
        covered=float(((low <= prices) & (prices <= high)).mean()),
        width=float(np.median((high - low) / values)),
        confidence=float(confidence.mean()),
        close=float((np.abs(values / prices - 1.0) <= 0.1).mean()),
    )
