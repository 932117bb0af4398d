# SPDX-License-Identifier: Apache-2.0
"""Imagined rows against the process that they are drawn from, by the textbook's formulas."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dao.records import Target
from demo.forecast_rows import imagined_rows
from valuation.covariance import covariance
from valuation.encode import Encoded
from valuation.process import PublicProcess, fit_process

TARGET = Target(
    column="price",
    currency="EUR",
    scale="linear",
    lower_micro=-(10**9),
    upper_micro=10**9,
    center_micro=0,
    spread_micro=10**6,
)
DRAWS, N = 24, 200


@pytest.fixture(scope="module")
def public() -> Encoded:
    random = np.random.default_rng(0)
    attributes, places = random.normal(size=(90, 2)), random.normal(size=(90, 2))
    target = np.tanh(attributes[:, 0]) + np.sin(places[:, 0]) + 0.3 * random.normal(size=90)
    units = np.arange(90)
    return Encoded(attributes, places, target, units, units.astype(np.uint64))


@pytest.fixture(scope="module")
def process(public: Encoded) -> PublicProcess:
    return fit_process(public, (False, False), seed=0).process


def task() -> Any:
    """What is read of a task."""
    return SimpleNamespace(policy=SimpleNamespace(public_n=N), target=TARGET)


@pytest.fixture(scope="module")
def draws(public: Encoded, process: PublicProcess) -> list[Encoded]:
    return [imagined_rows(task(), process, public, seed=seed) for seed in range(DRAWS)]


def posterior(process: PublicProcess, rows: Encoded) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance at rows (Rasmussen and Williams, equations 2.25 and 2.26)."""
    hyper, anchors = process.hyper, (process.attributes, process.locations)
    here = process.scaled(rows.attributes), rows.locations
    known = covariance(hyper, *anchors, *anchors) + hyper.noise * np.eye(len(process.alpha))
    cross = covariance(hyper, *here, *anchors)
    prior = np.diag(covariance(hyper, *here, *here))
    return cross @ process.alpha, prior - np.sum(cross * np.linalg.solve(known, cross.T).T, axis=1)


def test_rows_scatter_around_the_process_as_far_as_it_believes(
    draws: list[Encoded], process: PublicProcess
) -> None:
    """Over many draws: no bias, and the variance of function and observation. The function is drawn
    by its values on landmarks, which loses a little of its variance."""
    deviations, believed = [], []
    for rows in draws:
        mean, variance = posterior(process, rows)
        assert rows.target is not None
        deviations.append(rows.target - mean)
        believed.append(variance + process.hyper.noise)
    spread = np.sqrt(np.mean(believed))
    assert abs(np.mean(deviations)) < 0.15 * spread
    assert 0.8 < np.mean(np.square(deviations)) / np.mean(believed) < 1.1


def test_one_draw_is_one_function_and_not_noise_alone(
    draws: list[Encoded], process: PublicProcess
) -> None:
    """Where the process is unsure, close rows of one draw deviate alike; far ones do not."""
    near, far = [], []
    for rows in draws:
        mean, variance = posterior(process, rows)
        deviation = (rows.target - mean) / np.sqrt(variance + process.hyper.noise)
        at = np.hstack([process.scaled(rows.attributes), rows.locations])
        distance = np.linalg.norm(at[:, None] - at[None, :], axis=2)
        unsure = variance > process.hyper.noise
        pairs = np.triu(np.outer(unsure, unsure), 1)
        products = np.outer(deviation, deviation)
        near += products[pairs & (distance < 0.5)].tolist()
        far += products[pairs & (distance > 3.0)].tolist()
    assert np.mean(near) > 0.3
    assert abs(np.mean(far)) < 0.15


def test_there_are_n_rows_and_a_fifth_to_hold_out(
    draws: list[Encoded], public: Encoded, process: PublicProcess
) -> None:
    assert {len(rows.units) for rows in draws} == {N * 5 // 4}
    assert len(set(draws[0].units.tolist())) == N * 5 // 4
    assert len(set(draws[0].unit_keys.tolist())) == N * 5 // 4
    again = imagined_rows(task(), process, public, seed=1)
    assert np.array_equal(again.target, draws[1].target)
    assert not np.array_equal(draws[0].target, draws[1].target)
