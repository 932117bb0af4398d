# SPDX-License-Identifier: Apache-2.0
"""The ratio study of a model card: the field's figures over all rows, by region, by price band.

Everything that is hashed is here; `valuation.accepted` says what appraisers accept of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dao.errors import InputError
from dao.records import RatioStudy
from valuation import metrics
from valuation.ratio_errors import (
    cod_error,
    median_ratio_error,
    mki_error,
    prb_error,
    prd_error,
)
from valuation.schema import Bools, Floats, Ints

MIN_PRICES = 5
"""A group with fewer prices has no figures: they would say nothing of the estimates."""
PRICE_BANDS = 4
_LARGEST = 2**53 - 1

_FIGURES: dict[str, Callable[[Floats, Floats], float]] = {
    "median_ratio_micro": metrics.median_ratio,
    "cod_micro": metrics.cod,
    "prd_micro": metrics.prd,
    "prb_micro": metrics.prb,
    "mki_micro": metrics.mki,
    "fsd_micro": metrics.fsd,
    "ppe10_micro": metrics.ppe10,
    "mdape_micro": metrics.mdape,
    "median_ratio_error_micro": median_ratio_error,
    "cod_error_micro": cod_error,
    "prd_error_micro": prd_error,
    "prb_error_micro": prb_error,
    "mki_error_micro": mki_error,
}


@dataclass(frozen=True)
class RegionsOfRows:
    """Where rows lie.

    Attributes:
        region: int64[n], a row of `centres_micro`.
        centres_micro: latitude and longitude of each region's middle, in 1e-6 degrees.
    """

    region: Ints
    centres_micro: tuple[tuple[int, int], ...]


def ratio_studies(
    prices: Floats, estimates: Floats, regions: RegionsOfRows | None
) -> tuple[RatioStudy, ...]:
    """`all`, then every region, then the price bands.

    Bands are quartiles of the proxy value (`metrics.proxy_values`), not of the price: homes picked
    for a low price are those whose price happens to lie below what they are worth, so even perfect
    estimates would look too high in the lowest band of price and too low in the highest. No bands
    where there is no proxy.

    Args:
        prices, estimates: float64[n], the same currency; rows whose price is not above 0 count in
            R2 only, and in no band.
        regions: of the same rows; None without a location.

    Raises:
        InputError: no rows, or lengths differ.
    """
    if len(prices) == 0 or prices.shape != estimates.shape:
        raise InputError(f"{len(prices)} prices and {len(estimates)} estimates cannot be compared")
    found = [_study("all", prices, estimates)]
    if regions is not None:
        for number, (latitude, longitude) in enumerate(regions.centres_micro):
            rows = regions.region == number
            found.append(
                _study(
                    f"region {number + 1}",
                    prices[rows],
                    estimates[rows],
                    latitude_micro=latitude,
                    longitude_micro=longitude,
                )
            )
    return (*found, *_bands(prices, estimates))


def _bands(prices: Floats, estimates: Floats) -> list[RatioStudy]:
    positive = prices > 0.0
    prices, estimates = prices[positive], estimates[positive]
    proxy = metrics.proxy_values(prices, estimates) if len(prices) else None
    if proxy is None:
        return []
    edges = np.quantile(proxy, np.linspace(0.0, 1.0, PRICE_BANDS + 1))
    found = []
    for number in range(PRICE_BANDS):
        rows: Bools = proxy >= edges[number]
        if number < PRICE_BANDS - 1:
            rows &= proxy < edges[number + 1]
        found.append(
            _study(
                f"price band {number + 1}",
                prices[rows],
                estimates[rows],
                lower_micro=round(float(edges[number]) * 1e6),
                upper_micro=round(float(edges[number + 1]) * 1e6),
            )
        )
    return found


def _study(
    group: str,
    prices: Floats,
    estimates: Floats,
    *,
    latitude_micro: int | None = None,
    longitude_micro: int | None = None,
    lower_micro: int | None = None,
    upper_micro: int | None = None,
) -> RatioStudy:
    positive = prices > 0.0
    enough = int(positive.sum()) >= MIN_PRICES
    p, e = prices[positive], estimates[positive]
    figures = {name: to_micro(f(p, e)) if enough else None for name, f in _FIGURES.items()}
    return RatioStudy(
        group=group,
        rows=len(prices),
        latitude_micro=latitude_micro,
        longitude_micro=longitude_micro,
        lower_micro=lower_micro,
        upper_micro=upper_micro,
        r2_micro=to_micro(metrics.r2(prices, estimates)) if enough else None,
        **figures,
    )


def to_micro(value: float) -> int | None:
    """Nearest 1e-6, held within +-(2^53 - 1); None for what is not a number."""
    if math.isnan(value):
        return None
    return max(-_LARGEST, min(_LARGEST, round(max(-1e12, min(1e12, value)) * 1e6)))
