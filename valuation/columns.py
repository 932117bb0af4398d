# SPDX-License-Identifier: Apache-2.0
"""Reading the cells of one feature: the one place where text becomes a number.

`rows.check_frame` and `encode.encode` both read through here, so what passed the check can be
encoded. What happens to a cell depends on that row and on the task alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum

import numpy as np
import numpy.typing as npt
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
from valuation.schema import Bools, Floats, from_micro

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MISSING_NUMBERS = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""Spellings of a missing number (any case). Of a category only the empty cell is missing, since
'None' and 'NA' are values in real data."""


class Fault(IntEnum):
    """What a cell broke. Of several the first counts, so each cell has one."""

    NONE = 0
    MISSING = 1
    MALFORMED = 2
    BELOW = 3
    ABOVE = 4
    UNKNOWN = 5


@dataclass(frozen=True)
class Reading:
    """The cells of one column.

    Attributes:
        column: its name.
        values: float64[n]; NaN where missing or wrong; for a category the index of the value,
            with `len(values)` for other; for a date its proleptic ordinal.
        parsed: float64[n]; as `values`, but numbers and days beyond the bounds are there too.
        missing: bool[n].
        faults: int8[n], a `Fault` each; the row cannot be used where it is not NONE.
        expected: what a cell must be, for a person.
        broke: for each fault that this column can have, the bound that it broke, for a person.
    """

    column: str
    values: Floats
    parsed: Floats
    missing: Bools
    faults: npt.NDArray[np.int8]
    expected: str
    broke: Mapping[Fault, str]

    @property
    def wrong(self) -> Bools:
        """bool[n]: the row cannot be used."""
        return np.asarray(self.faults != Fault.NONE)


def read_feature(feature: Feature, frame: pd.DataFrame) -> tuple[Reading, ...]:
    """Readings of the columns of one feature (a ratio has none of its own)."""
    match feature:
        case NumberFeature():
            return (
                _read_bounded(
                    feature.column,
                    frame[feature.column].tolist(),
                    from_micro(feature.lower_micro),
                    from_micro(feature.upper_micro),
                    "a number",
                    missing_is_wrong=feature.missing == "refuse",
                ),
            )
        case CategoryFeature():
            return (_read_category(feature, frame[feature.column].tolist()),)
        case DateFeature():
            return (_read_date(feature, frame[feature.column].tolist()),)
        case LocationFeature():
            south, north = from_micro(feature.south_micro), from_micro(feature.north_micro)
            west, east = from_micro(feature.west_micro), from_micro(feature.east_micro)
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
        from_micro(target.lower_micro),
        from_micro(target.upper_micro),
        target.currency,
    )


def read_unit(column: str, frame: pd.DataFrame) -> Reading:
    """The cells that name the privacy unit; only an empty one is wrong. They have no values."""
    cells = frame[column].tolist()
    missing = np.fromiter((not cell.strip() for cell in cells), dtype=np.bool_, count=len(cells))
    faults = np.where(missing, Fault.MISSING, Fault.NONE).astype(np.int8)
    nothing = np.full(len(cells), np.nan)
    broke = {Fault.MISSING: "missing"}
    return Reading(column, nothing, nothing, missing, faults, "the privacy unit's name", broke)


def parse_numbers(cells: Sequence[str]) -> tuple[Floats, Bools]:
    """Numbers (NaN where there is none) and which cells are missing; plain decimal notation.

    In ASCII text without underscores Python's own reading of floats accepts the same notation but
    for the words inf and nan; so it reads first, and only what did not come out as a finite number
    is looked at closely.
    """
    joined = "".join(cells)
    quick = joined.isascii() and "_" not in joined
    read = _quick_numbers(cells) if quick else list(map(_exact_number, cells))
    values = np.array(read, dtype=np.float64)
    missing = np.zeros(len(cells), dtype=np.bool_)
    for i in np.flatnonzero(~np.isfinite(values)).tolist():
        cell = cells[i]
        values[i] = _exact_number(cell)
        missing[i] = not cell or cell.strip().lower() in _MISSING_NUMBERS
    return values, missing


def _quick_numbers(cells: Sequence[str]) -> list[float]:
    """What `float` makes of each cell; NaN where it refuses. It takes up again behind such a cell,
    so that good cells are read at the speed of `map`."""
    values: list[float] = []
    rest = iter(cells)
    while len(values) < len(cells):
        try:
            values.extend(map(float, rest))
        except ValueError:
            values.append(math.nan)
    return values


def _exact_number(cell: str) -> float:
    text = cell.strip()
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else math.nan


def parse_days(cells: Sequence[str]) -> Floats:
    """Proleptic ordinal of ISO dates (YYYY-MM-DD); NaN where a cell is none."""
    days = {cell: _day_of(cell.strip()) for cell in dict.fromkeys(cells)}
    return np.fromiter((days[cell] for cell in cells), dtype=np.float64, count=len(cells))


def _day_of(text: str) -> float:
    if not _DATE.fullmatch(text):
        return math.nan
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:  # the 30th of February: has the shape of a date, is none
        return math.nan


def _faults(
    values: Floats, missing: Bools, lower: float, upper: float, *, missing_is_wrong: bool = True
) -> npt.NDArray[np.int8]:
    """Faults of numbers that must lie within bounds (both ends count)."""
    faults = np.zeros(len(values), dtype=np.int8)
    faults[values < lower] = Fault.BELOW
    faults[values > upper] = Fault.ABOVE
    faults[np.isnan(values)] = Fault.MALFORMED
    faults[missing] = Fault.MISSING if missing_is_wrong else Fault.NONE
    return faults


def _read_bounded(
    column: str,
    cells: Sequence[str],
    lower: float,
    upper: float,
    noun: str,
    *,
    missing_is_wrong: bool = True,
) -> Reading:
    parsed, missing = parse_numbers(cells)
    faults = _faults(parsed, missing, lower, upper, missing_is_wrong=missing_is_wrong)
    values = np.where(faults == Fault.NONE, parsed, np.nan)
    expected = f"{noun} from {lower:.12g} to {upper:.12g}"
    broke = {
        Fault.MISSING: "missing",
        Fault.MALFORMED: "not a finite number",
        Fault.BELOW: f"below the lower bound {lower:.12g}",
        Fault.ABOVE: f"above the upper bound {upper:.12g}",
    }
    return Reading(
        column,
        values,
        parsed,
        missing,
        faults,
        expected if missing_is_wrong else expected + ", or empty",
        broke,
    )


def _read_category(feature: CategoryFeature, cells: Sequence[str]) -> Reading:
    index = {value: i for i, value in enumerate(feature.values)}
    other = len(feature.values)
    texts = {cell: cell.strip() for cell in dict.fromkeys(cells)}
    codes = {cell: index.get(text, other) for cell, text in texts.items()}
    count = len(cells)
    values = np.fromiter((codes[cell] for cell in cells), dtype=np.float64, count=count)
    missing = np.fromiter((not texts[cell] for cell in cells), dtype=np.bool_, count=count)
    faults = np.zeros(count, dtype=np.int8)
    if not feature.other:
        faults[values == other] = Fault.UNKNOWN
        faults[missing] = Fault.MISSING
        values[values == other] = np.nan
    listed = ", ".join(feature.values[:12]) + (", ..." if len(feature.values) > 12 else "")
    broke = {Fault.MISSING: "missing", Fault.UNKNOWN: "not among the task's values"}
    return Reading(feature.column, values, values, missing, faults, f"one of: {listed}", broke)


def _read_date(feature: DateFeature, cells: Sequence[str]) -> Reading:
    first = date.fromisoformat(feature.first).toordinal()
    last = date.fromisoformat(feature.last).toordinal()
    parsed = parse_days(cells)
    missing = np.fromiter((not cell.strip() for cell in cells), dtype=np.bool_, count=len(cells))
    faults = _faults(parsed, missing, first, last)
    values = np.where(faults == Fault.NONE, parsed, np.nan)
    broke = {
        Fault.MISSING: "missing",
        Fault.MALFORMED: "not a date",
        Fault.BELOW: f"before {feature.first}",
        Fault.ABOVE: f"after {feature.last}",
    }
    expected = f"a date YYYY-MM-DD from {feature.first} to {feature.last}"
    return Reading(feature.column, values, parsed, missing, faults, expected, broke)
