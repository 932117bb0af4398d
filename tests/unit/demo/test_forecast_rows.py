# SPDX-License-Identifier: Apache-2.0
"""The rows of a forecast: held out, divided, imagined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dao.errors import InputError
from demo.forecast_rows import MOST_TEST_UNITS, Division, divide, hold_out
from valuation.encode import Encoded


def rows(units: np.ndarray, *, located: bool = True, seed: int = 0) -> Encoded:
    random = np.random.default_rng(seed)
    count = len(units)
    return Encoded(
        attributes=random.normal(size=(count, 2)),
        locations=random.normal(size=(count, 2 if located else 0)),
        target=np.arange(count, dtype=np.float64),
        units=units,
        unit_keys=units.astype(np.uint64),
    )


def several_each(count: int, *, seed: int) -> np.ndarray:
    """Units of one to four rows, in a mixed order."""
    random = np.random.default_rng(seed)
    return random.permutation(np.repeat(np.arange(count), random.integers(1, 5, count)))


@settings(max_examples=60, deadline=None)
@given(
    units=st.integers(2, 60),
    share=st.floats(0.01, 1.0),
    division=st.sampled_from(["places", "sizes", "alike"]),
    located=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_everybody_has_a_unit_and_no_unit_is_split(
    units: int, share: float, division: Division, located: bool, seed: int
) -> None:
    table = rows(several_each(units, seed=seed), located=located, seed=seed)
    contributors = max(1, int(units * share))
    owner = divide(table, contributors, division, seed=seed)
    assert owner.shape == (len(table.units),)
    assert set(owner.tolist()) == set(range(contributors))
    for unit in range(units):
        assert len(set(owner[table.units == unit].tolist())) == 1
    assert np.array_equal(owner, divide(table, contributors, division, seed=seed))


def test_alike_means_as_many_units_and_sizes_differ_otherwise() -> None:
    table = rows(np.arange(1003))
    counts = {
        division: np.bincount(divide(table, 10, division, seed=1))
        for division in ("places", "sizes", "alike")
    }
    assert np.ptp(counts["alike"]) == 1
    assert counts["sizes"].max() > 3 * counts["sizes"].min()
    assert counts["places"].max() > 3 * counts["places"].min()


def test_places_give_everyone_a_stretch_of_the_map() -> None:
    """Two contributors: a line parallel to an axis lies between them. Eight: every contributor's
    rows are closer together than random ones by far."""
    table = rows(np.arange(800))
    two = divide(table, 2, "places", seed=3)
    first, second = table.locations[two == 0], table.locations[two == 1]
    assert (first.max(axis=0) < second.min(axis=0)).any()
    spreads = {
        division: np.mean(
            [
                table.locations[owner == place].var(axis=0).sum()
                for owner in [divide(table, 8, division, seed=3)]
                for place in range(8)
            ]
        )
        for division in ("places", "alike")
    }
    assert spreads["places"] < 0.4 * spreads["alike"]


def test_more_contributors_than_units_are_refused() -> None:
    with pytest.raises(InputError, match="3 units for 4 contributors"):
        divide(rows(np.array([0, 1, 1, 2])), 4, "sizes", seed=0)


def test_held_out_rows_are_a_fifth_of_the_units_and_stay_together() -> None:
    table = rows(several_each(500, seed=2))
    train, test = hold_out(table, seed=5)
    assert not set(train.units.tolist()) & set(test.units.tolist())
    assert len(set(test.units.tolist())) == 100
    assert test.target is not None
    assert train.target is not None
    assert sorted([*train.target, *test.target]) == list(range(len(table.units)))


def test_held_out_rows_are_not_more_than_anybody_needs() -> None:
    _, test = hold_out(rows(np.arange(8 * MOST_TEST_UNITS)), seed=0)
    assert len(test.units) == MOST_TEST_UNITS


def test_one_unit_cannot_be_held_out() -> None:
    with pytest.raises(InputError, match="1 usable units"):
        hold_out(rows(np.zeros(4, dtype=np.int64)), seed=0)
