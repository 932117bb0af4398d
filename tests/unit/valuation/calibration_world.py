# SPDX-License-Identifier: Apache-2.0
"""A small public process and rows whose errors are known, for the tests of intervals."""

from __future__ import annotations

import numpy as np

from dao.records import Calibration, Target
from valuation.calibration import calibration_plan, groups_of, residual_histogram
from valuation.covariance import Hyperparameters, covariance
from valuation.difficulty import Difficulty
from valuation.encode import Encoded
from valuation.process import PublicProcess
from valuation.schema import Floats, Ints

LOG_PRICES = Target(
    column="price",
    currency="EUR",
    scale="log",
    lower_micro=1_000_000_000,
    upper_micro=50_000_000_000_000,
    center_micro=12_000_000,
    spread_micro=600_000,
)
LINEAR_PRICES = Target(
    column="price",
    currency="EUR",
    scale="linear",
    lower_micro=1_000_000_000,
    upper_micro=50_000_000_000_000,
    center_micro=200_000_000_000,
    spread_micro=100_000_000_000,
)
HYPER = Hyperparameters(
    amplitudes=np.array([0.1, 0.3, 0.2, 0.1, 0.2]),
    noise=0.08,
    location_lengths=np.array([0.6, 0.1, 0.5]),
    attribute_lengths=np.array([1.5, 3.0]),
)


def process_of(count: int, *, seed: int = 0) -> PublicProcess:
    """Public rows in a square of the map, crowded in one corner, with a target of its own kind."""
    random = np.random.default_rng(seed)
    attributes = random.normal(size=(count, 2))
    locations = crowded_places(count, random)
    k = covariance(HYPER, attributes, locations, attributes, locations)
    target = np.linalg.cholesky(k + 1e-9 * np.eye(count)) @ random.normal(size=count)
    target += np.sqrt(HYPER.noise) * random.normal(size=count)
    return PublicProcess(
        center=np.zeros(2),
        scale=np.ones(2),
        hyper=HYPER,
        attributes=attributes,
        locations=locations,
        alpha=np.linalg.solve(k + HYPER.noise * np.eye(count), target),
    )


def crowded_places(count: int, random: np.random.Generator) -> Floats:
    """Places in the square, dense in its south-western corner."""
    places: Floats = random.uniform(-1.0, 1.0, (count, 2)) ** 2 * 2.0 - 1.0
    return places


def rows_of(count: int, random: np.random.Generator) -> Encoded:
    """Rows all over the square."""
    return Encoded(
        attributes=random.normal(size=(count, 2)),
        locations=random.uniform(-1.0, 1.0, (count, 2)),
        target=None,
        units=np.arange(count, dtype=np.int64),
        unit_keys=np.zeros(count, dtype=np.uint64),
    )


def plan(groups: int, *, level: float = 0.9) -> Calibration:
    """The usual bins, with so many groups."""
    usual = calibration_plan(units=16_000, contributors=10, mu=1.6, public_rows=True, located=True)
    assert usual is not None
    return usual.model_copy(update={"groups": groups, "level_micro": round(level * 1e6)})


def counts_of(
    calibration: Calibration,
    difficulty: Difficulty,
    rows: Encoded,
    errors: Floats,
    *,
    noise: float = 0.0,
    contributors: int = 1,
    random: np.random.Generator | None = None,
) -> Floats:
    """What contributors with these rows release in all; every row is a unit."""
    difficulties = difficulty.of_rows(rows)
    groups: Ints = groups_of(calibration, difficulty, difficulties, rows.locations)
    total = residual_histogram(
        calibration,
        residual=errors,
        difficulty=difficulties,
        groups=groups,
        units=rows.units,
        max_rows=1,
    )
    if random is not None:
        total = total + noise * np.sqrt(contributors) * random.normal(size=len(total))
    return total
