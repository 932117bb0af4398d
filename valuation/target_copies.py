# SPDX-License-Identifier: Apache-2.0
"""Features that are the target itself in another unit: found so that a draft can say so."""

from __future__ import annotations

import numpy as np
import pandas as pd

from valuation.columns import parse_numbers

_ROUNDED = 1e-3
"""Relative: a price in thousands may have been rounded."""
_LEAST_ROWS = 3


def target_copy_remark(frame: pd.DataFrame, column: str, target: str, *, share: float) -> str:
    """What to know of a number column that is the target times one number, on at least `share` of
    the rows that fill both; empty where it is not."""
    prices, _ = parse_numbers(frame[target].tolist())
    values, _ = parse_numbers(frame[column].tolist())
    both = np.isfinite(prices) & np.isfinite(values)
    prices, values = prices[both], values[both]
    # where both are 0 any factor fits
    informative = (prices != 0) | (values != 0)
    prices, values = prices[informative], values[informative]
    if len(prices) < _LEAST_ROWS or len(np.unique(prices)) < 2:
        return ""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = float(np.median(values / prices))
        close = np.abs(values - factor * prices) <= _ROUNDED * np.abs(values)
    if not np.isfinite(factor) or factor == 0.0 or float(close.mean()) < share:
        return ""
    told = "equals" if abs(factor - 1.0) <= _ROUNDED else f"is {factor:.4g} times"
    return (
        f"{column!r} {told} the target {target!r}: with it the model learns nothing else, and who "
        "asks for a value does not know it; take this feature out unless it is known before a sale"
    )
