# SPDX-License-Identifier: Apache-2.0
"""Ratio statistics against assesspy, statsmodels and the bootstrap, over data fair and nasty."""

from __future__ import annotations

import math

import assesspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valuation.metrics import cod, concentration, fsd, measure, mki, prb, prd
from valuation.ratio_errors import (
    NORMAL_95,
    cod_error,
    median_ratio_error,
    mki_error,
    prb_error,
    prd_error,
)

OURS = {"cod": cod, "prd": prd, "prb": prb, "mki": mki}


def _pairs(count: int, *, seed: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    prices = np.exp(random.normal(12, 0.6, count))
    estimates = prices * np.exp(random.normal(0.02, 0.25, count))
    match kind:
        case "ties":  # both on a coarse grid, and a cap that many reach
            prices = np.minimum(np.ceil(prices / 50_000) * 50_000, 250_000)
            estimates = np.minimum(np.ceil(estimates / 50_000) * 50_000, 250_000)
        case "outliers":
            estimates[:: max(count // 7, 1)] *= 40.0
            prices[1 :: max(count // 5, 1)] = 1.0
        case "tiny prices":
            prices, estimates = prices * 1e-9, estimates * 1e-9
        case "one estimate":
            estimates = np.full(count, 200_000.0)
    return prices, estimates


@pytest.mark.parametrize("kind", ["plain", "ties", "outliers", "tiny prices", "one estimate"])
@pytest.mark.parametrize("count", [2, 3, 5, 30, 501])
@pytest.mark.parametrize("figure", ["cod", "prd", "prb", "mki"])
def test_statistics_equal_assesspy(figure: str, count: int, kind: str) -> None:
    compared = 0
    for seed in range(8):
        prices, estimates = _pairs(count, seed=seed, kind=kind)
        found = OURS[figure](prices, estimates)
        if math.isnan(found):  # where assesspy divides by zero or fails
            assert prices.min() == prices.max()
            continue
        theirs = getattr(assesspy, figure)(list(estimates), list(prices))
        assert found == pytest.approx(theirs, rel=1e-9, abs=1e-11)
        compared += 1
    assert compared >= 3


def test_statistics_equal_assesspy_on_sales_of_cook_county() -> None:
    sample = assesspy.ccao_sample()
    prices = sample.sale_price.to_numpy(dtype=np.float64)
    estimates = sample.estimate.to_numpy(dtype=np.float64)
    for figure, ours in OURS.items():
        theirs = getattr(assesspy, figure)(sample.estimate, sample.sale_price)
        assert ours(prices, estimates) == pytest.approx(theirs, rel=1e-10)


def test_measure_gives_the_same_figures() -> None:
    prices, estimates = _pairs(200, seed=1, kind="plain")
    found = measure(prices, estimates)
    for figure, ours in OURS.items():
        assert getattr(found, figure) == ours(prices, estimates)
    assert found.fsd == pytest.approx(float(np.std(estimates / prices - 1.0)))


_amounts = st.integers(-(10**18), 10**18).map(lambda micro: micro / 1e6)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_amounts, _amounts), min_size=1, max_size=12))
def test_figures_are_finite_or_undefined_for_any_rows(rows: list[tuple[float, float]]) -> None:
    prices, estimates = np.array(rows).T.copy()
    for name, value in measure(prices, estimates).as_dict().items():
        assert math.isfinite(value) or (math.isnan(value) and name not in ("rows", "r2"))


@pytest.mark.parametrize(
    ("prices", "estimates", "undefined"),
    [
        ([0.0, -1.0], [1.0, 2.0], {"cod", "prd", "prb", "mki", "fsd"}),
        ([10.0, 10.0, 10.0], [9.0, 10.0, 11.0], {"mki"}),  # no spread of prices
        ([10.0, 20.0, 30.0], [-9.0, -20.0, -31.0], {"cod", "prd", "prb", "mki"}),
        ([10.0, 10.0], [10.0, 10.0], {"prb", "mki"}),  # no spread of proxies
        ([10.0, 20.0, 30.0], [11.0, 21.0, -200.0], {"prd", "prb", "mki"}),
        ([7.0], [7.0], {"prb", "mki"}),
    ],
)
def test_a_figure_without_meaning_is_not_a_number(
    prices: list[float], estimates: list[float], undefined: set[str]
) -> None:
    found = measure(np.array(prices), np.array(estimates)).as_dict()
    figures = {"cod", "prd", "prb", "mki", "fsd"}
    assert {name for name in figures if math.isnan(found[name])} == undefined


def test_the_concentration_index_of_a_list_by_itself_is_its_gini_coefficient() -> None:
    values = np.random.default_rng(3).lognormal(size=60)
    pairwise = np.abs(values[:, None] - values[None, :]).mean() / (2 * values.mean())
    assert concentration(values, values) == pytest.approx(pairwise)


def test_perfect_estimates_are_perfect() -> None:
    prices, _ = _pairs(50, seed=2, kind="plain")
    found = measure(prices, prices)
    assert (found.cod, found.prb, found.fsd) == (0.0, 0.0, 0.0)
    assert (found.prd, found.mki, found.ppe10) == (pytest.approx(1.0), pytest.approx(1.0), 1.0)


def test_regressive_estimates_show_in_all_three() -> None:
    prices, _ = _pairs(400, seed=2, kind="plain")
    middle = float(np.median(prices))
    estimates = middle * (prices / middle) ** 0.8
    assert prd(prices, estimates) > 1.03
    assert prb(prices, estimates) < -0.05
    assert mki(prices, estimates) < 0.95


# --- standard errors ------------------------------------------------------------------------


def test_the_error_of_prb_is_that_of_ordinary_least_squares() -> None:
    prices, estimates = _pairs(80, seed=5, kind="plain")
    lower, upper = assesspy.prb_ci(list(estimates), list(prices), alpha=0.05)
    from scipy.stats import t

    width = 2 * t.ppf(0.975, df=78) * prb_error(prices, estimates)
    assert width == pytest.approx(upper - lower, rel=1e-9)


@pytest.mark.parametrize(
    ("statistic", "error"),
    [
        (cod, cod_error),
        (prd, prd_error),
        (mki, mki_error),
        (lambda p, e: float(np.median(e / p)), median_ratio_error),
    ],
    ids=["cod", "prd", "mki", "median"],
)
def test_errors_agree_with_the_bootstrap(statistic, error) -> None:
    prices, estimates = _pairs(600, seed=6, kind="plain")
    random = np.random.default_rng(0)
    draws = [random.integers(0, 600, 600) for _ in range(800)]
    spread = float(np.std([statistic(prices[rows], estimates[rows]) for rows in draws]))
    assert error(prices, estimates) == pytest.approx(spread, rel=0.15)


@pytest.mark.parametrize(
    ("statistic", "error", "truth"),
    [
        (cod, cod_error, 100 * math.sqrt(2 / math.pi) * 0.2),  # ratios N(1, 0.2)
        (prd, prd_error, 1.0),
        (lambda p, e: float(np.median(e / p)), median_ratio_error, 1.0),
    ],
    ids=["cod", "prd", "median"],
)
def test_intervals_of_95_percent_cover_the_truth(statistic, error, truth: float) -> None:
    random = np.random.default_rng(7)
    covered = []
    for _ in range(1_000):
        prices = np.exp(random.normal(12, 0.4, 80))
        estimates = prices * random.normal(1.0, 0.2, 80)
        half = NORMAL_95 * error(prices, estimates)
        covered.append(abs(statistic(prices, estimates) - truth) <= half)
    assert 0.91 <= float(np.mean(covered)) <= 0.985


def test_errors_of_undefined_figures_are_undefined() -> None:
    prices, estimates = np.array([10.0, 20.0, 30.0]), np.array([-9.0, -20.0, -31.0])
    for error in (cod_error, prd_error, prb_error, mki_error):
        assert math.isnan(error(prices, estimates))
    assert fsd(prices, estimates) > 0.0
