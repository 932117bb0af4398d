# SPDX-License-Identifier: Apache-2.0
"""A drafted task on California and its rows, divided by `bench.accuracy_protocol`.

Of the test rows, `SEALED_ROWS` drawn by the seed score the contributors, as sealed rows would, and
the others measure the model.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.accuracy_protocol import PUBLIC_ROWS, Blobs, accepted, make_task, split_rows
from dao.records import Task
from privacy.noise import NoiseSource
from rounds.contribution import contribution
from rounds.phases import release_of
from rounds.state import decode_update, update_to_float
from valuation.family import Family, Prepared
from valuation.loading import load_family
from valuation.private_rows import CalibrationRows, PrivateRows, divide_rows
from valuation.rows import parse_csv

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONTRIBUTORS, EPSILON, SEALED_ROWS = 10, 8.0, 1_000
TARGET = "median_house_value"


@dataclass(frozen=True)
class Market:
    """A task and all rows of one seed; `rows` of the contributors, by falling number of rows."""

    seed: int
    task: Task
    family: Family
    initial: bytes
    rows: tuple[PrivateRows, ...]
    public: Prepared
    sealed: Prepared
    test: Prepared


def market(seed: int) -> Market:
    """The protocol of `bench.accuracy_protocol`: 500 public rows, ten contributors by geography."""
    file = Path(os.environ.get("COVALUE_DATA", ".")) / "california_housing.csv"
    frame = parse_csv(file.read_bytes(), name=str(file))
    split = split_rows(
        frame, seed=seed, contributors=CONTRIBUTORS, keep=None, public_rows=PUBLIC_ROWS
    )
    blobs = Blobs()
    task = make_task(
        frame.iloc[split.public],
        target=TARGET,
        family="kernel",
        epsilon=EPSILON,
        public_n=len(split.private),
        contributors=CONTRIBUTORS,
        blobs=blobs,
    )
    family = load_family(task, blobs.content[task.model.setup.sha256])

    def prepared(rows: Ints) -> Prepared:
        return family.prepare(accepted(task, frame.iloc[rows]))

    divided = [
        divide_rows(task, family, accepted(task, frame.iloc[split.private[split.owner == k]]))
        for k in range(CONTRIBUTORS)
    ]
    order = np.random.default_rng(seed).permutation(len(split.test))
    return Market(
        seed=seed,
        task=task,
        family=family,
        initial=blobs.content[task.model.initial.sha256],
        rows=tuple(sorted(divided, key=lambda rows: -len(rows.training.units))),
        public=prepared(split.public),
        sealed=prepared(split.test[order[:SEALED_ROWS]]),
        test=prepared(split.test[order[SEALED_ROWS:]]),
    )


class Silence:
    """No noise: shows the private sum of one's own rows."""

    seeded = True

    def gaussian(self, n: int) -> Floats:
        """n zeros."""
        return np.zeros(n)


def update_of(
    market: Market, rows: PrivateRows, theta: Floats, number: int, noise: NoiseSource
) -> Floats:
    """What an honest contributor sends in a round on parameters theta, float64[length]."""
    release = release_of(market.task, number)
    data = contribution(market.task, market.family, rows, theta, number=number, noise=noise)
    return update_to_float(release, decode_update(release, data))


def rows_at(rows: PrivateRows, training: Ints, calibration: Ints) -> PrivateRows:
    """Some of a contributor's rows, by place; a row that stands twice is of two units."""
    assert rows.survey is not None
    assert rows.calibration is not None
    kept = rows.calibration
    return PrivateRows(
        training=_at(rows.training, training),
        survey=rows.survey[training],
        calibration=CalibrationRows(
            prepared=_at(kept.prepared, calibration),
            difficulty=kept.difficulty[calibration],
            locations=kept.locations[calibration],
        ),
    )


def _at(prepared: Prepared, places: Ints) -> Prepared:
    _, times = np.unique(places, return_counts=True)
    units = prepared.units[places]
    if times.max(initial=0) > 1:
        units = np.arange(len(places))
    residual = None if prepared.residual is None else prepared.residual[places]
    return replace(
        prepared,
        inputs=prepared.inputs[places],
        offset=prepared.offset[places],
        residual=residual,
        units=units,
    )
