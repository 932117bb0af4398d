# SPDX-License-Identifier: Apache-2.0
"""CSV files as text cells, block by block: a file of any length needs the memory of one block.

docs/spec/valuation.md section 1 says what a file must be. Nothing here guesses types.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

import pandas as pd

from dao.errors import InputError

BLOCK_ROWS = 16_384
"""Rows of a block. Larger blocks are not faster."""
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EMPTY_HINT = "Expected a header line and one line per row, in UTF-8."


def parse_csv(data: bytes, *, name: str) -> pd.DataFrame:
    """Read a CSV file (UTF-8, commas, a header) as text cells; guesses no types.

    The index holds the line on which each row starts (the header is on line 1).

    Raises:
        InputError: empty, not UTF-8, no rows, a column twice or without a name, a row of
            another length than the header.
    """
    return join_blocks(csv_blocks(io.BytesIO(data), name=name), name=name)


def join_blocks(blocks: Iterator[pd.DataFrame], *, name: str) -> pd.DataFrame:
    """All blocks of a file as one frame that knows its file's name."""
    frames = list(blocks)
    frame = pd.concat(frames) if len(frames) > 1 else frames[0]
    frame.attrs["name"] = name
    return frame


def csv_blocks(file: BinaryIO, *, name: str, rows: int = BLOCK_ROWS) -> Iterator[pd.DataFrame]:
    """The rows of an open CSV file, at most `rows` in a frame, as `parse_csv` gives them.

    Raises:
        InputError: as `parse_csv`, when the reading comes to the place.
    """
    reader = csv.reader(_text_lines(file, name), strict=True)
    header: list[str] | None = None
    cells: list[list[str]] = []
    lines: list[int] = []
    before, given = 0, False
    try:
        for row in reader:
            first_line, before = before + 1, reader.line_num
            if not row:
                continue
            if header is None:
                header = check_header([cell.strip() for cell in row], name)
                if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
                    raise InputError(
                        f"{name}: one single column {header[0]!r}",
                        hint="Separate columns by commas, and write decimals with a point.",
                    )
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{name}, line {first_line}: {len(row)} fields, expected {len(header)}",
                    hint="Put fields that contain a comma in double quotes.",
                )
            cells.append(row)
            lines.append(first_line)
            if len(cells) == rows:
                yield _frame(header, cells, lines, name)
                cells, lines, given = [], [], True
    except csv.Error as error:
        raise InputError(
            f"{name}, line {reader.line_num}: not a CSV file: {error}",
            hint="Check the quotes near that line.",
        ) from error
    if header is None:
        raise InputError(f"{name} is empty", hint=_EMPTY_HINT)
    if cells:
        yield _frame(header, cells, lines, name)
    elif not given:
        raise InputError(f"{name} is empty: no rows below the header", hint=_EMPTY_HINT)


def _frame(header: list[str], cells: list[list[str]], lines: list[int], name: str) -> pd.DataFrame:
    # Object columns: pandas then never takes a cell for anything but the text it is.
    index = pd.Index(lines, name="line")
    frame = pd.DataFrame(cells, columns=pd.Index(header, dtype=object), index=index, dtype=object)
    frame.attrs["name"] = name
    return frame


def _text_lines(file: BinaryIO, name: str) -> Iterator[str]:
    """Lines with their ends, split at LF, CR LF or a lone CR."""
    for number, line in enumerate(file, start=1):
        raw = line
        if number == 1:
            if raw.startswith(_UTF16_MARKS):
                raise InputError(
                    f"{name} is UTF-16, expected UTF-8", hint="Save it as 'CSV UTF-8'."
                )
            raw = raw.removeprefix(_BYTE_ORDER_MARK)
            if raw.startswith(b"PAR1"):
                raise InputError(
                    f"{name} is a Parquet file, expected CSV",
                    hint="Export it as CSV: what is published is text that anybody can read.",
                )
        if b"\0" in raw:
            raise InputError(
                f"{name} holds NUL bytes, expected a text file in UTF-8",
                hint="Export it as CSV; a spreadsheet file (.xlsx) is none.",
            )
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{name}, line {number}: not UTF-8 (byte 0x{raw[error.start]:02x})",
                hint="Save it as 'CSV UTF-8', or convert it: iconv -f latin1 -t utf-8 IN > OUT.",
            ) from error
        if "\r" in text.removesuffix("\r\n"):
            yield from io.StringIO(text, newline="")
        else:
            yield text


def check_header(header: list[str], name: str) -> list[str]:
    """The columns' names, of a CSV or a Parquet file.

    Raises:
        InputError: one is empty or stands twice.
    """
    twice = sorted({column for column in header if header.count(column) > 1 and column})
    if twice:
        raise InputError(
            f"{name}: column {', '.join(map(repr, twice))} appears more than once",
            hint="Rename or remove one of them.",
        )
    if not any(header):
        raise InputError(
            f"{name}: the header is empty, no column has a name", hint="Name them all."
        )
    if "" in header:
        raise InputError(
            f"{name}: column {header.index('') + 1} has no name", hint="Name or remove it."
        )
    return header
