# SPDX-License-Identifier: Apache-2.0
"""A hedonic housing market, made from nothing but a seed.

Prices follow the textbook form (Rosen 1974): the logarithm of a sale price is a sum of what
size, age, quality and type are worth, of a location value and of a date trend, plus what no
column tells. The location value is a smooth surface (a few long waves), hot spots (centres that
fade with distance) and a coast that pays up to some kilometres. Size counts more where land is
dear, so a linear model explains about 70 % of the variance of the log price where 90 % can be
explained (tests/unit/demo/test_market.py measures both).

Nothing here is private: the generator serves the demo and the tests where no real rows are at
hand.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dao.errors import InputError

Floats = NDArray[np.float64]

TARGET = "sale_price"
"""The column to learn: sale price in EUR, rounded to 100."""

SOUTH, NORTH, WEST, EAST = 47.0, 49.0, 8.0, 11.0
"""Bounds of the region in degrees (WGS 84)."""
FIRST_SALE = date(2019, 1, 1)
SALE_DAYS = 6 * 365
NOISE_STD = 0.16
"""Standard deviation of the log price that no column explains."""
HEAVY_TAIL_SHARE = 0.02
"""Share of sales among relatives, ruins and jewels where `heavy_tail` is on."""

# name, weight among all sales, worth on the log scale
_TYPES: tuple[tuple[str, float, float], ...] = (
    ("apartment", 0.34, 0.00),
    ("detached", 0.24, 0.12),
    ("terraced", 0.18, 0.04),
    ("semi-detached", 0.12, 0.08),
    ("studio", 0.08, -0.06),
    ("penthouse", 0.04, 0.28),
)


def generate_market(
    rows: int,
    seed: int,
    *,
    categories: int = 6,
    missing: float = 0.0,
    location: bool = True,
    heavy_tail: bool = False,
) -> pd.DataFrame:
    """Sales of a made-up region; the same arguments give the same rows.

    Columns: `latitude`, `longitude` (degrees; absent without `location`), `living_area_m2`,
    `plot_area_m2` (0 for flats), `rooms`, `building_age_years`,
    `quality` (1 to 5), `property_type` (one of `categories` values), `sale_date`
    (YYYY-MM-DD) and `sale_price` (EUR).

    `missing` is the share of plot areas and qualities left empty (NaN). With `heavy_tail` one
    sale in fifty is off the market by a factor of up to about four. Raises InputError where
    rows < 1, categories < 1 or missing is outside [0, 1).
    """
    _check(rows, categories, missing)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x4845444F]))
    latitude, longitude = _places(rng, rows)
    names, weights, worth = _property_types(categories)
    kind = rng.choice(len(names), size=rows, p=weights)

    area = np.exp(rng.normal(4.62, 0.36, rows) + 0.5 * worth[kind]).clip(18, 600)
    plot = np.where(worth[kind] > 0.02, area * rng.gamma(4.0, 1.1, rows), 0.0).clip(0, 5000)
    rooms = np.rint(area / 27 + rng.normal(0, 0.7, rows)).clip(1, 15)
    age = rng.gamma(1.6, 24.0, rows).clip(0, 180)
    quality = (3.3 - age / 90 + rng.normal(0, 0.8, rows)).round().clip(1, 5)
    day = np.floor(SALE_DAYS * np.sqrt(rng.random(rows)))

    place = _location_value(latitude, longitude, seed) if location else np.zeros(rows)
    log_price = (
        7.95
        + (0.83 + 0.06 * place) * np.log(area)
        + 0.045 * np.log1p(plot)
        + 0.02 * rooms
        + 0.10 * (quality - 3)
        - 0.0042 * age
        + 0.000018 * age**2  # very old houses are loved again
        + worth[kind]
        + place
        + _trend(day)
        + rng.normal(0, NOISE_STD, rows)
    )
    if heavy_tail:
        odd = rng.random(rows) < HEAVY_TAIL_SHARE
        log_price = log_price + odd * rng.standard_t(2.5, rows).clip(-4, 4) * 0.35

    hidden = rng.random((2, rows)) < missing
    frame = pd.DataFrame(
        {
            "latitude": latitude.round(5),
            "longitude": longitude.round(5),
            "living_area_m2": area.round(1),
            "plot_area_m2": np.where(hidden[0], np.nan, plot.round(0)),
            "rooms": rooms.astype(np.int64),
            "building_age_years": age.round(0).astype(np.int64),
            "quality": np.where(hidden[1], np.nan, quality),
            "property_type": [names[index] for index in kind],
            "sale_date": [(FIRST_SALE + timedelta(days=int(d))).isoformat() for d in day],
            TARGET: (np.exp(log_price) / 100).round() * 100,
        }
    )
    return frame if location else frame.drop(columns=["latitude", "longitude"])


def _check(rows: int, categories: int, missing: float) -> None:
    if rows < 1 or categories < 1 or not 0.0 <= missing < 1.0:
        raise InputError(
            f"market of {rows} rows, {categories} categories, {missing} missing",
            hint="rows and categories are at least 1, missing is in [0, 1)",
        )


def _property_types(categories: int) -> tuple[list[str], Floats, Floats]:
    """Names, shares and worths; beyond the six known types come rarer made-up ones."""
    table = list(_TYPES[:categories])
    for extra in range(categories - len(table)):
        table.append((f"special-{extra + 1:02d}", 0.03, 0.05 * np.sin(1.0 + extra)))
    shares = np.array([share for _, share, _ in table])
    return [name for name, _, _ in table], shares / shares.sum(), np.array([w for *_, w in table])


def _places(rng: np.random.Generator, rows: int) -> tuple[Floats, Floats]:
    """Two thirds of the houses cluster around towns, the rest is countryside. Degrees."""
    towns = np.stack([rng.uniform(SOUTH, NORTH, 14), rng.uniform(WEST, EAST, 14)], axis=1)
    of_town = rng.choice(14, size=rows, p=_zipf(14))
    in_town = rng.random(rows) < 2 / 3
    near = towns[of_town] + rng.normal(0, 1, (rows, 2)) * np.array([0.09, 0.13])
    wide = np.stack([rng.uniform(SOUTH, NORTH, rows), rng.uniform(WEST, EAST, rows)], axis=1)
    point = np.where(in_town[:, None], near, wide)
    return point[:, 0].clip(SOUTH, NORTH), point[:, 1].clip(WEST, EAST)


def _zipf(count: int) -> Floats:
    weight = 1.0 / np.arange(1, count + 1)
    return np.asarray(weight / weight.sum())


def _location_value(latitude: Floats, longitude: Floats, seed: int) -> Floats:
    """Worth of a place on the log scale, mean about 0, standard deviation 0.2 to 0.25."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x504C4143]))
    x = (longitude - WEST) / (EAST - WEST)
    y = (latitude - SOUTH) / (NORTH - SOUTH)
    value = np.zeros_like(x)
    for _ in range(5):  # the smooth surface
        wave = rng.normal(0, 1, 2) * 1.4
        value += 0.11 * np.cos(2 * np.pi * (wave[0] * x + wave[1] * y) + rng.uniform(0, 6.283))
    for _ in range(7):  # hot spots, sharp in the middle
        center_x, center_y, reach = rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.95), 0.06
        distance = np.hypot(x - center_x, (y - center_y) * 0.9)
        value += rng.uniform(0.3, 0.8) * np.exp(-distance / reach)
    value += 0.45 * np.exp(-np.abs(x - 0.08 - 0.05 * np.sin(5 * y)) / 0.05)  # the coast
    return value - 0.2


def _trend(day: Floats) -> Floats:
    """Log price level by day of sale: growth, a plateau, a dip, and a mild season."""
    year = day / 365.0
    growth = np.interp(year, [0, 2.5, 3.5, 4.5, 6.0], [0.0, 0.19, 0.24, 0.16, 0.22])
    return np.asarray(growth + 0.015 * np.sin(2 * np.pi * year))
