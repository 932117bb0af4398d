# SPDX-License-Identifier: Apache-2.0
"""Tables as people bring them, CSV or Parquet: one way to text cells for checking and training."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

import pandas as pd

from dao.errors import InputError
from valuation.csv_table import BLOCK_ROWS, csv_blocks, join_blocks
from valuation.parquet_table import MAGIC, parquet_blocks

_PARQUET_NAMES = (".parquet", ".pq")


def table_blocks(file: BinaryIO, *, name: str, rows: int = BLOCK_ROWS) -> Iterator[pd.DataFrame]:
    """The rows of an open file, at most `rows` in a frame of text cells.

    Parquet is known by its first bytes, whatever the file is called; anything else is read as CSV.
    The index names the row: `line` of a CSV file (the header is on line 1), or `row` of a Parquet
    file, counted from 1. `file` must be seekable.

    Raises:
        InputError: the file is no such table; see `csv_blocks` and `parquet_blocks`.
    """
    start = file.tell()
    head = file.read(len(MAGIC))
    file.seek(start)
    if head == MAGIC:
        return parquet_blocks(file, name=name, rows=rows)
    if name.lower().endswith(_PARQUET_NAMES):
        raise InputError(
            f"{name} is not a Parquet file: it does not begin with {MAGIC.decode()}",
            hint="Write the file anew; a CSV file needs another name.",
        )
    return csv_blocks(file, name=name, rows=rows)


def read_table(data: bytes, *, name: str) -> pd.DataFrame:
    """The whole table of a CSV or Parquet file, from its bytes; `parse_csv` for both.

    Raises:
        InputError: see `table_blocks`.
    """
    return join_blocks(table_blocks(io.BytesIO(data), name=name), name=name)
