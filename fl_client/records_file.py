# SPDX-License-Identifier: Apache-2.0
"""From the contributor's table (CSV or Parquet) to what the gradient needs, kept so that a round
costs milliseconds.

The prepared rows of a task lie in the vault folder as .npy files, keyed by task and data digest,
and are memory-mapped: another process (Flower's simulation moves clients between processes) finds
them there. They are as private as the records themselves and never leave the folder. Where they
are missing or damaged they are prepared again from the records.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from dao.errors import InputError
from dao.records import Task
from fl_client.answers import writing
from fl_client.prepared_rows import keep_rows, load_rows
from fl_client.refusals import Code, Refused
from fl_client.regular_file import read_regular
from valuation.encode import encode
from valuation.family import Family
from valuation.private_rows import PrivateRows, divide_rows
from valuation.rows import check_frame
from valuation.table import read_table


class RecordsFile:
    """The contributor's records and, beside them, what was prepared from them."""

    def __init__(self, path: Path, *, cache: Path) -> None:
        self._path = path
        self._cache = cache
        self._digest: tuple[tuple[int, int], str] | None = None
        self._loaded: tuple[str, PrivateRows] | None = None

    def prepared(self, task: Task, family: Family) -> PrivateRows:
        """The task's rows, from memory, from the cache, or computed. Rows that do not fit the
        schema do not count.

        Refused(data) when the file is gone or not a table of the task, Refused(unavailable) when
        the disk does not take what was prepared."""
        try:
            key = f"{task.digest()[:32]}-{self._data_digest()[:32]}"
            if self._loaded is None or self._loaded[0] != key:
                folder = self._cache / key
                rows = load_rows(folder, task) or self._prepare(task, family, folder)
                self._loaded = (key, rows)
        except InputError as error:
            raise Refused(Code.DATA, error.message, hint=error.hint) from error
        return self._loaded[1]

    def _prepare(self, task: Task, family: Family, folder: Path) -> PrivateRows:
        frame = read_table(self._read(), name=self._path.name)
        check = check_frame(task, frame, with_target=True)
        rows = divide_rows(task, family, encode(task, frame[check.accepted], with_target=True))
        with writing(folder):
            return keep_rows(rows, task, folder)

    def _read(self) -> bytes:
        try:
            data = read_regular(self._path)
        except OSError as error:
            raise self._unreadable(error) from error
        if data is None:
            raise self._unreadable(OSError(errno.ENOENT, os.strerror(errno.ENOENT)))
        return data

    def _data_digest(self) -> str:
        try:
            status = self._path.stat()
        except OSError as error:
            raise self._unreadable(error) from error
        stamp = (status.st_mtime_ns, status.st_size)
        if self._digest is None or self._digest[0] != stamp:
            self._digest = (stamp, hashlib.sha256(self._read()).hexdigest())
        return self._digest[1]

    def _unreadable(self, error: OSError) -> InputError:
        return InputError(
            f"cannot read the records {self._path}: {error.strerror}",
            hint="it must be the CSV or Parquet file with your records, or a link to that file",
        )
