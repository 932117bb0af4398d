# SPDX-License-Identifier: Apache-2.0
"""Metrics against scikit-learn and values worked out by hand; intervals against their promise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    mean_absolute_percentage_error,
    median_absolute_error,
    r2_score,
)

from dao.errors import InputError
from valuation.interval import coverage, halfwidth
from valuation.metrics import measure


def test_metrics_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    prices = np.exp(random.normal(12, 0.6, 500))
    estimates = prices * np.exp(random.normal(0.02, 0.2, 500))
    found = measure(prices, estimates)
    assert found.r2 == pytest.approx(r2_score(prices, estimates))
    assert found.mape == pytest.approx(mean_absolute_percentage_error(prices, estimates))
    ones = np.ones(500)
    assert found.mdape == pytest.approx(median_absolute_error(ones, estimates / prices))


def test_ratio_statistics_by_hand() -> None:
    # Ratios 0.9, 1.0, 1.2: median 1, mean |r - 1| = 0.1, mean ratio 31/30, totals 640/600.
    found = measure(np.array([100.0, 200.0, 300.0]), np.array([90.0, 200.0, 360.0]))
    assert found.median_ratio == pytest.approx(1.0)
    assert found.cod == pytest.approx(10.0)
    assert found.prd == pytest.approx((31 / 30) / (650 / 600))
    assert found.ppe10 == pytest.approx(2 / 3)


def test_prices_of_zero_count_in_r2_only() -> None:
    found = measure(np.array([0.0, 100.0]), np.array([10.0, 100.0]))
    assert found.mape == 0.0
    assert found.r2 < 1.0
    assert np.isnan(measure(np.zeros(2), np.ones(2)).mape)


def test_no_rows_cannot_be_measured() -> None:
    with pytest.raises(InputError):
        measure(np.zeros(0), np.zeros(0))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("count", [19, 100])
def test_intervals_cover_at_least_their_level(level: float, count: int) -> None:
    random = np.random.default_rng(1)
    covered = []
    for _ in range(3_000):
        residuals = random.standard_t(3, count + 1)
        covered.append(abs(residuals[-1]) <= halfwidth(residuals[:-1], level))
    share = float(np.mean(covered))
    # The promise is level <= coverage <= level + 1 / (n + 1); 3,000 draws err by about .01.
    assert level - 0.025 <= share <= level + 1 / (count + 1) + 0.025


def test_too_few_residuals_give_the_largest() -> None:
    assert halfwidth(np.array([0.5, -2.0]), 0.9) == 2.0
    assert coverage(np.array([0.5, -2.0]), 1.0) == 0.5


@pytest.mark.parametrize(("residuals", "level"), [([], 0.9), ([1.0], 0.0), ([1.0], 1.0)])
def test_senseless_intervals_are_refused(residuals: list[float], level: float) -> None:
    with pytest.raises(InputError):
        halfwidth(np.array(residuals), level)
