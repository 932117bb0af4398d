# SPDX-License-Identifier: Apache-2.0
"""Prediction intervals by split conformal prediction (Vovk et al. 2005; Lei et al. 2018)."""

from __future__ import annotations

import math

import numpy as np

from dao.errors import InputError
from valuation.schema import Floats


def halfwidth(residuals: Floats, level: float) -> float:
    """Half width that covers a further exchangeable row with probability `level` or more.

    The ceil((n + 1) * level)-th smallest absolute residual, on the scale of the residuals; where
    n is too small for the level, the largest one (the promise then does not hold; n >= 1/(1 -
    level) - 1 is enough).

    Args:
        residuals: float64[n] of rows that took no part in training.
        level: between 0 and 1, such as 0.9.

    Raises:
        InputError: no residuals, or a level outside 0..1.
    """
    if len(residuals) == 0:
        raise InputError("an interval needs rows that took no part in training; got none")
    if not 0.0 < level < 1.0:
        raise InputError(f"interval level {level}, expected between 0 and 1")
    ordered = np.sort(np.abs(residuals))
    rank = min(math.ceil((len(ordered) + 1) * level), len(ordered))
    return float(ordered[rank - 1])


def coverage(residuals: Floats, half: float) -> float:
    """Share of residuals within the half width."""
    return float((np.abs(residuals) <= half).mean())
