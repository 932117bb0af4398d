# SPDX-License-Identifier: Apache-2.0
"""Dates in another notation than ISO 8601: found so that a draft can say so.

They are told, never read: 03/04/2024 is one day in the United States and another in Europe, and a
task is read by people who write either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date

import numpy as np

from valuation.columns import parse_days

_TIME = r"(?:[T ]\d{1,2}:?\d{2}(?::?\d{2}(?:\.\d+)?)?(?: ?[AaPp][Mm])?(?:Z|[+-]\d{2}:?\d{2})?)?"
_NUMERIC = re.compile(r"(\d{1,4})([-/. ])(\d{1,2})\2(\d{1,4})" + _TIME, re.ASCII)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T\d{4,6}Z?)?", re.ASCII)
_MONTH = re.compile(r"(\d{4})[-/](\d{2})", re.ASCII)
_DAY_FIRST = re.compile(r"(\d{1,2})[-. ]{0,2}([A-Za-z]{3,9})\.?[-, ]{1,2}(\d{4}|\d{2})" + _TIME)
_MONTH_FIRST = re.compile(r"([A-Za-z]{3,9})\.? (\d{1,2}),? (\d{4})" + _TIME)
_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_YEARS = range(1700, 2200)


def is_foreign_date(text: str) -> bool:
    """Whether a cell is a day (or a month) in a usual notation that is not YYYY-MM-DD: 12/31/2024,
    31.12.2024, 2024/12/31, 31 Dec 2024, 20241231, 2024-12, or a date with a time of day."""
    return any(found(text) for found in _NOTATIONS)


def _numeric(text: str) -> bool:
    match = _NUMERIC.fullmatch(text)
    if match is None or re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return False
    first, middle, last = match[1], match[3], match[4]
    if len(first) == 4:
        return len(last) <= 2 and _is_day(int(first), int(middle), int(last))
    if len(first) > 2 or len(last) not in (2, 4):
        return False
    year = _full_year(last)
    return _is_day(year, int(middle), int(first)) or _is_day(year, int(first), int(middle))


def _compact(text: str) -> bool:
    match = _COMPACT.fullmatch(text)
    return match is not None and _is_day(int(match[1]), int(match[2]), int(match[3]))


def _month(text: str) -> bool:
    match = _MONTH.fullmatch(text)
    return match is not None and _is_day(int(match[1]), int(match[2]), 1)


def _named(text: str) -> bool:
    match = _DAY_FIRST.fullmatch(text)
    if match is not None:
        return _is_day(_full_year(match[3]), _number_of(match[2]), int(match[1]))
    match = _MONTH_FIRST.fullmatch(text)
    return match is not None and _is_day(int(match[3]), _number_of(match[1]), int(match[2]))


def foreign_dates_remark(column: str, cells: Sequence[str], *, share: float) -> str:
    """Why a text column that holds such dates is left out of a draft, and what to do; empty where
    fewer than `share` of the cells are dates of any notation."""
    foreign = [cell for cell in cells if is_foreign_date(cell)]
    iso = int(np.isfinite(parse_days(cells)).sum())
    if not foreign or len(foreign) + iso < share * len(cells):
        return ""
    many = f"{len(foreign)} of its {len(cells)} dates are" if iso else "its dates are"
    return (
        f"{column!r} is left out: {many} written such as {_shortened(foreign[0])!r}, expected "
        f"YYYY-MM-DD (ISO 8601); {_TO_DO}"
    )


def foreign_days_remark(column: str, cells: Sequence[str], *, share: float) -> str:
    """What to know of a number column whose numbers are days such as 20241231; else empty."""
    days = [cell for cell in cells if _compact(cell)]
    if len(days) < share * len(cells):
        return ""
    return (
        f"{column!r} is drafted as a number, but holds dates such as {_shortened(days[0])!r}; as "
        f"YYYY-MM-DD (ISO 8601) they would be read as dates: {_TO_DO}"
    )


def _shortened(cell: str) -> str:
    return cell[:40]


_TO_DO = "write them so, in the contributors' rows too, and draft again"
_NOTATIONS: Sequence[Callable[[str], bool]] = (_numeric, _compact, _month, _named)


def _number_of(word: str) -> int:
    """1 to 12 for an English name of a month or its beginning; 0 for another word."""
    low = word.lower()
    return next((i for i, name in enumerate(_MONTHS, start=1) if name.startswith(low)), 0)


def _full_year(text: str) -> int:
    return int(text) if len(text) == 4 else 2000 + int(text)


def _is_day(year: int, month: int, day: int) -> bool:
    if year not in _YEARS:
        return False
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
