# SPDX-License-Identifier: Apache-2.0
"""Undoing the regression to the mean of estimates, at the least cost in accuracy.

The best estimates of what homes sell for vary less than prices do, by what no column tells: cheap
homes are estimated too high and dear ones too low, and PRD, PRB and MKI show it. A stretch of the
estimates about their middle undoes that. It costs squared error only in the second order of
slope - 1, while PRD and PRB gain in the first.

How far to stretch follows from two variances: of the estimates, which the public rows tell, and of
the errors. No price is looked at twice: with errors that are uncorrelated with the estimates, and
logarithms a of estimates and b of prices,

    log PRD = var b - cov(a, b)        PRB = log 2 * 2 (var a - var b) / var(a + b)

exactly so for log-normal ones. The slope is the least that brings both to their goals, and never
more than makes the estimates vary as much as the prices: there PRB is 0, and beyond it estimates
would be progressive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dao.errors import InputError
from dao.records import Target
from valuation.encode import target_to_value
from valuation.schema import Floats

PRD_GOAL = 1.02
"""Appraisers accept .98 to 1.03; the rest is for errors that are not log-normal."""
PRB_GOAL = -0.03
"""Appraisers accept -.05 to .05."""
MAX_SLOPE = 1.15
"""Public rows that differ from the market may ask for anything."""
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


def fit_stretch(target: Target, estimates: Floats, error_std: Floats) -> Stretch:
    """The stretch that a market needs; `UNSTRETCHED` where the goals are met without, where all
    estimates are equal, or where values may be 0 or less, so that ratios mean nothing.

    Smooth in its arguments: two processors agree to the last recorded digit.

    Args:
        target: how values follow from the standardised scale.
        estimates: float64[n], standardised, of rows that are like the market's.
        error_std: float64[n], standard deviation of target minus estimate for each of them.

    Raises:
        InputError: lengths differ, or a deviation is below 0 or not finite.
    """
    if estimates.shape != error_std.shape:
        raise InputError(f"{len(estimates)} estimates, {len(error_std)} deviations of their errors")
    if not (np.isfinite(error_std).all() and (error_std >= 0.0).all()):
        raise InputError("deviations of errors, expected finite numbers of 0 or more")
    spread = float(estimates.var()) if len(estimates) else 0.0
    if spread == 0.0 or target.lower_micro <= 0:
        return UNSTRETCHED
    center = float(np.median(estimates))
    logs = _log_values(target, estimates)
    # the chord, not the tangent: it stays within the target's bounds
    of_errors = _log_values(target, estimates + error_std) - _log_values(
        target, estimates - error_std
    )
    of_prices = float(logs.var()) + float((of_errors**2).mean()) / 4.0

    def falls_short(slope: float) -> bool:
        stretched = _log_values(target, Stretch(center, slope).apply(estimates))
        shared = float(((stretched - stretched.mean()) * (logs - logs.mean())).mean())
        of_estimates = float(stretched.var())
        of_sum = of_estimates + of_prices + 2.0 * shared
        prb = math.log(2.0) * 2.0 * (of_estimates - of_prices) / of_sum
        return of_prices - shared > math.log(PRD_GOAL) or prb < PRB_GOAL

    if of_prices == 0.0 or not falls_short(1.0):  # 0: all beyond one of the task's bounds
        return UNSTRETCHED
    unexplained = float((error_std**2).mean())
    low, high = 1.0, min(math.sqrt(1.0 + unexplained / spread), MAX_SLOPE)
    if falls_short(high):
        return Stretch(center, high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if falls_short(middle) else (low, middle)
    return Stretch(center, high)


def _log_values(target: Target, z: Floats) -> Floats:
    values: Floats = np.log(target_to_value(target, z))
    return values
