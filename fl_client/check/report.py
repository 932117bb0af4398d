# SPDX-License-Identifier: Apache-2.0
"""What a data check found. It quotes private cells: as private as the records themselves."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from fl_client.check.drift import Drift

STAYS_HERE = (
    "Made on this machine from your records, and quotes them. Nothing of it was sent anywhere; "
    "keep it as private as the records."
)


@dataclass(frozen=True)
class Example:
    """A cell that broke a bound. `line` is that of the file, or the row's number (Parquet)."""

    line: int
    value: str


@dataclass(frozen=True)
class Rejection:
    """All rows that one column's bound keeps out: how many, and the first of them."""

    column: str
    broke: str
    expected: str
    rows: int
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Duplicate:
    """A row that equals an earlier one in every column."""

    line: int
    first_line: int


@dataclass(frozen=True)
class Duplicates:
    """Rows equal to an earlier row. They count: whether a row counts may depend on its own unit
    alone."""

    rows: int
    examples: tuple[Duplicate, ...]


@dataclass(frozen=True)
class CrowdedUnit:
    """A privacy unit with more accepted rows than count; its first one stands on `first_line`."""

    first_line: int
    rows: int


@dataclass(frozen=True)
class Units:
    """Privacy units among the accepted rows. Of each, the first `max_rows` in file order count."""

    column: str | None
    units: int
    max_rows: int
    crowded: int
    uncounted_rows: int
    largest: tuple[CrowdedUnit, ...]


@dataclass(frozen=True)
class ColumnNote:
    """What one column's cells have in common: `problem` is constant or empty (it tells the model
    nothing), exchanged (latitude with longitude), time of day (where a day is needed), or how
    numbers are written (`fl_client.check.number_notations.Notation`)."""

    column: str
    problem: str
    told: str

    @property
    def is_cause(self) -> bool:
        """Whether it is a guess why cells are refused, not a word on a column that says nothing."""
        return self.problem not in ("constant", "empty")


@dataclass(frozen=True)
class UnseenValue:
    """A word that the task does not list."""

    value: str
    rows: int
    first_line: int


@dataclass(frozen=True)
class UnseenWords:
    """Words of a category column that the task does not list, the most frequent first.
    `further_rows` hold words beyond the first thousand different ones."""

    column: str
    rows: int
    counted_as_other: bool
    values: tuple[UnseenValue, ...]
    further_rows: int


@dataclass(frozen=True)
class DataReport:
    """One file against one task.

    Attributes:
        file: its name.
        place: what a row's number is: `line` of a CSV file, `row` of a Parquet file.
        rows, accepted: all rows, and those that the task can use.
        rejections: why the others cannot be used; a row may appear under several reasons.
        unread: columns that the task does not read.
        drift: the accepted rows beside the public rows; None where there are none.
        no_drift: why there is no comparison.
    """

    file: str
    place: str
    rows: int
    accepted: int
    rejections: tuple[Rejection, ...]
    duplicates: Duplicates
    units: Units
    notes: tuple[ColumnNote, ...]
    unseen: tuple[UnseenWords, ...]
    unread: tuple[str, ...]
    drift: Drift | None
    no_drift: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: numbers that are none become null; every quoted problem in file order."""
        problems = [
            {
                "line": example.line,
                "column": rejection.column,
                "value": example.value,
                "expected": rejection.expected,
                "broke": rejection.broke,
            }
            for rejection in self.rejections
            for example in rejection.examples
        ]
        return {
            "file": self.file,
            "place": self.place,
            "rows": self.rows,
            "rows_that_count": self.accepted - self.units.uncounted_rows,
            "rows_accepted": self.accepted,
            "rows_rejected": self.rows - self.accepted,
            "problems": sorted(problems, key=lambda problem: int(str(problem["line"]))),
            "problems_in_all": sum(rejection.rows for rejection in self.rejections),
            "reasons": [
                {"column": each.column, "broke": each.broke, "rows": each.rows}
                for each in self.rejections
            ],
            "duplicates": self.duplicates.rows,
            "duplicate_rows": [asdict(each) for each in self.duplicates.examples],
            "units": asdict(self.units),
            "columns": [asdict(note) for note in self.notes],
            "unseen": [asdict(words) for words in self.unseen],
            "unread_columns": list(self.unread),
            "drift": None if self.drift is None else _plain(asdict(self.drift)),
            "no_drift": self.no_drift,
            "stays_here": STAYS_HERE,
        }


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
