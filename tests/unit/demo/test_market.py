# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from dao.errors import InputError
from demo.market import EAST, NORTH, SOUTH, TARGET, WEST, generate_market


def test_same_arguments_give_the_same_rows_and_another_seed_gives_others() -> None:
    pd.testing.assert_frame_equal(generate_market(300, 7), generate_market(300, 7))
    assert not generate_market(300, 7).equals(generate_market(300, 8))


def test_values_are_plausible() -> None:
    market = generate_market(5000, 1)
    assert len(market) == 5000
    assert not market.isna().any().any()
    assert market["latitude"].between(SOUTH, NORTH).all()
    assert market["longitude"].between(WEST, EAST).all()
    assert market["quality"].isin([1, 2, 3, 4, 5]).all()
    assert set(market["property_type"]) == {
        "apartment", "detached", "terraced", "semi-detached", "studio", "penthouse",
    }  # fmt: skip
    dates = pd.to_datetime(market["sale_date"], format="%Y-%m-%d")
    assert dates.min() >= pd.Timestamp(2019, 1, 1)
    assert dates.max() < pd.Timestamp(2025, 1, 1)
    assert 100_000 < market[TARGET].median() < 400_000
    assert (market[TARGET] > 10_000).all()


def test_missing_location_and_categories_are_as_asked() -> None:
    market = generate_market(4000, 2, missing=0.25, location=False, categories=9)
    assert "latitude" not in market
    assert "longitude" not in market
    assert market["property_type"].nunique() == 9
    for column in ("plot_area_m2", "quality"):
        assert market[column].isna().mean() == pytest.approx(0.25, abs=0.03)
    assert not market[TARGET].isna().any()
    assert generate_market(50, 2, categories=1)["property_type"].nunique() == 1


def test_location_and_shape_are_worth_learning() -> None:
    """A linear model explains about 70 % of the log price, a model with shape about 90 %."""
    market = generate_market(12_000, 3)
    days = pd.to_datetime(market["sale_date"]).map(pd.Timestamp.toordinal)
    inputs = pd.get_dummies(market.drop(columns=[TARGET, "sale_date"])).astype(float)
    inputs["day"] = days
    log_price = np.log(market[TARGET].to_numpy())
    train, test = slice(0, 9000), slice(9000, None)
    linear = LinearRegression().fit(inputs[train], log_price[train])
    shaped = HistGradientBoostingRegressor(random_state=0).fit(inputs[train], log_price[train])
    linear_r2 = linear.score(inputs[test], log_price[test])
    shaped_r2 = shaped.score(inputs[test], log_price[test])
    assert 0.55 < linear_r2 < 0.82
    assert 0.84 < shaped_r2 < 0.96
    assert shaped_r2 > linear_r2 + 0.08


def test_heavy_tail_adds_odd_sales_and_leaves_the_rest() -> None:
    plain = generate_market(20_000, 4)
    heavy = generate_market(20_000, 4, heavy_tail=True)
    shift = np.abs(np.log(heavy[TARGET] / plain[TARGET]))
    assert 0.005 < (shift > 0.1).mean() < 0.025
    assert shift.max() > 0.8
    assert (shift < 0.01).mean() > 0.95


@pytest.mark.parametrize(
    ("rows", "categories", "missing"), [(0, 6, 0.0), (10, 0, 0.0), (10, 6, 1.0), (10, 6, -0.1)]
)
def test_nonsense_is_refused(rows: int, categories: int, missing: float) -> None:
    with pytest.raises(InputError, match="market of"):
        generate_market(rows, 0, categories=categories, missing=missing)
