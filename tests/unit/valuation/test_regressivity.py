# SPDX-License-Identifier: Apache-2.0
"""The stretch that undoes regression to the mean, on markets whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dao.errors import InputError
from dao.records import Target
from valuation.encode import target_to_value
from valuation.metrics import Metrics, measure
from valuation.regressivity import (
    MAX_SLOPE,
    MIN_ROWS,
    PRB_GOAL,
    PRD_GOAL,
    UNSTRETCHED,
    Stretch,
    fit_stretch,
)


def _target(scale: str) -> Target:
    center, spread = (12_000_000, 550_000) if scale == "log" else (200_000 * 10**6, 40_000 * 10**6)
    return Target(
        column="price",
        currency="USD",
        scale=scale,
        lower_micro=5_000 * 10**6,
        upper_micro=5_000_000 * 10**6,
        center_micro=center,
        spread_micro=spread,
    )


def _market(count: int, *, unexplained: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of variance 1, and the best estimates of them: what columns tell."""
    random = np.random.default_rng(seed)
    known = random.normal(0, math.sqrt(1 - unexplained), count)
    return known + random.normal(0, math.sqrt(unexplained), count), known


def _measure(target: Target, outcomes: np.ndarray, estimates: np.ndarray) -> Metrics:
    return measure(target_to_value(target, outcomes), target_to_value(target, estimates))


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize("rows", [300, 1_000])
def test_regressive_estimates_are_mended_on_rows_not_fitted_to(scale: str, rows: int) -> None:
    target = _target(scale)
    outcomes, estimates = _market(60_000, unexplained=0.16, seed=1)
    before = _measure(target, outcomes, estimates)
    assert before.prb < -0.05
    assert (before.prd > 1.03) == (scale == "log")
    for seed in range(5):
        stretch = fit_stretch(target, *_market(rows, unexplained=0.16, seed=100 + seed))
        after = _measure(target, outcomes, stretch.apply(estimates))
        assert 0.98 <= after.prd <= 1.03
        assert -0.05 <= after.prb <= 0.05
        assert after.mki > before.mki
        assert after.r2 >= before.r2 - 0.015


def test_estimates_that_meet_the_goals_stay_as_they_are() -> None:
    outcomes, estimates = _market(400, unexplained=0.02, seed=2)
    assert fit_stretch(_target("log"), outcomes, estimates) == UNSTRETCHED
    assert (UNSTRETCHED.apply(estimates) == estimates).all()


def test_the_slope_is_the_least_that_meets_the_goals_on_its_rows() -> None:
    target = _target("log")
    outcomes, estimates = _market(800, unexplained=0.12, seed=3)
    stretch = fit_stretch(target, outcomes, estimates)
    assert 1.0 < stretch.slope < math.sqrt(1.12)
    found = _measure(target, outcomes, stretch.apply(estimates))
    assert found.prd <= PRD_GOAL
    assert found.prb >= PRB_GOAL
    less = Stretch(stretch.center, stretch.slope - 0.002)
    short = _measure(target, outcomes, less.apply(estimates))
    assert short.prd > PRD_GOAL or short.prb < PRB_GOAL


def test_estimates_never_vary_more_than_prices() -> None:
    for seed in range(10):  # so few rows that PRD asks for anything
        outcomes, estimates = _market(60, unexplained=0.3, seed=seed)
        residual = float(((outcomes - estimates) ** 2).mean())
        matched = math.sqrt(1 + residual / float(estimates.var()))
        slope = fit_stretch(_target("log"), outcomes, estimates).slope
        assert 1.0 <= slope <= min(matched, MAX_SLOPE)


def test_at_the_slope_of_equal_variance_prb_is_zero_for_log_normal_estimates() -> None:
    outcomes, estimates = _market(400_000, unexplained=0.15, seed=4)
    matched = Stretch(0.0, math.sqrt(1 / 0.85))
    assert _measure(_target("log"), outcomes, matched.apply(estimates)).prb == pytest.approx(
        0.0, abs=0.006
    )


def test_the_order_of_homes_is_kept() -> None:
    outcomes, estimates = _market(500, unexplained=0.2, seed=5)
    stretched = fit_stretch(_target("log"), outcomes, estimates).apply(estimates)
    assert (np.argsort(stretched) == np.argsort(estimates)).all()
    assert np.median(stretched) == pytest.approx(np.median(estimates))


def test_the_last_digits_of_a_processor_move_the_slope_by_no_more_than_themselves() -> None:
    outcomes, estimates = _market(500, unexplained=0.15, seed=6)
    here = fit_stretch(_target("log"), outcomes, estimates)
    noise = 1.0 + 1e-13 * np.random.default_rng(0).normal(size=500)
    there = fit_stretch(_target("log"), outcomes, estimates * noise)
    assert there.slope == pytest.approx(here.slope, abs=1e-9)
    assert there.center == pytest.approx(here.center, abs=1e-9)


def test_too_few_rows_and_equal_estimates_ask_for_nothing() -> None:
    outcomes, estimates = _market(MIN_ROWS - 1, unexplained=0.3, seed=7)
    assert fit_stretch(_target("log"), outcomes, estimates) == UNSTRETCHED
    assert fit_stretch(_target("log"), np.arange(100.0), np.zeros(100)) == UNSTRETCHED
    with pytest.raises(InputError):
        fit_stretch(_target("log"), np.zeros(3), np.zeros(4))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-30, 30), st.floats(-30, 30)), min_size=MIN_ROWS, max_size=MIN_ROWS
    ),
    st.sampled_from(["log", "linear"]),
)
def test_any_rows_give_a_bounded_slope(rows: list[tuple[float, float]], scale: str) -> None:
    outcomes, estimates = np.array(rows).T.copy()
    stretch = fit_stretch(_target(scale), outcomes, estimates)
    assert 1.0 <= stretch.slope <= MAX_SLOPE
    assert math.isfinite(stretch.center)
