# SPDX-License-Identifier: Apache-2.0
"""Reading the cells of one feature: the one place where text becomes a number.

`rows.check_frame` and `encode.encode` both read through here, so what passed the check can be
encoded. What happens to a cell depends on that row and on the task alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from dao.records import (
    CategoryFeature,
    DateFeature,
    Feature,
    LocationFeature,
    NumberFeature,
    RatioFeature,
    Target,
)
from valuation.schema import MICRO, Bools, Floats

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MISSING_NUMBERS = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""Spellings of a missing number (any case). Of a category only the empty cell is missing, since
'None' and 'NA' are values in real data."""


@dataclass(frozen=True)
class Reading:
    """The cells of one column.

    Attributes:
        column: its name.
        values: float64[n]; NaN where missing or wrong; for a category the index of the value,
            with `len(values)` for other.
        missing: bool[n].
        wrong: bool[n]: the row cannot be used.
        expected: what a cell must be, for a person.
    """

    column: str
    values: Floats
    missing: Bools
    wrong: Bools
    expected: str


def read_feature(feature: Feature, frame: pd.DataFrame) -> tuple[Reading, ...]:
    """Readings of the columns of one feature (a ratio has none of its own)."""
    match feature:
        case NumberFeature():
            cells = frame[feature.column].tolist()
            return (_read_number(feature, cells),)
        case CategoryFeature():
            return (_read_category(feature, frame[feature.column].tolist()),)
        case DateFeature():
            return (_read_date(feature, frame[feature.column].tolist()),)
        case LocationFeature():
            south, north = feature.south_micro * MICRO, feature.north_micro * MICRO
            west, east = feature.west_micro * MICRO, feature.east_micro * MICRO
            return (
                _read_bounded(
                    feature.latitude, frame[feature.latitude].tolist(), south, north, "degrees"
                ),
                _read_bounded(
                    feature.longitude, frame[feature.longitude].tolist(), west, east, "degrees"
                ),
            )
        case RatioFeature():
            return ()


def read_target(target: Target, frame: pd.DataFrame) -> Reading:
    """The target's cells in its own currency."""
    return _read_bounded(
        target.column,
        frame[target.column].tolist(),
        target.lower_micro * MICRO,
        target.upper_micro * MICRO,
        target.currency,
    )


def parse_numbers(cells: Sequence[str]) -> tuple[Floats, Bools]:
    """Numbers (NaN where there is none) and which cells are missing; plain decimal notation."""
    values = np.full(len(cells), np.nan)
    missing = np.zeros(len(cells), dtype=np.bool_)
    for i, cell in enumerate(cells):
        text = cell.strip()
        if text.lower() in _MISSING_NUMBERS:
            missing[i] = True
        elif _NUMBER.fullmatch(text):
            value = float(text)
            if math.isfinite(value):
                values[i] = value
    return values, missing


def parse_days(cells: Sequence[str]) -> Floats:
    """Proleptic ordinal of ISO dates (YYYY-MM-DD); NaN where a cell is none."""
    values = np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        day = _day_of(cell.strip())
        if day is not None:
            values[i] = day
    return values


def _day_of(text: str) -> int | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:  # the 30th of February: has the shape of a date, is none
        return None


def _read_bounded(
    column: str, cells: Sequence[str], lower: float, upper: float, noun: str
) -> Reading:
    values, missing = parse_numbers(cells)
    # NaN compares false, so what is no number is wrong as well.
    wrong = ~((values >= lower) & (values <= upper))
    values[wrong] = np.nan
    return Reading(column, values, missing, wrong, f"{noun} from {lower:.12g} to {upper:.12g}")


def _read_number(feature: NumberFeature, cells: Sequence[str]) -> Reading:
    lower, upper = feature.lower_micro * MICRO, feature.upper_micro * MICRO
    reading = _read_bounded(feature.column, cells, lower, upper, "a number")
    if feature.missing == "refuse":
        return reading
    return Reading(
        feature.column,
        reading.values,
        reading.missing,
        reading.wrong & ~reading.missing,
        reading.expected + ", or empty",
    )


def _read_category(feature: CategoryFeature, cells: Sequence[str]) -> Reading:
    index = {value: i for i, value in enumerate(feature.values)}
    other = len(feature.values)
    texts = [cell.strip() for cell in cells]
    values = np.array([index.get(text, other) for text in texts], dtype=np.float64)
    missing = np.array([text == "" for text in texts], dtype=np.bool_)
    if feature.other:
        wrong = np.zeros(len(cells), dtype=np.bool_)
    else:
        wrong = values == other
        values[wrong] = np.nan
    listed = ", ".join(feature.values[:12]) + (", ..." if len(feature.values) > 12 else "")
    return Reading(feature.column, values, missing, wrong, f"one of: {listed}")


def _read_date(feature: DateFeature, cells: Sequence[str]) -> Reading:
    first = date.fromisoformat(feature.first).toordinal()
    last = date.fromisoformat(feature.last).toordinal()
    values = parse_days(cells)
    missing = np.array([cell.strip() == "" for cell in cells], dtype=np.bool_)
    wrong = ~((values >= first) & (values <= last))
    values[wrong] = np.nan
    expected = f"a date YYYY-MM-DD from {feature.first} to {feature.last}"
    return Reading(feature.column, values, missing, wrong, expected)
