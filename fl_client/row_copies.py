# SPDX-License-Identifier: Apache-2.0
"""Rows picked out, and copies of one row added to others as units of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from valuation.family import Prepared
from valuation.private_rows import CalibrationRows, PrivateRows
from valuation.schema import Ints


@dataclass(frozen=True)
class SurveyRows:
    """Training rows, and int64[n], the survey cell of each."""

    prepared: Prepared
    cells: Ints


AnyRows = Prepared | CalibrationRows | SurveyRows
Rows = TypeVar("Rows", Prepared, CalibrationRows, SurveyRows)


def taken(rows: Rows, places: Ints) -> Rows:
    """The rows at these places, in that order."""
    found: Rows = _mapped(lambda _, array: np.array(array[places]), rows)
    return found


def spread(rows: AnyRows, count: int) -> Ints:
    """Up to `count` places of rows, evenly spread."""
    n = len(_units_of(rows))
    return np.unique(np.linspace(0, n - 1, min(n, count)).astype(np.int64))


def with_copies(beside: PrivateRows, row: AnyRows, *, units: int, rows: int) -> PrivateRows:
    """The rows beside and as many new units, each of so many copies of one row; they go where that
    row is from."""
    match row:
        case Prepared():
            return dataclasses.replace(beside, training=_joined(beside.training, row, units, rows))
        case SurveyRows():
            assert beside.survey is not None
            own = _joined(SurveyRows(beside.training, beside.survey), row, units, rows)
            return dataclasses.replace(beside, training=own.prepared, survey=own.cells)
        case CalibrationRows():
            assert beside.calibration is not None
            joined = _joined(beside.calibration, row, units, rows)
            return dataclasses.replace(beside, calibration=joined)


def _joined(beside: Rows, row: Rows, units: int, rows: int) -> Rows:
    first = 1 + int(_units_of(beside).max(initial=-1))
    labels = first + np.repeat(np.arange(units), rows)
    copies = np.zeros(len(labels), dtype=np.int64)
    found: Rows = _mapped(
        lambda name, one, other: np.concatenate(
            [one, labels if name == "units" else other[copies]]
        ),
        beside,
        row,
    )
    return found


def _mapped(function: Callable[..., Any], *rows: Any, name: str = "") -> Any:
    """Rows of which each array is `function` of its name and of the arrays of that name."""
    first = rows[0]
    if isinstance(first, np.ndarray):
        return function(name, *rows)
    names = [field.name for field in dataclasses.fields(first)]
    parts = {
        each: _mapped(function, *(getattr(one, each) for one in rows), name=each) for each in names
    }
    return type(first)(**parts)


def _units_of(rows: AnyRows) -> Ints:
    return rows.units if isinstance(rows, Prepared) else rows.prepared.units
