# SPDX-License-Identifier: Apache-2.0
"""How far off one answer may be: from the card's calibration, or from its plain half width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from dao.records import ModelCard, Target, Task
from valuation.difficulty import Difficulty
from valuation.encode import Encoded
from valuation.interval import ErrorModel
from valuation.process import PublicProcess
from valuation.schema import MICRO, Floats


@dataclass(frozen=True)
class Margin:
    """Ends of an interval on the standardised target; probability of being within 10 % and forecast
    standard deviation in 1e-6, None where nothing is known of them."""

    lower: float
    upper: float
    confidence_micro: int | None
    fsd_micro: int | None


class Margins(Protocol):
    """The margin of each answer."""

    def of(self, row: Encoded, prediction: Floats, estimate: Floats) -> Margin:
        """Of one encoded row, the model's prediction and the released estimate for it, both
        standardised, float64[1]."""


class CalibratedMargins:
    """By the errors that the calibration units showed."""

    def __init__(self, target: Target, errors: ErrorModel) -> None:
        self._target, self._errors = target, errors

    def of(self, row: Encoded, prediction: Floats, estimate: Floats) -> Margin:
        """See Margins."""
        widths = self._errors.widths(row, prediction)
        lower, upper = self._errors.interval(prediction, widths)
        about = (self._target, prediction, widths)
        close = self._errors.probability_within(*about, estimate=estimate)
        fsd = float(self._errors.fsd(*about, estimate=estimate)[0])
        return Margin(
            lower=float(lower[0]),
            upper=float(upper[0]),
            confidence_micro=round(float(close[0]) / MICRO),
            fsd_micro=round(fsd / MICRO) if math.isfinite(fsd) else None,
        )


class PlainMargins:
    """One half width for all rows, in spreads of the target."""

    def __init__(self, halfwidth: float) -> None:
        self._halfwidth = halfwidth

    def of(self, row: Encoded, prediction: Floats, estimate: Floats) -> Margin:
        """See Margins."""
        centre = float(estimate[0])
        return Margin(centre - self._halfwidth, centre + self._halfwidth, None, None)


def margins_of(task: Task, process: PublicProcess | None, card: ModelCard) -> Margins:
    """What a card says of a task's errors."""
    if task.calibration is None or card.calibrated is None:
        return PlainMargins(card.interval_halfwidth_micro / task.target.spread_micro)
    errors = ErrorModel(task.calibration, card.calibrated, Difficulty.of(process, task.target))
    return CalibratedMargins(task.target, errors)
