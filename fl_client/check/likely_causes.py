# SPDX-License-Identifier: Apache-2.0
"""What probably went wrong where many cells are refused for one cause: guesses, told as such."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dao.records import DateFeature
from fl_client.check.number_notations import NotationCounts
from fl_client.check.report import ColumnNote
from fl_client.check.values import number_columns
from valuation.columns import Fault, Reading
from valuation.rows import ReadRows
from valuation.schema import MICRO, Schema, location_of

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:?\d{2}.*", re.ASCII | re.DOTALL)
_LONGEST = 40


@dataclass
class _Moments:
    """Cells of a date column that hold more than a day: how many, and the first."""

    rows: int = 0
    first: str = ""

    def add(self, cells: Sequence[str]) -> None:
        found = [cell.strip() for cell in cells if _MOMENT.fullmatch(cell.strip())]
        self.rows += len(found)
        if found and not self.first:
            self.first = found[0][:_LONGEST]


class LikelyCauses:
    """Counts over the blocks of a file."""

    def __init__(self, schema: Schema) -> None:
        self._place = location_of(schema.features)
        self._misplaced = 0
        self._exchanged = 0
        dates = [each.column for each in schema.features if isinstance(each, DateFeature)]
        self._moments: dict[str, _Moments] = {column: _Moments() for column in dates}
        self._numbers: dict[str, NotationCounts] = {
            column: NotationCounts()
            for column, (kind, _) in number_columns(schema).items()
            if kind != "date"
        }
        self._expected: dict[str, str] = {}

    def add(self, read: ReadRows, block: pd.DataFrame) -> None:
        """The readings of one block and its cells."""
        readings = {each.column: each for each in read.readings if Fault.MALFORMED in each.broke}
        if self._place is not None:
            self._add_place(readings[self._place.latitude], readings[self._place.longitude])
        tallies: dict[str, _Moments | NotationCounts] = {**self._moments, **self._numbers}
        for column, tally in tallies.items():
            malformed = readings[column].faults == Fault.MALFORMED
            if malformed.any():
                tally.add(block[column][malformed].tolist())
                self._expected[column] = readings[column].expected

    def notes(self) -> list[ColumnNote]:
        """For a person."""
        found = []
        place = self._place
        if place is not None and self._exchanged * 2 > self._misplaced:
            found.append(
                ColumnNote(
                    place.latitude,
                    "exchanged",
                    f"{place.latitude} and {place.longitude} look exchanged: {self._exchanged:,} of"
                    f" {self._misplaced:,} places out of bounds would be within them the other way"
                    " round; exchange the two columns' names",
                )
            )
        for column, moments in self._moments.items():
            if moments.rows:
                found.append(
                    ColumnNote(
                        column,
                        "time of day",
                        f"{column} holds a time of day or a time zone on"
                        f" {moments.rows:,} rows, such as {moments.first!r}, and the"
                        " task needs days: write the day where it was sold, as YYYY-MM-DD. Of text"
                        " that is the first ten characters; in pandas frame[column].dt.strftime("
                        "'%Y-%m-%d'), after .dt.tz_convert(ZONE) where the zone is not that of the"
                        " sale",
                    )
                )
        for column, counts in self._numbers.items():
            for notation, told in counts.told(column, self._expected.get(column, "")):
                found.append(ColumnNote(column, notation.value, told))
        return found

    def _add_place(self, latitude: Reading, longitude: Reading) -> None:
        assert self._place is not None
        south, north = self._place.south_micro * MICRO, self._place.north_micro * MICRO
        west, east = self._place.west_micro * MICRO, self._place.east_micro * MICRO
        outside = latitude.wrong | longitude.wrong
        other_way = (longitude.parsed >= south) & (longitude.parsed <= north)
        other_way &= (latitude.parsed >= west) & (latitude.parsed <= east)
        self._misplaced += int(outside.sum())
        self._exchanged += int((outside & other_way).sum())
