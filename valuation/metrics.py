# SPDX-License-Identifier: Apache-2.0
"""How good estimates are, in price units, in the words of appraisers.

Ratio statistics follow the IAAO Standard on Ratio Studies (2013): ratio = estimate / price.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from dao.errors import InputError
from valuation.schema import Floats


@dataclass(frozen=True)
class Metrics:
    """Accuracy of estimates on `rows` rows.

    Attributes:
        r2: coefficient of determination; 0 where all prices are equal.
        mdape: median absolute percentage error, as a fraction.
        mape: mean absolute percentage error, as a fraction.
        median_ratio: median of estimate / price.
        cod: coefficient of dispersion, 100 * mean |ratio - median| / median.
        prd: price-related differential, mean ratio / (sum of estimates / sum of prices).
        ppe10: share of estimates within 10 % of the price.
    """

    rows: int
    r2: float
    mdape: float
    mape: float
    median_ratio: float
    cod: float
    prd: float
    ppe10: float

    def as_dict(self) -> dict[str, float]:
        """All figures by name."""
        return asdict(self)


def r2(prices: Floats, estimates: Floats) -> float:
    """1 - residual sum of squares / total sum of squares; 0 where all prices are equal."""
    total = float(((prices - prices.mean()) ** 2).sum())
    if total == 0.0:
        return 0.0
    return 1.0 - float(((prices - estimates) ** 2).sum()) / total


def absolute_errors(prices: Floats, estimates: Floats) -> Floats:
    """|estimate / price - 1|, a fraction, of each row."""
    return np.abs(estimates / prices - 1.0)


def mdape(prices: Floats, estimates: Floats) -> float:
    """Median absolute percentage error, as a fraction."""
    return float(np.median(absolute_errors(prices, estimates)))


def mape(prices: Floats, estimates: Floats) -> float:
    """Mean absolute percentage error, as a fraction."""
    return float(absolute_errors(prices, estimates).mean())


def median_ratio(prices: Floats, estimates: Floats) -> float:
    """Median of estimate / price; appraisers accept 0.90 to 1.10."""
    return float(np.median(estimates / prices))


def cod(prices: Floats, estimates: Floats) -> float:
    """Coefficient of dispersion, 100 * mean |ratio - median| / median; 5 to 15 for homes."""
    ratio = estimates / prices
    middle = float(np.median(ratio))
    return 100.0 * float(np.abs(ratio - middle).mean()) / middle


def prd(prices: Floats, estimates: Floats) -> float:
    """Price-related differential: mean ratio over the ratio of sums; 0.98 to 1.03."""
    return float((estimates / prices).mean()) / (float(estimates.sum()) / float(prices.sum()))


def ppe10(prices: Floats, estimates: Floats) -> float:
    """Share of estimates within 10 % of the price."""
    return float((absolute_errors(prices, estimates) <= 0.10).mean())


def measure(prices: Floats, estimates: Floats) -> Metrics:
    """All metrics of estimates against prices (float64[n], the same currency, prices above 0).

    Rows whose price is 0 or less have no ratio: they count in R2 only, and the ratio statistics
    are NaN where no row is left.

    Raises:
        InputError: no rows, or lengths differ.
    """
    if len(prices) == 0 or prices.shape != estimates.shape:
        raise InputError(f"{len(prices)} prices and {len(estimates)} estimates cannot be compared")
    positive = prices > 0
    p, e = prices[positive], estimates[positive]
    statistics = (mdape, mape, median_ratio, cod, prd, ppe10)
    values = {f.__name__: f(p, e) if len(p) else float("nan") for f in statistics}
    return Metrics(rows=len(prices), r2=r2(prices, estimates), **values)
