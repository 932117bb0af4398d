# SPDX-License-Identifier: Apache-2.0
"""A task's training in one process: what it would reach, before anybody votes or joins.

The same engine, mechanism and step as the federation's; only keys, chain and network are absent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular

from dao.records import Task
from privacy.noise import SeededNoise
from rounds.contribution import contribution
from rounds.phases import kind_of, release_of, training_round
from rounds.state import decode_state, decode_update, state_to_float, sum_updates
from rounds.step import step
from valuation.covariance import covariance
from valuation.encode import Encoded, target_to_value, value_to_target
from valuation.family import Family, Prepared
from valuation.landmarks import synthetic_rows
from valuation.metrics import Metrics, measure
from valuation.process import PublicProcess

Floats = NDArray[np.float64]

_IMAGINED_LANDMARKS = 800
_CHUNK = 2_000


@dataclass(frozen=True)
class Forecast:
    """Expected accuracy on rows that took no part.

    Attributes:
        before: of the public rows alone. after: of the trained model.
        rows: rows trained on, in all contributors together.
    """

    before: Metrics
    after: Metrics
    rows: int


def train_in_process(
    task: Task,
    family: Family,
    initial: bytes,
    contributors: Sequence[Prepared],
    *,
    seed: int,
    on_round: Callable[[int, Floats], None] | None = None,
) -> Floats:
    """All rounds of a task, everyone honest; returns theta, float64[d].

    Args:
        initial: bytes of the initial model state.
        contributors: each one's prepared rows, with residual.
        seed: of the noise, which is therefore not private: for simulation only.
        on_round: told the round's number and theta after it.
    """
    vectors = family.optimiser_vectors()
    state = decode_state(task, initial)
    for number in range(1, task.total_rounds + 1):
        if kind_of(task, number) != "train":
            continue
        theta, release = state_to_float(task, state[0]), release_of(task, number)
        updates = []
        for index, prepared in enumerate(contributors):
            noise = SeededNoise(f"forecast/{seed}/{index}/{number}".encode())
            update = contribution(task, family, prepared, theta, number=number, noise=noise)
            updates.append(decode_update(release, update))
        added = np.ldexp(sum_updates(updates, length=release.length), -release.grid_bits)
        state = step(task, vectors, state, added, round_number=training_round(task, number))
        if on_round is not None:
            on_round(number, state_to_float(task, state[0]))
    return state_to_float(task, state[0])


def judge(task: Task, family: Family, theta: Floats, test: Prepared) -> Metrics:
    """Metrics in price units on prepared rows with residual."""
    assert test.residual is not None
    prices = target_to_value(task.target, test.offset + test.residual)
    return measure(prices, target_to_value(task.target, family.predict(test, theta)))


def forecast_rows(
    task: Task,
    family: Family,
    initial: bytes,
    rows: Encoded,
    *,
    contributors: int,
    seed: int,
    test_share: float = 0.2,
    on_round: Callable[[int, Floats], None] | None = None,
) -> Forecast:
    """Train on rows at hand (never leaving this process) and judge on a fifth of their units.

    The rest is divided among the contributors at random, unit by unit.
    """
    random = np.random.default_rng(seed)
    units = random.permutation(np.unique(rows.units))
    held = max(int(len(units) * test_share), 1)
    owner = random.integers(0, contributors, len(units))
    test = np.flatnonzero(np.isin(rows.units, units[:held]))
    prepared = []
    trained = 0
    for index in range(contributors):
        own = np.flatnonzero(np.isin(rows.units, units[held:][owner[held:] == index]))
        trained += len(own)
        prepared.append(family.prepare(rows.take(own)))
    theta = train_in_process(task, family, initial, prepared, seed=seed, on_round=on_round)
    shown = family.prepare(rows.take(test))
    start = state_to_float(task, decode_state(task, initial)[0])
    return Forecast(
        before=judge(task, family, start, shown),
        after=judge(task, family, theta, shown),
        rows=trained,
    )


def imagined_rows(task: Task, process: PublicProcess, public: Encoded, *, seed: int) -> Encoded:
    """Rows of a world such as the public process believes in, as many as the task's N and a
    quarter: a stand-in for private rows where there are none to try.

    Places and attributes are drawn around the public rows; the target is one draw of the function
    from the process' posterior (by its values on landmarks), plus the noise of an observation.
    """
    random = np.random.default_rng(seed)
    count = task.policy.public_n * 5 // 4
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
