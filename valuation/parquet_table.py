# SPDX-License-Identifier: Apache-2.0
"""Parquet files as text cells, block by block: the cells that the same table has as CSV.

A row is decided on its text, whatever file it came in: a whole or a floating number gives the
shortest text that reads back as the same number, a day its ISO date, null and NaN an empty cell.
docs/spec/valuation.md section 1 lists the types.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import time
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dao.errors import InputError
from valuation.csv_table import BLOCK_ROWS, check_header

MAGIC = b"PAR1"
"""First and last four bytes of every Parquet file."""
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
"""Row labels that pandas writes beside the columns; no column of the table."""


def parquet_blocks(file: BinaryIO, *, name: str, rows: int = BLOCK_ROWS) -> Iterator[pd.DataFrame]:
    """The rows of an open Parquet file, at most `rows` in a frame; the index counts rows from 1.

    Raises:
        InputError: not a Parquet file, a column twice or without a name, text that is not UTF-8 or
            holds NUL, no rows.
    """
    try:
        yield from _blocks(file, name, rows)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{name} cannot be read as Parquet: {str(error).splitlines()[0][:200]}",
            hint="Write the file anew, or export it as CSV.",
        ) from error


def _blocks(file: BinaryIO, name: str, rows: int) -> Iterator[pd.DataFrame]:
    parquet = pq.ParquetFile(file, pre_buffer=False)
    given = [column for column in parquet.schema_arrow.names if not _PANDAS_INDEX.fullmatch(column)]
    header = check_header([column.strip() for column in given], name)
    before = 0
    for batch in parquet.iter_batches(batch_size=rows, columns=given, use_threads=False):
        columns = {
            title: _texts(batch.column(i), f"{name}, column {title!r}")
            for i, title in enumerate(header)
        }
        numbers = pd.RangeIndex(before + 1, before + 1 + batch.num_rows, name="row")
        before += batch.num_rows
        if batch.num_rows:
            frame = pd.DataFrame(columns, index=numbers, dtype=object)
            frame.attrs["name"] = name
            yield frame
    if before == 0:
        raise InputError(
            f"{name} is empty: it has {len(header)} columns and no rows",
            hint="Write the file anew from a table with rows.",
        )


def _texts(array: pa.Array, place: str) -> list[str]:
    """One text a cell."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_floating(kind):
        values = array.cast(pa.float64()).to_pylist()
        return ["" if v is None or math.isnan(v) else repr(v) for v in values]
    try:
        values = array.to_pylist()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{place}: a text that is not UTF-8", hint="Write the file anew with UTF-8 text."
        ) from error
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        texts = ["" if v is None else v for v in values]
    elif pa.types.is_timestamp(kind):
        texts = ["" if v is None else _moment(v) for v in values]
    elif pa.types.is_decimal(kind):
        texts = ["" if v is None else format(v, "f") for v in values]
    else:
        # whole numbers, days and truth values; what is none of a cell (a list) fits no feature
        texts = ["" if v is None else str(v) for v in values]
    if "\0" in "".join(texts):
        raise InputError(f"{place}: a text holds NUL", hint="Remove it; no cell may hold it.")
    return texts


def _moment(value: pd.Timestamp) -> str:
    """A midnight without a time zone is what a day becomes in many tools."""
    if value.tzinfo is None and value.time() == time():
        return str(value.date().isoformat())
    return str(value.isoformat())
