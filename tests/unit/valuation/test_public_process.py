# SPDX-License-Identifier: Apache-2.0
"""The public process: covariance, slopes, prediction and leave-one-out, against other ways."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.gaussian_process.kernels import Matern
from valuation_world import OWNER_UNIT, SCHEMA, sales

from dao.errors import RecordError, TaskError
from valuation.covariance import (
    Hyperparameters,
    covariance,
    fit_hyperparameters,
    log_posterior_slope,
)
from valuation.encode import Encoded, encode, indicator_columns
from valuation.landmarks import synthetic_rows
from valuation.process import LAYOUT, MIN_ROWS, PublicProcess, fit_process
from valuation.tensors import pack, unpack


def some_rows(count: int = 12, attributes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    a = random.normal(size=(count, attributes))
    places = random.normal(size=(count, 2))
    return a, places, np.sin(a[:, 0]) + places[:, 1] + 0.1 * random.normal(size=count)


HYPER = Hyperparameters(
    amplitudes=np.array([0.3, 0.6, 0.2, 0.1, 0.4]),
    noise=0.2,
    location_lengths=np.array([0.9, 0.3, 1.4]),
    attribute_lengths=np.array([2.0, 1.0, 3.0]),
)


def test_covariance_agrees_with_scikit_learn() -> None:
    a, places, _ = some_rows()
    b, others = a[:5] + 0.3, places[:5] - 0.2
    joint = Matern(1.4, nu=1.5)(places, others)
    attribute = Matern([2.0, 1.0, 3.0], nu=2.5)(a, b)
    expected = 0.3 * (a @ b.T + 1) / 3 + 0.6 * attribute + 0.4 * attribute * joint
    expected += 0.2 * Matern(0.9, nu=1.5)(places, others)
    expected += 0.1 * Matern(0.3, nu=1.5)(places, others)
    assert np.allclose(covariance(HYPER, a, places, b, others), expected, atol=1e-8)


@pytest.mark.parametrize("located", [True, False])
def test_slopes_agree_with_finite_differences(located: bool) -> None:
    a, places, y = some_rows()
    places = places if located else places[:, :0]
    logs = Hyperparameters.default(3, located=located).to_logs()
    logs = logs + 0.3 * np.random.default_rng(0).normal(size=len(logs))

    def value(x: np.ndarray) -> float:
        return log_posterior_slope(x, a, places, y, located=located)[0]

    def slope(x: np.ndarray) -> np.ndarray:
        return log_posterior_slope(x, a, places, y, located=located)[1]

    assert check_grad(value, slope, logs) < 1e-4 * np.linalg.norm(slope(logs))


def test_fitting_raises_the_posterior_and_finds_the_attribute_that_matters() -> None:
    random = np.random.default_rng(2)
    a = random.normal(size=(150, 3))
    y = np.sin(2 * a[:, 0]) + 0.05 * random.normal(size=150)
    none = np.zeros((150, 0))
    start = Hyperparameters.default(3, located=False).to_logs()
    fitted = fit_hyperparameters(a, none, y)
    before = log_posterior_slope(start, a, none, y, located=False)[0]
    after = log_posterior_slope(fitted.to_logs(), a, none, y, located=False)[0]
    assert after < before - 20
    assert fitted.attribute_lengths[0] < 0.5 * fitted.attribute_lengths[1:].min()


def encoded_sales(count: int, seed: int = 1) -> Encoded:
    return encode(SCHEMA, sales(count, seed=seed), with_target=True)


def test_leave_one_out_equals_refitting_without_the_row() -> None:
    public = encoded_sales(45)
    fitted = fit_process(public, indicator_columns(SCHEMA), seed=0, judge_share=0.0)
    process = fitted.process
    assert public.target is not None
    assert len(fitted.held) == 0
    scaled = process.scaled(public.attributes)
    for i in (0, 7, 44):
        others = np.delete(np.arange(45), i)
        k = covariance(
            process.hyper,
            scaled[others],
            public.locations[others],
            scaled[others],
            public.locations[others],
        )
        cross = covariance(
            process.hyper,
            scaled[i : i + 1],
            public.locations[i : i + 1],
            scaled[others],
            public.locations[others],
        )
        alone = cross @ np.linalg.solve(k + process.hyper.noise * np.eye(44), public.target[others])
        assert fitted.loo_residual[i] == pytest.approx(public.target[i] - alone[0], abs=1e-8)


def test_the_mean_is_that_of_the_textbook_and_does_not_depend_on_blocks() -> None:
    public = encoded_sales(60)
    fitted = fit_process(public, indicator_columns(SCHEMA), seed=0)
    process, rows = fitted.process, encoded_sales(2_100, seed=9)
    mean = process.mean(rows)
    few = process.mean(rows.take(np.arange(1_990, 2_010)))
    assert np.allclose(mean[1_990:2_010], few, atol=1e-10)
    k = covariance(
        process.hyper, process.attributes, process.locations, process.attributes, process.locations
    )
    known = np.setdiff1d(np.arange(60), fitted.held)
    assert public.target is not None
    weights = np.linalg.solve(k + process.hyper.noise * np.eye(len(known)), public.target[known])
    assert np.allclose(process.alpha, weights, atol=1e-8)


def test_rows_that_judge_are_kept_out_whole_units_at_a_time() -> None:
    schema = dataclasses.replace(SCHEMA, unit=OWNER_UNIT)
    public = encode(schema, sales(90, seed=1), with_target=True)
    fitted = fit_process(public, indicator_columns(SCHEMA), seed=0)
    assert len(fitted.held) == 30
    kept = np.setdiff1d(np.arange(90), fitted.held)
    assert not set(public.units[fitted.held]) & set(public.units[kept])
    assert len(fitted.process.alpha) == 60


def test_too_few_public_rows_are_refused() -> None:
    with pytest.raises(TaskError, match=f"at least {MIN_ROWS}"):
        fit_process(encoded_sales(MIN_ROWS - 1), indicator_columns(SCHEMA), seed=0)


def test_a_process_survives_its_blob_and_refuses_a_false_one() -> None:
    process = fit_process(encoded_sales(40), indicator_columns(SCHEMA), seed=0).process
    arrays = unpack(pack(process.to_arrays()), LAYOUT)
    again = PublicProcess.from_arrays(arrays, attributes=8, located=True)
    rows = encoded_sales(5, seed=2)
    assert np.array_equal(again.mean(rows), process.mean(rows))
    with pytest.raises(RecordError, match="shape"):
        PublicProcess.from_arrays(arrays, attributes=7, located=True)
    arrays["noise"] = np.array([0.0])
    with pytest.raises(RecordError, match="noise must be above 0"):
        PublicProcess.from_arrays(arrays, attributes=8, located=True)


def test_synthetic_rows_keep_to_the_public_ones() -> None:
    public = encoded_sales(80)
    attributes, places = synthetic_rows(public.attributes, public.locations, 4_000, seed=3)
    assert attributes.shape == (4_000, 8)
    assert np.abs(attributes).max() <= 4.0
    for column, flag in enumerate(indicator_columns(SCHEMA)):
        if flag:
            assert set(np.unique(attributes[:, column])) <= set(
                np.unique(public.attributes[:, column])
            )
    assert np.abs(places.mean(axis=0) - public.locations.mean(axis=0)).max() < 0.3
    again, _ = synthetic_rows(public.attributes, public.locations, 4_000, seed=3)
    assert np.array_equal(again, attributes)
