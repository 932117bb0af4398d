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
    PRB_GOAL,
    PRD_GOAL,
    UNSTRETCHED,
    Stretch,
    fit_stretch,
)


def _target(scale: str) -> Target:
    center, spread = (12_000_000, 550_000) if scale == "log" else (200_000 * 10**6, 35_000 * 10**6)
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


def _fitted(target: Target, rows: int, *, unexplained: float, seed: int) -> Stretch:
    """From rows of their own: how their estimates vary, and how far off these are."""
    outcomes, estimates = _market(rows, unexplained=unexplained, seed=seed)
    deviation = math.sqrt(float(((outcomes - estimates) ** 2).mean()))
    return fit_stretch(target, estimates, np.full(rows, deviation))


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize("rows", [300, 1_000])
def test_regressive_estimates_are_mended_on_rows_not_fitted_to(scale: str, rows: int) -> None:
    target = _target(scale)
    outcomes, estimates = _market(60_000, unexplained=0.16, seed=1)
    before = _measure(target, outcomes, estimates)
    assert before.prb < -0.05
    assert (before.prd > 1.03) == (scale == "log")
    for seed in range(5):
        stretch = _fitted(target, rows, unexplained=0.16, seed=100 + seed)
        after = _measure(target, outcomes, stretch.apply(estimates))
        assert 0.98 <= after.prd <= 1.03
        assert -0.05 <= after.prb <= 0.05
        assert after.mki > before.mki
        assert after.r2 >= before.r2 - 0.015


def test_estimates_that_meet_the_goals_stay_as_they_are() -> None:
    stretch = _fitted(_target("log"), 400, unexplained=0.02, seed=2)
    assert stretch == UNSTRETCHED
    estimates = np.linspace(-3.0, 3.0, 7)
    assert (stretch.apply(estimates) == estimates).all()


def test_the_slope_is_the_least_that_meets_the_goals() -> None:
    target = _target("log")
    outcomes, estimates = _market(400_000, unexplained=0.09, seed=3)
    stretch = fit_stretch(target, estimates, np.full(len(estimates), 0.3))
    assert 1.0 < stretch.slope < math.sqrt(1 / 0.91)
    found = _measure(target, outcomes, stretch.apply(estimates))
    assert found.prd <= PRD_GOAL + 0.001
    assert found.prb >= PRB_GOAL - 0.001
    less = Stretch(stretch.center, stretch.slope - 0.005)
    short = _measure(target, outcomes, less.apply(estimates))
    assert short.prd > PRD_GOAL or short.prb < PRB_GOAL


def test_the_moments_are_exact_for_log_normal_prices() -> None:
    outcomes, estimates = _market(400_000, unexplained=0.15, seed=4)
    found = _measure(_target("log"), outcomes, estimates)
    assert math.log(found.prd) == pytest.approx(0.55**2 * 0.15, abs=0.0015)
    matched = Stretch(0.0, math.sqrt(1 / 0.85))  # as much variance as prices have
    assert _measure(_target("log"), outcomes, matched.apply(estimates)).prb == pytest.approx(
        0.0, abs=0.006
    )


def test_estimates_never_vary_more_than_prices() -> None:
    for seed in range(10):
        estimates = np.random.default_rng(seed).normal(size=60)
        for deviation in (0.3, 0.5, 1.5):
            slope = fit_stretch(_target("log"), estimates, np.full(60, deviation)).slope
            matched = math.sqrt(1 + deviation**2 / float(estimates.var()))
            assert 1.0 <= slope <= min(matched, MAX_SLOPE)


def test_rows_that_differ_in_error_count_each_with_its_own() -> None:
    random = np.random.default_rng(9)
    estimates = random.normal(0, 0.9, 50_000)
    deviation = np.exp(random.normal(-1.2, 0.3, 50_000))
    stretch = fit_stretch(_target("log"), estimates, deviation)
    alike = np.full(50_000, math.sqrt(float((deviation**2).mean())))
    assert 1.0 < stretch.slope < MAX_SLOPE
    assert fit_stretch(_target("log"), estimates, alike).slope == pytest.approx(
        stretch.slope, abs=1e-4
    )


def test_the_order_of_homes_and_their_middle_are_kept() -> None:
    estimates = np.random.default_rng(5).normal(size=501)
    stretched = fit_stretch(_target("log"), estimates, np.full(501, 0.45)).apply(estimates)
    assert (np.argsort(stretched) == np.argsort(estimates)).all()
    assert np.median(stretched) == pytest.approx(np.median(estimates))
    assert stretched.std() > 1.02 * estimates.std()


def test_the_last_digits_of_a_processor_move_the_slope_by_no_more_than_themselves() -> None:
    estimates = np.random.default_rng(6).normal(size=500)
    deviation = np.full(500, 0.4)
    here = fit_stretch(_target("log"), estimates, deviation)
    noise = 1.0 + 1e-13 * np.random.default_rng(0).normal(size=500)
    there = fit_stretch(_target("log"), estimates * noise, deviation)
    assert there.slope == pytest.approx(here.slope, abs=1e-9)
    assert there.center == pytest.approx(here.center, abs=1e-9)


def test_markets_without_ratios_or_spread_are_not_stretched() -> None:
    estimates = np.random.default_rng(7).normal(size=100)
    free = _target("linear").model_copy(update={"lower_micro": 0})
    assert fit_stretch(free, estimates, np.full(100, 0.5)) == UNSTRETCHED
    assert fit_stretch(_target("log"), np.zeros(100), np.ones(100)) == UNSTRETCHED
    assert fit_stretch(_target("log"), np.zeros(0), np.zeros(0)) == UNSTRETCHED


@pytest.mark.parametrize("deviation", [-1.0, float("nan"), float("inf")])
def test_senseless_deviations_are_refused(deviation: float) -> None:
    with pytest.raises(InputError):
        fit_stretch(_target("log"), np.zeros(2), np.full(2, deviation))
    with pytest.raises(InputError):
        fit_stretch(_target("log"), np.zeros(3), np.ones(2))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-30, 30), st.floats(0, 30)), min_size=1, max_size=50),
    st.sampled_from(["log", "linear"]),
)
def test_any_rows_give_a_bounded_slope(rows: list[tuple[float, float]], scale: str) -> None:
    estimates, deviation = np.array(rows).T.copy()
    stretch = fit_stretch(_target(scale), estimates, deviation)
    assert 1.0 <= stretch.slope <= MAX_SLOPE
    assert math.isfinite(stretch.center)
