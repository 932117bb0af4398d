# SPDX-License-Identifier: Apache-2.0
"""Large-sample standard errors of the ratio statistics, in closed form.

A bootstrap would need random draws that every auditor repeats; these need none. Each is the
standard deviation of the statistic's influence function over the square root of n, but for the
median, which has no density here to lean on. Prices and estimates as in `valuation.metrics`; NaN
wherever the statistic is.
"""

from __future__ import annotations

import math

import numpy as np

from valuation.metrics import cod, concentration, doublings, mki, prd
from valuation.schema import Floats

NORMAL_95 = 1.959964
"""97.5 % quantile of the normal distribution."""


def median_ratio_error(prices: Floats, estimates: Floats) -> float:
    """Of the median of estimate / price: half the distance of the order statistics that bound it at
    95 %, over 1.96 (Price and Bonett 2001; the IAAO's interval is between the same two)."""
    ratio = np.sort(estimates / prices)
    count = len(ratio)
    lower = max(math.floor((count + 1) / 2.0 - NORMAL_95 * math.sqrt(count) / 2.0), 1)
    return float(ratio[count - lower] - ratio[lower - 1]) / (2.0 * NORMAL_95)


def cod_error(prices: Floats, estimates: Floats) -> float:
    """Of the COD, in per cent as it is (Bonett and Seier 2006): the variance of log COD is that of
    the log of the mean deviation, plus that of the log of the median, minus twice their
    covariance."""
    ratio = estimates / prices
    middle = float(np.median(ratio))
    deviation = float(np.abs(ratio - middle).mean())
    if middle <= 0.0:
        return math.nan
    if deviation == 0.0:
        return 0.0
    count = len(ratio)
    skew = (float(ratio.mean()) - middle) / deviation
    spread = float(((ratio - ratio.mean()) ** 2).sum()) / (count - 1) / deviation**2
    of_deviation = max(spread + skew**2 - 1.0, 0.0) / count
    of_median = (median_ratio_error(prices, estimates) / middle) ** 2
    covariance = skew * math.sqrt(of_median / count)
    variance = max(of_deviation + of_median - 2.0 * covariance, 0.0)
    return cod(prices, estimates) * math.sqrt(variance)


def prd_error(prices: Floats, estimates: Floats) -> float:
    """Of the PRD: delta method on its three means."""
    value = prd(prices, estimates)
    ratio = estimates / prices
    if math.isnan(value) or float(ratio.mean()) == 0.0:
        return math.nan
    relative = (
        ratio / float(ratio.mean())
        + prices / float(prices.mean())
        - estimates / float(estimates.mean())
    )
    return abs(value) * _of_mean(relative)


def prb_error(prices: Floats, estimates: Floats) -> float:
    """Of the PRB: that of a slope by ordinary least squares, n - 2 degrees of freedom, as
    appraisers give it. The median ratio counts as known."""
    doubled = doublings(prices, estimates)
    count = len(prices)
    if doubled is None or count < 3:
        return math.nan
    ratio = estimates / prices
    middle = float(np.median(ratio))
    y = (ratio - middle) / middle
    x = doubled - doubled.mean()
    squares = float((x**2).sum())
    slope = float((x * y).sum()) / squares
    residual = y - y.mean() - slope * x
    return math.sqrt(float((residual**2).sum()) / (count - 2) / squares)


def mki_error(prices: Floats, estimates: Floats) -> float:
    """Of the MKI: delta method on its two concentration indices, ranks included."""
    value = mki(prices, estimates)
    if math.isnan(value):
        return math.nan
    gini = concentration(prices, prices)
    of_estimates = _concentration_influence(estimates, prices)
    of_prices = _concentration_influence(prices, prices)
    return _of_mean((of_estimates - value * of_prices) / gini)


def _concentration_influence(values: Floats, order: Floats) -> Floats:
    """With C = 2 A / mean - 1 and A = E[v F(order)]: a row moves A by v F, and by the values that
    stand above it, whose ranks it lifts. Rows in the order of `order`."""
    ranked = values[np.argsort(order, kind="stable")]
    count = len(values)
    rank = np.arange(1, count + 1) / count
    mean = float(ranked.mean())
    a = float((ranked * rank).mean())
    above = (float(ranked.sum()) - np.cumsum(ranked)) / count
    return 2.0 * (ranked * rank + above - 2.0 * a) / mean - 2.0 * a * (ranked - mean) / mean**2


def _of_mean(influence: Floats) -> float:
    """Standard error of a mean of these."""
    return float(influence.std(ddof=1)) / math.sqrt(len(influence))
