# SPDX-License-Identifier: Apache-2.0
"""How good estimates are, in price units, in the words of appraisers.

Level and uniformity follow the IAAO Standard on Ratio Studies (2013), ratio = estimate / price;
the modified Kakwani index Quintos (2020). Prices and estimates are float64[n] of one currency and
prices are above 0. A figure that has no meaning for the rows at hand is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from dao.errors import InputError
from valuation.schema import Floats

AS_GOOD = 0.01
"""Two models whose R2 lie within this are as good (docs/accuracy.md)."""


@dataclass(frozen=True)
class Metrics:
    """Accuracy of estimates on `rows` rows; the functions of this module say what each figure is.

    Fractions are fractions (0.1, not 10), but for the COD, which is in per cent by custom.
    """

    rows: int
    r2: float
    mdape: float
    mape: float
    median_ratio: float
    cod: float
    prd: float
    prb: float
    mki: float
    fsd: float
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
    """Median of estimate / price: the level of the estimates."""
    return float(np.median(estimates / prices))


def cod(prices: Floats, estimates: Floats) -> float:
    """Coefficient of dispersion, 100 * mean |ratio - median| / median: horizontal equity. NaN where
    the median ratio is not above 0."""
    ratio = estimates / prices
    middle = float(np.median(ratio))
    if middle <= 0.0:
        return math.nan
    return 100.0 * float(np.abs(ratio - middle).mean()) / middle


def prd(prices: Floats, estimates: Floats) -> float:
    """Price-related differential, mean ratio / (sum of estimates / sum of prices): above 1 where
    dear homes are estimated lower than cheap ones (regressive). NaN where the estimates' sum is not
    above 0."""
    total = float(estimates.sum())
    if total <= 0.0:
        return math.nan
    return float((estimates / prices).mean()) / (total / float(prices.sum()))


def doublings(prices: Floats, estimates: Floats) -> Floats | None:
    """log2 of a row's proxy value, the mean of price and estimate / median ratio: on it the PRB
    regresses. None where there is no such proxy (see `proxy_values`) or all are equal."""
    proxy = proxy_values(prices, estimates)
    if proxy is None or not (proxy > 0.0).all() or proxy.min() == proxy.max():
        return None
    return np.log2(proxy)


def proxy_values(prices: Floats, estimates: Floats) -> Floats | None:
    """float64[n]: (price + estimate / median ratio) / 2, what a home may be worth; None where the
    median ratio is not above 0.

    Price and estimate both err. To order homes by either makes the other look regressive or
    progressive; the errors of their mean cancel to first order.
    """
    middle = float(np.median(estimates / prices))
    if middle <= 0.0:
        return None
    return (estimates / middle + prices) / 2.0


def prb(prices: Floats, estimates: Floats) -> float:
    """Coefficient of price-related bias: slope of (ratio - median) / median on `doublings`, by
    least squares: by how much ratios change when values double. NaN where `doublings` is None."""
    doubled = doublings(prices, estimates)
    if doubled is None:
        return math.nan
    ratio = estimates / prices
    middle = float(np.median(ratio))
    deviation = doubled - doubled.mean()
    return float((deviation * (ratio - middle)).sum()) / middle / float((deviation**2).sum())


def concentration(values: Floats, order: Floats) -> float:
    """2 sum_i i v_i / (n sum v) - (n + 1) / n over the values sorted by `order`, ties as they
    stand: the Gini coefficient where `order` is `values`."""
    ranked = values[np.argsort(order, kind="stable")]
    count = len(values)
    weighted = float((ranked * np.arange(1, count + 1)).sum())
    return (2.0 * weighted / float(ranked.sum()) - (count + 1)) / count


def mki(prices: Floats, estimates: Floats) -> float:
    """Modified Kakwani index: concentration of the estimates by price / Gini of the prices; below 1
    where estimates are regressive. NaN where all prices are equal or the estimates' sum is not
    above 0."""
    if prices.min() == prices.max() or float(estimates.sum()) <= 0.0:
        return math.nan
    return concentration(estimates, prices) / concentration(prices, prices)


def fsd(prices: Floats, estimates: Floats) -> float:
    """Forecast standard deviation: that of the percentage error, as a fraction, around its mean."""
    return float((estimates / prices).std())


def ppe10(prices: Floats, estimates: Floats) -> float:
    """Share of estimates within 10 % of the price."""
    return float((absolute_errors(prices, estimates) <= 0.10).mean())


_RATIO_STATISTICS: tuple[Callable[[Floats, Floats], float], ...] = (
    mdape,
    mape,
    median_ratio,
    cod,
    prd,
    prb,
    mki,
    fsd,
    ppe10,
)


def measure(prices: Floats, estimates: Floats) -> Metrics:
    """All metrics of estimates against prices (float64[n], the same currency).

    Rows whose price is 0 or less have no ratio: they count in R2 only, and the ratio statistics
    are NaN where no row is left.

    Raises:
        InputError: no rows, or lengths differ.
    """
    if len(prices) == 0 or prices.shape != estimates.shape:
        raise InputError(f"{len(prices)} prices and {len(estimates)} estimates cannot be compared")
    positive = prices > 0
    p, e = prices[positive], estimates[positive]
    values = {f.__name__: f(p, e) if len(p) else math.nan for f in _RATIO_STATISTICS}
    return Metrics(rows=len(prices), r2=r2(prices, estimates), **values)
