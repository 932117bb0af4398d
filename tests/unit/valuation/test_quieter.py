# SPDX-License-Identifier: Apache-2.0
"""A process whose curves the public rows do not bear out is made quieter, another one is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from valuation.covariance import Hyperparameters, covariance, fit_hyperparameters
from valuation.quieter import CURVED, left_out_densities, quieter_if_hardly_worse
from valuation.schema import Floats


def _predicted(hyper: Hyperparameters, x: Floats, y: Floats, new: Floats) -> Floats:
    here, there = np.zeros((len(x), 0)), np.zeros((len(new), 0))
    k = covariance(hyper, x, here, x, here) + hyper.noise * np.eye(len(x))
    return np.asarray(covariance(hyper, new, there, x, here) @ np.linalg.solve(k, y))


def test_densities_are_those_of_rows_left_out_one_by_one() -> None:
    random = np.random.default_rng(0)
    x, where = random.normal(size=(12, 2)), random.normal(size=(12, 2))
    y = random.normal(size=12)
    hyper = Hyperparameters.default(2, located=True)
    k = covariance(hyper, x, where, x, where) + hyper.noise * np.eye(12)
    slow = 0.0
    for i in range(12):
        others = np.delete(np.arange(12), i)
        weights = np.linalg.solve(k[np.ix_(others, others)], k[others, i])
        variance = k[i, i] - weights @ k[others, i]
        slow += float(norm.logpdf(y[i], weights @ y[others], np.sqrt(variance)))
    fast = float(left_out_densities([hyper], x, where, y).sum())
    assert fast == pytest.approx(slow, abs=1e-9)
    assert fast != pytest.approx(float(multivariate_normal(cov=k).logpdf(y)), abs=0.1)


def test_curves_that_follow_noise_are_made_quieter_and_that_predicts_better() -> None:
    gains, chosen = [], 0
    for seed in range(4):
        random = np.random.default_rng(seed)
        x, new = random.normal(size=(150, 6)), random.normal(size=(1000, 6))
        slopes = np.array([0.8, -0.5, 0.3, 0.0, 0.0, 0.0])
        y = x @ slopes + random.normal(scale=0.3, size=150)
        none = np.zeros((150, 0))
        fitted = fit_hyperparameters(x, none, y)
        found = quieter_if_hardly_worse(fitted, x, none, y)
        if found is fitted:
            continue
        chosen += 1
        assert np.allclose(found.amplitudes[1:], CURVED * fitted.amplitudes[1:])
        assert found.amplitudes[0] == fitted.amplitudes[0]
        assert found.noise >= fitted.noise
        errors = [((_predicted(h, x, y, new) - new @ slopes) ** 2).mean() for h in (fitted, found)]
        gains.append(errors[0] - errors[1])
    assert chosen >= 2
    assert np.mean(gains) > 0


def test_curves_that_rows_bear_out_are_left_alone() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(150, 2))
    y = np.sin(2.0 * x[:, 0]) * x[:, 1] + random.normal(scale=0.1, size=150)
    none = np.zeros((150, 0))
    fitted = fit_hyperparameters(x, none, y)
    assert quieter_if_hardly_worse(fitted, x, none, y) is fitted
