# SPDX-License-Identifier: Apache-2.0
"""Generous, round bounds around public values, and the scale on which a column is learned."""

from __future__ import annotations

import math

import numpy as np

from valuation.schema import Floats

_SKEW = 1.0
"""Positive columns with a sample skewness above this are learned on the log scale."""
_CAP_SHARE = 0.02
_LEAST_CAPPED = 5
"""Where the extreme value stands on so many rows, the data is cut off there."""
LEAST = 1e-6
"""Bounds are recorded in this unit."""


def wants_log(values: Floats) -> bool:
    """Positive, skewed to the right or spread over more than a factor of 20, and less skewed in
    logarithms."""
    if float(values.min()) < LEAST:
        return False
    skewed = skewness(values)
    wide = float(values.max() / values.min()) > 20.0
    return (skewed > _SKEW or wide) and abs(skewness(np.log(values))) < abs(skewed)


def skewness(values: Floats) -> float:
    """Third standardised moment of float64[n], at least one; 0 where all are equal."""
    deviation = float(values.std())
    if deviation == 0.0:
        return 0.0
    return float((((values - values.mean()) / deviation) ** 3).mean())


def generous_bounds(values: Floats, *, log: bool, keep_caps: bool = False) -> tuple[float, float]:
    """Round bounds around public values: half the range more on either side (on the log scale
    where asked), but no sign that the data does not have.

    With `keep_caps` an extreme value that stands on 2 % of the rows, and on at least five, is taken
    to be where the data was cut off, and is the bound.
    """
    low, high = float(values.min()), float(values.max())
    if log:
        margin = math.exp(0.5 * math.log(high / low)) if high > low else 2.0
        lower, upper = max(_round_down(low / margin), LEAST), _round_up(high * margin)
    else:
        margin = 0.5 * (high - low) if high > low else max(abs(high), 1.0)
        lower, upper = _round_down(low - margin), _round_up(high + margin)
        if low > 0 and lower <= 0:
            lower = _round_down(low / 10.0)
        elif low >= 0:
            lower = max(lower, 0.0)
    if keep_caps:
        capped = max(_CAP_SHARE * len(values), _LEAST_CAPPED)
        if int((values == low).sum()) >= capped and (low > 0 or not log):
            lower = low
        if int((values == high).sum()) >= capped:
            upper = high
    return lower, upper


def _round_down(value: float) -> float:
    """Two significant digits towards minus infinity, at least 1e-6 fine."""
    return _rounded(value, math.floor)


def _round_up(value: float) -> float:
    return _rounded(value, math.ceil)


def _rounded(value: float, direction: object) -> float:
    if value == 0.0:
        return 0.0
    digits = max(math.floor(math.log10(abs(value))) - 1, -6)
    unit = 10.0**digits
    cut = math.floor(value / unit) if direction is math.floor else math.ceil(value / unit)
    return round(cut * unit, max(-digits, 0))


def degree_bounds(values: Floats, limit: float) -> tuple[float, float]:
    """Half the range more on either side, at least .05 degrees, in tenths outwards."""
    low, high = float(values.min()), float(values.max())
    margin = max(0.5 * (high - low), 0.05)
    lower = math.floor((low - margin) * 10.0) / 10.0
    upper = math.ceil((high + margin) * 10.0) / 10.0
    return max(lower, -limit), min(upper, limit)
