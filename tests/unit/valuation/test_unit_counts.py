# SPDX-License-Identifier: Apache-2.0
"""How far one unit moves the histogram of a survey: counted row by row."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from valuation.unit_counts import row_shares, survey_histogram

CELLS = 5

Rows = list[tuple[int, int]]
"""(unit, cell) of each row, in the order of the file."""

rows_of = st.lists(st.tuples(st.integers(0, 6), st.integers(0, CELLS - 1)), max_size=40)


def plainly(rows: Rows, max_rows: int) -> list[float]:
    """Each unit alone: the cells of its first rows, as shares of one."""
    counts = [0.0] * CELLS
    for unit in dict.fromkeys(unit for unit, _ in rows):
        cells = [cell for each, cell in rows if each == unit][:max_rows]
        for cell in cells:
            counts[cell] += 1.0 / len(cells)
    return counts


def histogram(rows: Rows, max_rows: int) -> np.ndarray:
    units = np.array([unit for unit, _ in rows], dtype=np.int64)
    cells = np.array([cell for _, cell in rows], dtype=np.int64)
    return survey_histogram(cells, units, max_rows=max_rows, length=CELLS)


@settings(max_examples=300, deadline=None)
@given(rows=rows_of, max_rows=st.integers(1, 4))
def test_a_histogram_is_that_of_each_unit_alone_added_up(rows: Rows, max_rows: int) -> None:
    np.testing.assert_allclose(histogram(rows, max_rows), plainly(rows, max_rows), atol=1e-12)


@settings(max_examples=300, deadline=None)
@given(
    rows=rows_of,
    own=st.lists(st.integers(0, CELLS - 1), min_size=1, max_size=12),
    places=st.lists(st.integers(0, 60), min_size=12, max_size=12),
    max_rows=st.integers(1, 4),
)
@example(rows=[(0, 1), (0, 1)], own=[2] * 12, places=[0] * 12, max_rows=4)
def test_promise_1_a_unit_moves_a_histogram_by_at_most_1(
    rows: Rows, own: list[int], places: list[int], max_rows: int
) -> None:
    """Of several rows, of more than count, in several cells, anywhere between those of others;
    so what one unit can change is what the noise of a survey is paid for."""
    with_it = list(rows)
    for cell, place in zip(own, places, strict=False):
        with_it.insert(place % (len(with_it) + 1), (99, cell))
    moved = histogram(with_it, max_rows) - histogram(rows, max_rows)
    assert math.sqrt(float(moved @ moved)) <= 1.0 + 1e-12
    assert moved.min() > -1e-12
    assert abs(moved.sum() - 1.0) < 1e-12
    if len(set(own[:max_rows])) == len(set(own)) == 1:
        assert moved[own[0]] > 1.0 - 1e-12


@settings(max_examples=100, deadline=None)
@given(rows=rows_of, max_rows=st.integers(1, 4))
def test_of_a_unit_the_first_rows_count_and_share_one(rows: Rows, max_rows: int) -> None:
    units = np.array([unit for unit, _ in rows], dtype=np.int64)
    shares = row_shares(units, max_rows)
    for unit in set(units.tolist()):
        own = shares[units == unit]
        assert (own[max_rows:] == 0.0).all()
        assert np.allclose(own[:max_rows], 1.0 / min(len(own), max_rows))


def test_no_rows_give_an_empty_histogram() -> None:
    assert histogram([], 3).tolist() == [0.0] * CELLS
