# SPDX-License-Identifier: Apache-2.0
"""Rows as people bring them, checked against the task's schema: tables and single requests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from dao.errors import InputError, RowError
from dao.records import CategoryFeature, DateFeature, Feature
from valuation.columns import Fault, Reading, read_feature, read_target, read_unit
from valuation.csv_table import parse_csv
from valuation.schema import Bools, Schema, feature_columns

__all__ = [
    "FrameCheck",
    "ReadRows",
    "RowProblem",
    "check_frame",
    "input_columns",
    "parse_csv",
    "parse_row",
    "read_rows",
    "require_columns",
    "require_input",
]


@dataclass(frozen=True)
class RowProblem:
    """Why one row cannot be used. `line` is the line of a CSV file on which the row starts, or the
    number of a Parquet file's row; `broke` is the bound that the value broke."""

    line: int
    column: str
    value: str
    expected: str
    broke: str


@dataclass(frozen=True)
class FrameCheck:
    """Which rows can be used.

    Attributes:
        accepted: bool[n].
        problems: every problem of every refused row, in file order.
        duplicates: rows that equal an earlier row in every column. They are counted, not
            removed: whether a row counts may depend on its own unit alone.
    """

    accepted: Bools
    problems: tuple[RowProblem, ...]
    duplicates: int


@dataclass(frozen=True)
class ReadRows:
    """Rows as numbers, and which can be used.

    Attributes:
        readings: of every column that the task reads, one for each thing that it must be; the
            target and the unit last.
        accepted: bool[n].
    """

    readings: tuple[Reading, ...]
    accepted: Bools


def require_columns(
    frame: pd.DataFrame, columns: tuple[str, ...], *, name: str | None = None
) -> None:
    """Refuse a frame that lacks a column. `name` is by default that of the file it was read from.

    Raises:
        InputError: names the missing columns and lists those that came.
    """
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InputError(
            f"{name or frame.attrs.get('name', 'the table')}: missing column"
            f"{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing))}",
            hint="Columns that came: "
            + ", ".join(map(str, frame.columns))
            + ". Rename or add what is missing.",
        )


def input_columns(schema: Schema, *, with_target: bool) -> tuple[str, ...]:
    """Columns that a file must have: features, and for training the target and the unit."""
    columns = feature_columns(schema.features)
    if with_target:
        columns += (schema.target.column,)
        if schema.unit.column is not None and schema.unit.column not in columns:
            columns += (schema.unit.column,)
    return columns


def require_input(schema: Schema, frame: pd.DataFrame, *, with_target: bool) -> None:
    """Refuse a frame without a column that the task reads, and say what the column is for.

    Raises:
        InputError: names the missing columns and lists those that came.
    """
    lost = [
        column
        for column in input_columns(schema, with_target=with_target)
        if column not in frame.columns
    ]
    unit = schema.unit.column
    if with_target and unit in lost:
        others = ", ".join(repr(column) for column in lost if column != unit)
        raise InputError(
            f"{frame.attrs.get('name', 'the table')}: missing column {unit!r}, which names the "
            "privacy unit of each row" + (f"; also missing: {others}" if others else ""),
            hint="Without it nobody can say which rows belong together (one owner, one property), "
            "so none can be used. Columns that came: " + ", ".join(map(str, frame.columns)) + ".",
        )
    require_columns(frame, tuple(lost))


def read_rows(schema: Schema, frame: pd.DataFrame, *, with_target: bool) -> ReadRows:
    """Read every cell that the task reads. What becomes of a row depends on that row alone, so a
    table may be read in blocks.

    Raises:
        InputError: a column is missing.
    """
    require_input(schema, frame, with_target=with_target)
    readings: dict[tuple[str, str], Reading] = {}
    for feature in schema.features:
        for reading in read_feature(feature, frame):
            # One column may serve two features, each with bounds of its own.
            key = (reading.column, reading.expected)
            first = readings.setdefault(key, reading)
            if first is not reading:
                faults = np.where(first.faults != Fault.NONE, first.faults, reading.faults)
                readings[key] = replace(first, faults=faults)
    found = list(readings.values())
    if with_target:
        found.append(read_target(schema.target, frame))
        if schema.unit.column is not None:
            found.append(read_unit(schema.unit.column, frame))
    accepted = np.ones(len(frame), dtype=np.bool_)
    for reading in found:
        accepted &= ~reading.wrong
    return ReadRows(tuple(found), accepted)


def check_frame(schema: Schema, frame: pd.DataFrame, *, with_target: bool) -> FrameCheck:
    """Check every row against the schema; out-of-bounds rows are refused, never clipped.

    Raises:
        InputError: a column is missing.
    """
    rows = read_rows(schema, frame, with_target=with_target)
    found: list[tuple[int, RowProblem]] = []
    lines = frame.index.tolist()
    for reading in rows.readings:
        wrong = np.flatnonzero(reading.wrong).tolist()
        cells = frame[reading.column].tolist() if wrong else []
        for i in wrong:
            broke = reading.broke[Fault(reading.faults[i])]
            problem = RowProblem(lines[i], reading.column, cells[i], reading.expected, broke)
            found.append((i, problem))
    found.sort(key=lambda pair: pair[0])
    problems = tuple(problem for _, problem in found)
    return FrameCheck(rows.accepted, problems, int(frame.duplicated().sum()))


def parse_row(schema: Schema, row: Mapping[str, object]) -> pd.DataFrame:
    """One request as a frame of one row, ready for `encode`.

    Numbers come as numbers or as their decimal text, categories and dates as text; a missing
    value as null or not at all. NaN, infinities, booleans and unknown fields are refused.

    Raises:
        RowError: names the field, what came and what is allowed.
    """
    columns = feature_columns(schema.features)
    for field in row:
        if field not in columns:
            raise RowError(
                field=str(field)[:100],
                got="an unknown field",
                expected="one of: " + ", ".join(columns),
            )
    kinds = _kinds(schema.features)
    cells = {column: _cell(column, kinds[column], row.get(column)) for column in columns}
    frame = pd.DataFrame([cells], index=pd.Index([1], name="line"), dtype=object)
    for feature in schema.features:
        for reading in read_feature(feature, frame):
            if reading.wrong[0]:
                came = row.get(reading.column)
                got = "nothing" if came is None or came == "" else _shown(came)
                raise RowError(field=reading.column, got=got, expected=reading.expected)
    return frame


def _kinds(features: tuple[Feature, ...]) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for feature in features:
        text = isinstance(feature, CategoryFeature | DateFeature)
        for column in feature_columns((feature,)):
            kinds[column] = "text" if text else "number"
    return kinds


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _cell(column: str, kind: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if kind == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, int) and abs(value) >= 1 << 64:
            raise RowError(field=column, got="an integer of over 64 bits", expected="a number")
        if not math.isfinite(value):
            raise RowError(field=column, got=_shown(value), expected="a finite number")
        return repr(value)
    expected = "a number" if kind == "number" else "text"
    raise RowError(field=column, got=f"{type(value).__name__} {_shown(value)}", expected=expected)
