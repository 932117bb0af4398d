# SPDX-License-Identifier: Apache-2.0
"""Whether the public rows bear out that a column of many words says something of the price.

Each value of a category is a feature of its own, with noise of its own. A port with 500 names that
does not matter cost a drafted task 3 points of median error (500 public rows, 2,000 private ones,
epsilon 8). So a category of MANY or more values is drafted only where the prices, less what numbers
and places tell of them, differ between its values more than chance would have it. Ranks decide, by
Kruskal and Wallis (1952): prices have heavy tails.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from valuation.columns import parse_numbers
from valuation.schema import Floats

MANY = 12
"""Fewer values cost little, and some hundred rows may leave them in doubt though they matter."""
CHANCE = 0.1
"""Probability above which differences are taken for chance. Where values do matter, some hundred
rows leave no doubt."""
_RIDGE = 1e-2


def says_nothing(
    frame: pd.DataFrame, column: str, values: tuple[str, ...], *, target: str, numbers: list[str]
) -> bool:
    """True where a category's values (all others are one more) differ in price no more than chance.

    Args:
        numbers: columns whose numbers are taken out of the price first.
    """
    if len(values) < MANY:
        return False
    prices = parse_numbers(frame[target].tolist())[0]
    known = np.isfinite(prices) & (prices > 0)
    left = _residual(frame[known], np.log(prices[known]), numbers)
    words = frame.loc[known, column].str.strip().to_numpy()
    groups = [left[words == value] for value in values]
    groups.append(left[~np.isin(words, values)])
    filled = [group for group in groups if len(group)]
    if len(filled) < 2 or np.ptp(left) == 0.0:
        return False
    return float(stats.kruskal(*filled).pvalue) > CHANCE


def _residual(frame: pd.DataFrame, target: Floats, numbers: list[str]) -> Floats:
    """float64[n]: what a ridge regression on numbers, their squares and their gaps leaves."""
    columns = [np.ones(len(frame))]
    for name in numbers:
        values = parse_numbers(frame[name].tolist())[0]
        missing = ~np.isfinite(values)
        ranks = stats.rankdata(np.where(missing, np.nanmedian(values), values)) / len(values) - 0.5
        columns += [ranks, ranks * ranks, missing.astype(np.float64)]
    design = np.stack(columns, axis=1)
    gram = design.T @ design + _RIDGE * len(frame) * np.eye(design.shape[1])
    found: Floats = target - design @ np.linalg.solve(gram, design.T @ target)
    return found
