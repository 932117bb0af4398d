# SPDX-License-Identifier: Apache-2.0
"""The rows that a forecast trains and tests on, and in whose hands they are."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular

from dao.errors import InputError
from dao.records import Task
from valuation.covariance import covariance
from valuation.encode import Encoded, target_to_value, value_to_target
from valuation.landmarks import synthetic_rows
from valuation.process import PublicProcess

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Division = Literal["places", "sizes", "alike"]
"""`places`: each contributor has a stretch of the map; `sizes`: units at random; both with sizes
that differ as a log-normal does. `alike`: units at random, as many for each."""

TEST_SHARE = 0.2
MOST_TEST_UNITS = 5_000
"""More would say no more, and a forecast keeps its rows in memory."""
SIZE_SPREAD = 1.0
"""Standard deviation of the logarithm of a contributor's size: one in six brings more than 2.7
times what the middle one does."""
_IMAGINED_LANDMARKS = 800
_CHUNK = 2_000


def hold_out(rows: Encoded, *, seed: int) -> tuple[Encoded, Encoded]:
    """Rows to train on and rows to test on, a fifth of the units; a unit's rows stay together.

    Raises:
        InputError: fewer than two units.
    """
    names = np.unique(rows.units)
    if len(names) < 2:
        raise InputError(
            f"{len(names)} usable units, expected at least 2", hint="Give more rows with --data."
        )
    names = np.random.default_rng(seed).permutation(names)
    held = min(max(int(len(names) * TEST_SHARE), 1), MOST_TEST_UNITS)
    tested = np.isin(rows.units, names[:held])
    return rows.take(np.flatnonzero(~tested)), rows.take(np.flatnonzero(tested))


def divide(rows: Encoded, contributors: int, division: Division, *, seed: int) -> Ints:
    """int64[n]: whose each row is, 0 to contributors - 1. Everybody has at least one unit.

    Raises:
        InputError: fewer units than contributors.
    """
    _, first, unit_of_row = np.unique(rows.units, return_index=True, return_inverse=True)
    units = len(first)
    if units < contributors:
        raise InputError(
            f"{units} units for {contributors} contributors: expected at least one each",
            hint="Ask for fewer --contributors, or give more rows with --data.",
        )
    random = np.random.default_rng([seed, contributors])
    weights = np.ones(contributors)
    if division != "alike":
        weights = np.exp(SIZE_SPREAD * random.normal(size=contributors))
    order = random.permutation(units)
    owner = np.empty(units, dtype=np.int64)
    if division == "places" and rows.locations.shape[1]:
        _halve(rows.locations[first], order, weights, owner, start=0)
    else:
        owner[order] = np.repeat(np.arange(contributors), _counts(weights, units))
    return owner[unit_of_row.reshape(-1)]


def _counts(weights: Floats, units: int) -> Ints:
    """Whole numbers that add up to `units`, at least 1 each, the rest in proportion to weights."""
    spare = units - len(weights)
    ends = np.floor(np.cumsum(weights) / weights.sum() * spare + 0.5).astype(np.int64)
    counts: Ints = np.diff(ends, prepend=0) + 1
    return counts


def _halve(places: Floats, units: Ints, weights: Floats, owner: Ints, *, start: int) -> None:
    """Give `units` (numbers of rows of `places`) to the contributors from `start` on, one for each
    weight: halve along the longer side until one contributor is left."""
    if len(weights) == 1:
        owner[units] = start
        return
    middle = len(weights) // 2
    share = weights[:middle].sum() / weights.sum()
    cut = min(max(round(share * len(units)), middle), len(units) - (len(weights) - middle))
    here = places[units]
    side = int(np.argmax(here.max(axis=0) - here.min(axis=0)))
    along = units[np.argsort(here[:, side], kind="stable")]
    _halve(places, along[:cut], weights[:middle], owner, start=start)
    _halve(places, along[cut:], weights[middle:], owner, start=start + middle)


def imagined_rows(task: Task, process: PublicProcess, public: Encoded, *, seed: int) -> Encoded:
    """Rows of a world such as the public process believes in, as many as the task's N and those
    that `hold_out` takes: a stand-in for private rows where there are none to try. Every row is a
    unit.

    Places and attributes are drawn around the public rows; the target is one draw of the function
    from the process' posterior (by its values on landmarks), plus the noise of an observation.
    """
    random = np.random.default_rng(seed)
    count = task.policy.public_n + min(task.policy.public_n // 4, MOST_TEST_UNITS)
    attributes, places = synthetic_rows(public.attributes, public.locations, count, seed=seed)
    marks, mark_places = synthetic_rows(
        public.attributes, public.locations, _IMAGINED_LANDMARKS, seed=seed + 1
    )
    hyper, anchors = process.hyper, (process.attributes, process.locations)
    known = covariance(hyper, *anchors, *anchors)
    known[np.diag_indices(len(known))] += hyper.noise
    factor = cho_factor(known, lower=True)
    landmarks = (process.scaled(marks), mark_places)
    seen = cho_solve(factor, covariance(hyper, *anchors, *landmarks))
    posterior = covariance(hyper, *landmarks, *landmarks)
    posterior -= covariance(hyper, *landmarks, *anchors) @ seen
    posterior[np.diag_indices(len(posterior))] += 1e-6 * float(np.trace(posterior))
    lower = cholesky((posterior + posterior.T) / 2.0, lower=True)
    weights = solve_triangular(lower.T, random.normal(size=len(lower)))
    target = np.empty(count)
    for start in range(0, count, _CHUNK):
        rows = slice(start, start + _CHUNK)
        scaled, where = process.scaled(attributes[rows]), places[rows]
        to_anchors = process.to_anchors(scaled, where)
        deviation = (covariance(hyper, scaled, where, *landmarks) - to_anchors @ seen) @ weights
        target[rows] = to_anchors @ process.alpha + deviation
    target += np.sqrt(hyper.noise) * random.normal(size=count)
    bounded = value_to_target(task.target, target_to_value(task.target, target))
    keys = random.integers(0, 2**64, count, dtype=np.uint64)
    return Encoded(attributes, places, bounded, np.arange(count, dtype=np.int64), keys)
