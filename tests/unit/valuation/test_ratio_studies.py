# SPDX-License-Identifier: Apache-2.0
"""Studies over all rows, by region and by price band, and the verdicts on them."""

from __future__ import annotations

import assesspy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dao.errors import InputError
from dao.records import RatioStudy
from valuation.accepted import ACCEPTED, verdict, verdicts
from valuation.metrics import measure, proxy_values
from valuation.ratio_study import RegionsOfRows, ratio_studies, to_micro

FIGURES = [name for name in RatioStudy.model_fields if name.endswith("_micro")]


def _market(count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unbiased estimates: price and estimate err alike around what a home is worth."""
    random = np.random.default_rng(seed)
    worth = random.normal(12, 0.5, count)
    errors = random.normal(0, 0.15, (2, count))
    return np.exp(worth + errors[0]), np.exp(worth + errors[1])


def _two_regions(count: int) -> RegionsOfRows:
    region = (np.arange(count) % 3 == 0).astype(np.int64)
    return RegionsOfRows(region, ((48_000_000, 9_000_000), (47_500_000, 10_000_000)))


def test_all_then_regions_then_bands_each_measured_on_its_rows() -> None:
    prices, estimates = _market(300, seed=0)
    regions = _two_regions(300)
    studies = ratio_studies(prices, estimates, regions)
    assert [study.group for study in studies] == [
        "all",
        "region 1",
        "region 2",
        *[f"price band {number}" for number in range(1, 5)],
    ]
    for study, rows in zip(
        studies[:3], (regions.region >= 0, regions.region == 0, regions.region == 1), strict=True
    ):
        found = measure(prices[rows], estimates[rows]).as_dict()
        assert study.rows == rows.sum()
        for figure in ("cod", "prd", "prb", "mki", "fsd", "ppe10", "mdape", "r2"):
            assert getattr(study, f"{figure}_micro") == round(found[figure] * 1e6)
    assert studies[1].latitude_micro == 48_000_000
    assert studies[0].latitude_micro is studies[3].latitude_micro is None


def test_bands_are_quartiles_of_the_proxy_and_hold_every_row_once() -> None:
    prices, estimates = _market(400, seed=1)
    bands = ratio_studies(prices, estimates, None)[1:]
    proxy = proxy_values(prices, estimates)
    assert proxy is not None
    for band in bands:
        assert band.lower_micro is not None
        assert band.upper_micro is not None
        inside = (proxy >= band.lower_micro / 1e6 - 1e-5) & (proxy <= band.upper_micro / 1e6 + 1e-5)
        assert band.rows == inside.sum() == 100
    edges = [band.lower_micro for band in bands] + [bands[-1].upper_micro]
    expected = np.percentile(proxy, [0, 25, 50, 75, 100])
    assert edges == pytest.approx([value * 1e6 for value in expected], abs=1.0)


def test_bands_by_proxy_show_no_bias_where_bands_by_price_would() -> None:
    prices, estimates = _market(40_000, seed=2)
    medians = [study.median_ratio_micro for study in ratio_studies(prices, estimates, None)[1:]]
    assert medians == pytest.approx([1_000_000] * 4, abs=10_000)
    cheapest = prices <= np.quantile(prices, 0.25)
    assert np.median(estimates[cheapest] / prices[cheapest]) > 1.05


def test_ties_at_a_cap_leave_bands_without_rows_and_without_figures() -> None:
    prices = np.full(40, 500_000.0)
    prices[:10] = np.linspace(100_000, 200_000, 10)
    bands = ratio_studies(prices, prices, None)[1:]
    assert sum(band.rows for band in bands) == 40
    empty = [band for band in bands if band.rows == 0]
    assert empty
    assert all(getattr(band, name) is None for band in empty for name in ("cod_micro", "r2_micro"))


def test_a_group_of_fewer_than_five_prices_has_no_figures() -> None:
    prices, estimates = _market(30, seed=3)
    prices[:3] = 0.0
    region = np.array([0] * 7 + [1] * 23)
    studies = ratio_studies(prices, estimates, RegionsOfRows(region, ((0, 0), (1, 1))))
    few, enough = studies[1:3]
    assert few.rows == 7
    assert {getattr(few, name) for name in FIGURES} == {None, 0}  # 0: its middle
    assert all(getattr(enough, f"{name}_micro") is not None for name in ACCEPTED)


def test_estimates_below_zero_have_no_bands_and_no_ratios_to_speak_of() -> None:
    prices, _ = _market(30, seed=4)
    studies = ratio_studies(prices, -prices, None)
    assert [study.group for study in studies] == ["all"]
    assert studies[0].cod_micro is studies[0].prb_micro is None
    assert studies[0].median_ratio_micro == -1_000_000
    assert verdicts(studies[0])["cod"] == "none"
    assert verdicts(studies[0])["median_ratio"] == "outside"


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-(10**18), 10**18), st.integers(-(10**18), 10**18)),
        min_size=1,
        max_size=40,
    )
)
def test_any_prices_and_estimates_give_records(rows: list[tuple[int, int]]) -> None:
    prices, estimates = (np.array(rows, dtype=np.float64) / 1e6).T.copy()
    studies = ratio_studies(prices, estimates, None)
    for study in studies:
        assert RatioStudy.parse(study.canonical()) == study
    assert sum(study.rows for study in studies[1:]) in (0, (prices > 0).sum())


def test_figures_beyond_what_json_carries_are_held() -> None:
    assert to_micro(1e300) == 2**53 - 1
    assert to_micro(-1e300) == -(2**53) + 1
    assert to_micro(float("nan")) is None
    prices = np.full(6, 1e-6)
    prices[0] = 1e12
    studies = ratio_studies(prices, np.full(6, 1e12), None)
    assert studies[0].mdape_micro == 2**53 - 1


def test_nothing_cannot_be_studied() -> None:
    with pytest.raises(InputError):
        ratio_studies(np.zeros(0), np.zeros(0), None)


# --- verdicts -------------------------------------------------------------------------------


def _study(**figures: int | None) -> RatioStudy:
    prices, estimates = _market(50, seed=5)
    return ratio_studies(prices, estimates, None)[0].model_copy(update=figures)


@pytest.mark.parametrize("figure", ["cod", "prd", "prb", "mki"])
def test_the_accepted_ranges_are_those_of_assesspy(figure: str) -> None:
    accepted = ACCEPTED[figure]
    met = getattr(assesspy, f"{figure}_met")
    for edge in (accepted.lower_micro, accepted.upper_micro):
        for step in (-1, 1):
            value = edge + step * 1_000
            found = verdict(
                _study(**{f"{figure}_micro": value, f"{figure}_error_micro": 0}), figure
            )
            assert (found == "within") == met(value / 1e6)


def test_a_figure_outside_by_less_than_its_error_is_unclear() -> None:
    far, near = {"prd_micro": 1_050_000}, {"prd_micro": 1_049_000}
    assert verdict(_study(**far, prd_error_micro=10_000), "prd") == "outside"
    assert verdict(_study(**near, prd_error_micro=10_000), "prd") == "unclear"
    assert verdict(_study(**far, prd_error_micro=None), "prd") == "outside"
    assert verdict(_study(prd_micro=None), "prd") == "none"


def test_too_few_rows_make_a_regressive_model_unclear_not_wrong() -> None:
    random = np.random.default_rng(8)

    def regressive(count: int) -> RatioStudy:
        worth = random.normal(0, 0.5, count)
        errors = random.normal(0, 0.15, (2, count))
        prices, estimates = np.exp(12 + worth + errors[0]), np.exp(12 + 0.85 * worth + errors[1])
        return ratio_studies(prices, estimates, None)[0]

    assert verdict(regressive(2_000), "prb") == "outside"
    assert verdict(regressive(12), "prb") == "unclear"


def test_vertical_equity_is_not_judged_within_a_price_band() -> None:
    prices, estimates = _market(4_000, seed=9)
    whole, *bands = ratio_studies(prices, estimates, None)
    for band in bands:
        found = verdicts(band)
        assert {name for name, said in found.items() if said == "none"} == {"prd", "prb", "mki"}
        assert band.mki_micro is not None
        assert band.mki_micro < 800_000  # of unbiased estimates: the band's own doing
    assert "none" not in verdicts(whole).values()
