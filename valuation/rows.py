# SPDX-License-Identifier: Apache-2.0
"""Rows as people bring them: CSV files and single requests, checked against the task's schema."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dao.errors import InputError, RowError
from dao.records import CategoryFeature, DateFeature, Feature
from valuation.columns import Reading, read_feature, read_target
from valuation.schema import Bools, Schema, feature_columns

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class RowProblem:
    """Why one row cannot be used. `line` is the line of the file on which the row starts."""

    line: int
    column: str
    value: str
    expected: str


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


def parse_csv(data: bytes, *, name: str) -> pd.DataFrame:
    """Read a CSV file (UTF-8, commas, a header) as text cells; guesses no types.

    The index holds the line on which each row starts (the header is on line 1).

    Raises:
        InputError: empty, not UTF-8, no rows, a column twice or without a name, a row of
            another length than the header.
    """
    text = _decode(data, name)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    header: list[str] | None = None
    before = 0
    try:
        for row in reader:
            first_line, before = before + 1, reader.line_num
            if not row:
                continue
            if header is None:
                header = _check_header([cell.strip() for cell in row], name)
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{name}, line {first_line}: {len(row)} fields, expected {len(header)}",
                    hint="Put fields that contain a comma in double quotes.",
                )
            rows.append(row)
            lines.append(first_line)
    except csv.Error as error:
        raise InputError(
            f"{name}, line {reader.line_num}: not a CSV file: {error}",
            hint="Check the quotes near that line.",
        ) from error
    if header is None or not rows:
        raise InputError(
            f"{name} is empty: no rows below the header",
            hint="Expected a header line and one line per row.",
        )
    index = pd.Index(lines, name="line")
    # Object columns: pandas then never takes a cell for anything but the text it is.
    frame = pd.DataFrame(rows, columns=pd.Index(header), index=index, dtype=object)
    frame.attrs["name"] = name
    return frame


def _decode(data: bytes, name: str) -> str:
    if not data.strip():
        raise InputError(
            f"{name} is empty", hint="Expected a header line and one line per row, in UTF-8."
        )
    if data.startswith(_UTF16_MARKS):
        raise InputError(f"{name} is UTF-16, expected UTF-8", hint="Save it as 'CSV UTF-8'.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(
            f"{name}, line {line}: not UTF-8 (byte 0x{data[error.start]:02x})",
            hint="Save it as 'CSV UTF-8', or convert it: iconv -f latin1 -t utf-8 IN > OUT.",
        ) from error
    if "\x00" in text:
        raise InputError(
            f"{name} holds NUL bytes, expected a text file in UTF-8",
            hint="Export it as CSV; a spreadsheet file (.xlsx) is none.",
        )
    return text


def _check_header(header: list[str], name: str) -> list[str]:
    twice = sorted({column for column in header if header.count(column) > 1 and column})
    if twice:
        raise InputError(
            f"{name}: column {', '.join(map(repr, twice))} appears more than once",
            hint="Rename or remove one of them.",
        )
    if "" in header:
        raise InputError(
            f"{name}: column {header.index('') + 1} has no name", hint="Name or remove it."
        )
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise InputError(
            f"{name}: one single column {header[0]!r}", hint="Separate columns by commas."
        )
    return header


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


def check_frame(schema: Schema, frame: pd.DataFrame, *, with_target: bool) -> FrameCheck:
    """Check every row against the schema; out-of-bounds rows are refused, never clipped.

    Raises:
        InputError: a column is missing.
    """
    require_columns(frame, input_columns(schema, with_target=with_target))
    readings: dict[str, Reading] = {}
    for feature in schema.features:
        for reading in read_feature(feature, frame):
            readings.setdefault(reading.column, reading)
    if with_target:
        readings[schema.target.column] = read_target(schema.target, frame)
    accepted = np.ones(len(frame), dtype=np.bool_)
    found: list[tuple[int, RowProblem]] = []
    lines = [int(line) for line in frame.index]
    for reading in readings.values():
        accepted &= ~reading.wrong
        cells = frame[reading.column].tolist()
        for i in map(int, np.flatnonzero(reading.wrong)):
            found.append((i, RowProblem(lines[i], reading.column, cells[i], reading.expected)))
    unit = schema.unit.column
    if with_target and unit is not None:
        for i, cell in enumerate(frame[unit].tolist()):
            if not cell.strip():
                accepted[i] = False
                found.append((i, RowProblem(lines[i], unit, cell, "the privacy unit's name")))
    found.sort(key=lambda pair: pair[0])
    duplicates = int(frame.duplicated().sum())
    return FrameCheck(accepted, tuple(problem for _, problem in found), duplicates)


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
