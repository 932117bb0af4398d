# SPDX-License-Identifier: Apache-2.0
"""Undoing the regression to the mean of estimates, at the least cost in accuracy.

The best estimates of what homes sell for vary less than prices do, by what no column tells: cheap
homes are estimated too high and dear ones too low, and PRD, PRB and MKI show it. A stretch of the
estimates about their middle undoes that. It costs squared error only in the second order of
slope - 1, while PRD and PRB gain in the first.

The slope is the least one that brings PRD and PRB to their goals on rows that may be used for it
(the public rows that judge), and never more than makes the estimates vary as much as the prices: at
that slope the PRB of log-normal estimates is 0, and beyond it they would be progressive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dao.errors import InputError
from dao.records import Target
from valuation.encode import target_to_value
from valuation.metrics import prb, prd
from valuation.schema import Floats

PRD_GOAL = 1.02
"""Appraisers accept .98 to 1.03; the rest is for the error of few rows."""
PRB_GOAL = -0.03
"""Appraisers accept -.05 to .05."""
MIN_ROWS = 50
"""Fewer rows do not tell a slope, and estimates stay as they are."""
MAX_SLOPE = 1.25
_HALVINGS = 40


@dataclass(frozen=True)
class Stretch:
    """z -> center + slope * (z - center), on the target's standardised scale."""

    center: float
    slope: float

    def apply(self, estimates: Floats) -> Floats:
        """Stretched estimates, float64[n]."""
        return self.center + self.slope * (estimates - self.center)


UNSTRETCHED = Stretch(center=0.0, slope=1.0)


def fit_stretch(target: Target, outcomes: Floats, estimates: Floats) -> Stretch:
    """The stretch that rows with known outcomes ask for; `UNSTRETCHED` where they are fewer than
    MIN_ROWS, where all estimates are equal, or where the goals are met without.

    Args:
        target: how values follow from the standardised scale.
        outcomes, estimates: float64[n], standardised, of rows that took no part in training.

    Raises:
        InputError: lengths differ.
    """
    if outcomes.shape != estimates.shape:
        raise InputError(
            f"{len(outcomes)} outcomes and {len(estimates)} estimates cannot be compared"
        )
    spread = float(estimates.var()) if len(estimates) >= MIN_ROWS else 0.0
    if spread == 0.0:
        return UNSTRETCHED
    center = float(np.median(estimates))
    prices = target_to_value(target, outcomes)
    sold = prices > 0.0

    def falls_short(slope: float) -> bool:
        values = target_to_value(target, Stretch(center, slope).apply(estimates))[sold]
        # a figure that is not defined asks for nothing
        return prd(prices[sold], values) > PRD_GOAL or prb(prices[sold], values) < PRB_GOAL

    if not sold.any() or not falls_short(1.0):
        return UNSTRETCHED
    unexplained = float(((outcomes - estimates) ** 2).mean())
    low, high = 1.0, min(math.sqrt(1.0 + unexplained / spread), MAX_SLOPE)
    if falls_short(high):
        return Stretch(center, high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if falls_short(middle) else (low, middle)
    return Stretch(center, high)
