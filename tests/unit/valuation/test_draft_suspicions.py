# SPDX-License-Identifier: Apache-2.0
"""What a draft says of a target that cannot be learned, of features that are the target, and of
exchanged degrees."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from valuation_world import sales

from dao.errors import InputError
from valuation.draft import draft_task
from valuation.taskfile import LocationSection

FRAME = sales(120, seed=1).drop(columns="owner")
PRICES = FRAME["price"].astype(float)


def _about(frame: pd.DataFrame, column: str) -> list[str]:
    remarks = draft_task(frame, target="price").remarks
    return [each for each in remarks if each.startswith(repr(column)) and "target" in each]


@pytest.mark.parametrize("empty", ["", "NaN", " "])
def test_an_empty_target_is_said_to_be_empty(empty: str) -> None:
    with pytest.raises(InputError, match="target 'price' is empty on all 120 public rows"):
        draft_task(FRAME.assign(price=empty), target="price")


def test_a_target_of_words_and_one_of_equal_numbers_are_told_apart() -> None:
    with pytest.raises(InputError, match=r"0 of 120 non-empty cells are numbers, expected .* 95%$"):
        draft_task(FRAME.assign(price="dear"), target="price")
    with pytest.raises(InputError, match="all equal, 7, and from equal prices"):
        draft_task(FRAME.assign(price="7"), target="price")


@pytest.mark.parametrize(
    ("copy", "words"),
    [
        (PRICES, "equals the target 'price'"),
        (PRICES * 1.19, "is 1.19 times the target 'price'"),
        ((PRICES / 1000).round(2), "is 0.001 times the target 'price'"),
        (-PRICES, "is -1 times the target 'price'"),
        (PRICES.where(np.arange(120) % 30 > 0), "equals the target 'price'"),
    ],
)
def test_a_feature_that_is_a_multiple_of_the_target_is_told(copy: pd.Series, words: str) -> None:
    text = copy.map(lambda value: "" if np.isnan(value) else repr(float(value)))
    (remark,) = _about(FRAME.assign(dearness=text), "dearness")
    assert words in remark


def test_what_merely_moves_with_the_target_is_not_told() -> None:
    noisy = PRICES * np.random.default_rng(0).normal(1.0, 0.02, len(PRICES))
    frame = FRAME.assign(estimate=noisy.map(repr), shifted=(PRICES + 50_000).map(repr))
    told = draft_task(frame, target="price").remarks
    assert not any("times the target" in each or "equals the target" in each for each in told)


def test_degrees_that_only_fit_exchanged_are_told() -> None:
    west = FRAME.assign(lat="48." + FRAME.index.astype(str), lon="-120." + FRAME.index.astype(str))
    right = draft_task(west, target="price")
    assert any(isinstance(each, LocationSection) for each in right.features)
    assert not any("exchanged" in each for each in right.remarks)
    wrong = draft_task(west.rename(columns={"lat": "lon", "lon": "lat"}), target="price")
    assert not any(isinstance(each, LocationSection) for each in wrong.features)
    assert any("'lat' and 'lon' look exchanged" in each for each in wrong.remarks)
