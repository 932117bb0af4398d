# SPDX-License-Identifier: Apache-2.0
"""How much each row counts in a histogram of which one unit moves at most 1."""

from __future__ import annotations

import numpy as np

from valuation.schema import Floats, Ints


def row_shares(units: Ints, max_rows: int) -> Floats:
    """float64[n]: of a unit the first `max_rows` rows count, each 1/m of its m; the others 0.

    Args:
        units: int64[n], equal for rows of one unit.
    """
    counted = _place_in_unit(units) < max_rows
    _, unit, sizes = np.unique(units[counted], return_inverse=True, return_counts=True)
    shares = np.zeros(len(units))
    shares[counted] = 1.0 / sizes[unit]
    return shares


def survey_histogram(cells: Ints, units: Ints, *, max_rows: int, length: int) -> Floats:
    """The private sum that one contributor releases with noise in a survey, float64[length]: its
    units in each cell. Adding or removing a unit moves it by at most 1 in Euclidean norm.

    Args:
        cells: int64[n], the cell of each row, below `length`. units: int64[n], of each row.
    """
    counts = np.zeros(length)
    np.add.at(counts, cells, row_shares(units, max_rows))
    return counts


def _place_in_unit(units: Ints) -> Ints:
    """int64[n]: how many earlier rows each row's unit has."""
    order = np.argsort(units, kind="stable")
    _, first, sizes = np.unique(units[order], return_index=True, return_counts=True)
    place = np.empty(len(units), dtype=np.int64)
    place[order] = np.arange(len(units)) - np.repeat(first, sizes)
    return place
