# SPDX-License-Identifier: Apache-2.0
"""Reading a file once against a task: which rows count, what is wrong with the others, and how the
rest differs from the public rows.

Rows are decided by `valuation.rows.read_rows`, as in training. Memory does not grow with the file,
but for 24 bytes a row (and as many again for a named privacy unit) in which equal rows are found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO

import numpy as np
import pandas as pd

from dao.errors import InputError
from dao.records import CategoryFeature, PrivacyUnit
from fl_client.check.drift import (
    ColumnDrift,
    Drift,
    compare_numbers,
    compare_words,
    other_units,
)
from fl_client.check.likely_causes import LikelyCauses
from fl_client.check.places import compare_places
from fl_client.check.report import (
    ColumnNote,
    CrowdedUnit,
    DataReport,
    Duplicate,
    Duplicates,
    Units,
)
from fl_client.check.tallies import EXAMPLES, Extent, Fingerprints, Rejections, Sample, Words
from fl_client.check.values import WordCounts, number_columns, number_values
from valuation.columns import Fault, Reading
from valuation.csv_table import BLOCK_ROWS
from valuation.rows import input_columns, read_rows
from valuation.schema import Bools, Schema, TableSchema, location_of
from valuation.table import table_blocks

_SAMPLED_VALUES = 2_000_000
_ROW_UNIT = PrivacyUnit(kind="row", column=None, max_rows=1)


def inspect_records(
    file: BinaryIO,
    schema: Schema,
    *,
    name: str,
    public: pd.DataFrame | None,
    no_public: str = "the task names no public rows",
    on_rows: Callable[[int], None] | None = None,
    block_rows: int = BLOCK_ROWS,
) -> DataReport:
    """Read an open CSV or Parquet file block by block against a task's schema.

    Args:
        public: the task's public rows as text cells, where they are at hand.
        no_public: why they are not.
        on_rows: told how many rows were read so far, after each block.

    Raises:
        InputError: the file is no table of the task: see `table_blocks` and `require_input`.
    """
    inspection = Inspection(schema, name)
    for block in table_blocks(file, name=name, rows=block_rows):
        inspection.add(block)
        if on_rows is not None:
            on_rows(inspection.rows)
    return inspection.report(public, no_public)


class Inspection:
    """What was seen of a file so far."""

    def __init__(self, schema: Schema, name: str) -> None:
        self._schema = schema
        self._name = name
        self.rows = 0
        self._place = "line"
        self._unread: tuple[str, ...] = ()
        self._accepted = 0
        self._rejections = Rejections()
        self._row_prints = Fingerprints()
        self._unit_prints = Fingerprints()
        self._extents: dict[str, Extent] = {}
        self._refused_if_missing: set[str] = set()
        self._words = {
            feature.column: Words(feature.column, feature.other)
            for feature in schema.features
            if isinstance(feature, CategoryFeature)
        }
        self._columns = number_columns(schema)
        limit = min(50_000, _SAMPLED_VALUES // len(self._columns))
        self._sample = Sample(len(self._columns) + 1, limit=limit)
        """Numbers of a row, and last whether it was accepted."""
        self._counts = WordCounts(schema)
        self._causes = LikelyCauses(schema)

    def add(self, block: pd.DataFrame) -> None:
        """The next rows of the file. InputError where a column of the task is missing."""
        read = read_rows(self._schema, block, with_target=True)
        lines: list[int] = block.index.tolist()
        if self.rows == 0:
            self._place = str(block.index.name)
            used = input_columns(self._schema, with_target=True)
            self._unread = tuple(str(column) for column in block.columns if column not in used)
        self.rows += len(block)
        self._accepted += int(read.accepted.sum())
        for reading in read.readings:
            self._look_at(reading, block, lines)
        # a cell holds no NUL, so rows that differ give texts that differ
        cells = zip(*(block[column].tolist() for column in block), strict=True)
        self._row_prints.add(map("\0".join, cells), lines)
        self._add_units(block, read.accepted, lines)
        self._sample.add(np.column_stack([number_values(read, self._columns), read.accepted]))
        self._counts.add(read)
        self._causes.add(read, block)

    def _look_at(self, reading: Reading, block: pd.DataFrame, lines: Sequence[int]) -> None:
        column = reading.column
        words = self._words.get(column)
        wrong = bool(reading.wrong.any())
        unseen: Bools = np.zeros(len(lines), dtype=np.bool_)
        if words is not None:
            beyond = len(self._counts.features[column].values)
            unseen = (reading.faults == Fault.UNKNOWN) | (reading.values == beyond)
            unseen &= ~reading.missing
        if wrong or unseen.any():
            cells = block[column].tolist()
            self._rejections.add(reading, cells, lines)
            if words is not None:
                words.add(unseen, cells, lines)
        if set(reading.broke) == {Fault.MISSING}:
            return  # a unit's name has no values
        if Fault.MISSING in reading.broke and bool((reading.faults == Fault.MISSING).any()):
            self._refused_if_missing.add(column)
        values = np.where(reading.missing, np.nan, reading.values)
        self._extents.setdefault(column, Extent(column)).add(reading.missing, values)

    def _add_units(self, block: pd.DataFrame, accepted: Bools, lines: Sequence[int]) -> None:
        column = self._schema.unit.column
        if column is None:
            return
        names = block[column].tolist()
        counted = np.flatnonzero(accepted).tolist()
        self._unit_prints.add((names[i].strip() for i in counted), [lines[i] for i in counted])

    def report(self, public: pd.DataFrame | None, no_public: str) -> DataReport:
        """What was found, beside the public rows."""
        drift = None
        if public is not None:
            drift, no_public = self._drift(public)
        return DataReport(
            file=self._name,
            place=self._place,
            rows=self.rows,
            accepted=self._accepted,
            rejections=self._rejections.result(),
            duplicates=_duplicates(self._row_prints),
            units=self._units(),
            notes=(
                *self._causes.notes(),
                *(note for each in self._extents.values() for note in self._notes(each)),
            ),
            unseen=tuple(found for words in self._words.values() if (found := words.result()).rows),
            unread=self._unread,
            drift=drift,
            no_drift=None if drift is not None else no_public,
        )

    def _units(self) -> Units:
        unit = self._schema.unit
        if unit.column is None:
            return Units(None, self._accepted, 1, 0, 0, ())
        groups = self._unit_prints.groups()
        over = np.maximum(groups.sizes - unit.max_rows, 0)
        crowded = np.flatnonzero(over)
        ranked = crowded[np.lexsort((groups.first_lines[crowded], -groups.sizes[crowded]))]
        return Units(
            column=unit.column,
            units=len(groups.sizes),
            max_rows=unit.max_rows,
            crowded=len(crowded),
            uncounted_rows=int(over.sum()),
            largest=tuple(
                CrowdedUnit(int(groups.first_lines[g]), int(groups.sizes[g]))
                for g in ranked[:EXAMPLES].tolist()
            ),
        )

    def _notes(self, extent: Extent) -> list[ColumnNote]:
        column, refused = extent.column, extent.column in self._refused_if_missing
        if extent.missing == extent.rows:
            then = (
                "and the task refuses a row without it: no row can be used until it is filled"
                if refused
                else "so the model learns nothing from it here"
            )
            return [ColumnNote(column, "empty", f"{column} is empty on every row, {then}")]
        words = self._words.get(column)
        beyond = None if words is None else len(self._counts.features[column].values)
        several_words = words is not None and extent.least == beyond and len(words.found) > 1
        varies = extent.least != extent.greatest or several_words
        if extent.usable < 2 or varies or (extent.missing and not refused):
            return []
        then = (
            "there is nothing to learn from equal prices"
            if column == self._schema.target.column
            else "the model learns nothing from it here; is it filled in at all?"
        )
        return [ColumnNote(column, "constant", f"{column} has one value only: {then}")]

    def _drift(self, public: pd.DataFrame) -> tuple[Drift | None, str]:
        # What unit a public row belongs to does not matter for the comparison.
        schema = TableSchema(self._schema.target, self._schema.features, _ROW_UNIT)
        try:
            read = read_rows(schema, public, with_target=True)
        except InputError as error:
            return None, f"the public rows do not fit the task: {error.message}"
        if not read.accepted.any():
            return None, "no public row fits the task"
        counts = WordCounts(schema)
        counts.add(read)
        theirs = number_values(read, self._columns)[read.accepted]
        whole = self._sample.rows
        ours = whole[whole[:, -1] == 1.0]
        columns: list[ColumnDrift | None] = []
        for i, (column, (kind, scale)) in enumerate(self._columns.items()):
            if kind != "degrees":
                found = compare_numbers(column, theirs[:, i], ours[:, i], kind=kind, scale=scale)
                columns.append(found)
        columns += [
            compare_words(
                column,
                feature.values,
                counts.of(column),
                self._counts.of(column),
                other=feature.other,
            )
            for column, feature in self._counts.features.items()
        ]
        place = location_of(self._schema.features)
        location = None
        if place is not None:
            names = list(self._columns)
            both = [names.index(place.latitude), names.index(place.longitude)]
            location = compare_places(place, theirs[:, both], ours[:, both])
        ranked = sorted(filter(None, columns), key=lambda each: -each.index)
        units = other_units(self._columns, theirs, whole)
        return Drift(int(read.accepted.sum()), len(ours), tuple(ranked), location, units), ""


def _duplicates(prints: Fingerprints) -> Duplicates:
    groups = prints.groups()
    rows = int((groups.sizes - 1).sum())
    found: list[Duplicate] = []
    for g in np.flatnonzero(groups.sizes > 1).tolist():
        first = int(groups.lines[groups.starts[g]])
        again = groups.lines[groups.starts[g] + 1 : groups.starts[g] + groups.sizes[g]]
        found += [Duplicate(int(line), first) for line in again[:EXAMPLES].tolist()]
    found.sort(key=lambda each: each.line)
    return Duplicates(rows, tuple(found[:EXAMPLES]))
