# SPDX-License-Identifier: Apache-2.0
"""Tables from elsewhere: numbers in other notations, owners with several rows, places that are
missing or lie round the world, prices at their very bound."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from valuation_world import sales

from dao.errors import InputError
from dao.records import PrivacyUnit
from valuation.bounds import generous_bounds
from valuation.csv_table import parse_csv
from valuation.draft import draft_task
from valuation.foreign_numbers import is_foreign_number
from valuation.rows import check_frame
from valuation.schema import TableSchema
from valuation.standard import standard_features, standard_target
from valuation.taskfile import CategorySection, LocationSection, NumberSection

FRAME = sales(120, seed=1).drop(columns="owner")
RANDOM = np.random.default_rng(7)


def _remarks(frame: pd.DataFrame) -> str:
    return "\n".join(draft_task(frame, target="price").remarks)


@pytest.mark.parametrize(
    "text",
    ["1,234.50", "1.234,50", "12,5", "$99", "-$1,234", "99 EUR", "CHF 1'234.00", "45%", "1 234"],
)
def test_numbers_in_other_notations_are_known(text: str) -> None:
    assert is_foreign_number(text)


@pytest.mark.parametrize("text", ["1234.5", "-7", "", "3 rooms", "A 12", "12-14", "1,2,3", "EUR"])
def test_plain_numbers_and_words_are_not_taken_for_them(text: str) -> None:
    assert not is_foreign_number(text)


def test_a_column_of_such_numbers_is_left_out_and_said() -> None:
    commas = [f"{value:.2f}".replace(".", ",") for value in RANDOM.uniform(1, 99, 120)]
    draft = draft_task(FRAME.assign(depth=commas), target="price")
    assert not any("depth" in str(feature) for feature in draft.features)
    (remark,) = [each for each in draft.remarks if "depth" in each]
    assert commas[0] in remark
    assert "decimal point" in remark


def test_a_target_in_such_a_notation_is_shown() -> None:
    dollars = FRAME["price"].astype(float).map("${:,.2f}".format)
    with pytest.raises(InputError) as refused:
        draft_task(FRAME.assign(price=dollars), target="price")
    assert f"written such as '{dollars.iloc[0]}'" in refused.value.message


def test_owners_with_several_rows_are_no_quantity_and_are_told() -> None:
    owners = [str(number) for number in RANDOM.integers(1000, 1060, 120)]
    draft = draft_task(FRAME.assign(seller_id=owners), target="price")
    kept = [each for each in draft.features if getattr(each, "column", "") == "seller_id"]
    assert all(isinstance(each, CategorySection) for each in kept)
    assert "'seller_id' stands on several rows with one value" in "\n".join(draft.remarks)
    rooms = draft_task(FRAME.assign(paid=owners), target="price")
    assert any(isinstance(each, NumberSection) and each.column == "paid" for each in rooms.features)
    assert "several rows" not in "\n".join(rooms.remarks)


def test_rows_without_a_place_are_told() -> None:
    assert "no place" not in _remarks(FRAME)
    lat = FRAME["lat"].where(np.arange(120) % 3 > 0, "")
    assert "'lat' and 'lon': 40 of 120 public rows have no place" in _remarks(FRAME.assign(lat=lat))


def test_places_on_both_sides_of_the_date_line_are_told() -> None:
    east = np.where(np.arange(120) % 2 == 0, 179.5, -179.5) + RANDOM.uniform(-0.4, 0.4, 120)
    frame = FRAME.assign(lon=[f"{value:.4f}" for value in east])
    assert "degrees of longitude" in _remarks(frame)
    assert "degrees of longitude" not in _remarks(FRAME)


def test_degrees_are_found_under_other_names() -> None:
    frame = FRAME.rename(columns={"lat": "Breitengrad", "lon": "Längengrad"})
    (place,) = [
        each
        for each in draft_task(frame, target="price").features
        if isinstance(each, LocationSection)
    ]
    assert (place.latitude, place.longitude) == ("Breitengrad", "Längengrad")


def test_numbers_without_measure_are_left_out_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    frame = FRAME.assign(huge=[repr(float(v)) for v in RANDOM.normal(size=120) * 1e300])
    assert "'huge' is left out: its numbers are too large" in _remarks(frame)
    assert not recwarn.list


def test_a_few_rows_show_no_cap() -> None:
    """Of forty prices the highest stands on one row, which is more than 2 % of them."""
    prices = np.exp(RANDOM.normal(12, 0.5, 40))
    lower, upper = generous_bounds(prices, log=True, keep_caps=True)
    assert lower < prices.min() * 0.9
    assert upper > prices.max() * 1.1


@pytest.mark.parametrize("cap", ["78624.85", "999.99", "0.07", "500001"])
def test_a_price_at_its_very_bound_counts(cap: str) -> None:
    """78624.85 is no float: bounds from integers must meet what the text reads as."""
    prices = [cap, *(f"{float(cap) * share:.6f}" for share in RANDOM.uniform(0.1, 0.9, 59))]
    frame = pd.DataFrame({"price": [cap] * 6 + prices, "size": [str(i * i) for i in range(66)]})
    draft = draft_task(frame, target="price")
    assert draft.target.upper == float(cap)
    schema = TableSchema(
        target=standard_target(draft.target, None),
        features=standard_features(draft.features, None),
        unit=PrivacyUnit(kind="row", column=None, max_rows=1),
    )
    assert check_frame(schema, frame, with_target=True).accepted.all()


def test_where_no_column_is_left_it_is_said_why() -> None:
    frame = pd.DataFrame({"price": FRAME["price"], "kind": "flat", "depth": "1,5"})
    with pytest.raises(InputError, match=r"'kind' is left out: .*'depth' is left out: "):
        draft_task(frame, target="price")


def test_a_parquet_file_of_public_rows_is_named_as_what_it_is() -> None:
    with pytest.raises(InputError, match=r"p.csv is a Parquet file, expected CSV"):
        parse_csv(b"PAR1\x15\x04\x00", name="p.csv")
