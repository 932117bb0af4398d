# SPDX-License-Identifier: Apache-2.0
"""From the contributor's table (CSV or Parquet) to what the gradient needs, kept so that a round
costs milliseconds.

The prepared rows of a task lie in the vault folder as .npy files, keyed by task and data digest,
and are memory-mapped: another process (Flower's simulation moves clients between processes) finds
them there. They are as private as the records themselves and never leave the folder.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dao.durable import fsync_folder
from dao.errors import InputError
from dao.records import Task
from fl_client.refusals import Code, Refused
from valuation.encode import encode
from valuation.family import Family, Prepared
from valuation.private_rows import CalibrationRows, PrivateRows, divide_rows
from valuation.rows import check_frame
from valuation.table import read_table

_PREPARED = ("inputs", "offset", "residual", "units")
_CALIBRATION = ("difficulty", "locations")
_SURVEY = "survey.npy"


class RecordsFile:
    """The contributor's records and, beside them, what was prepared from them."""

    def __init__(self, path: Path, *, cache: Path) -> None:
        self._path = path
        self._cache = cache
        self._digest: tuple[tuple[int, int], str] | None = None
        self._loaded: tuple[str, PrivateRows] | None = None

    def prepared(self, task: Task, family: Family) -> PrivateRows:
        """The task's rows, from memory, from the cache, or computed. Rows that do not fit the
        schema do not count. Refused(data) when the file is gone or not a table of the task."""
        try:
            key = f"{task.digest()[:32]}-{self._data_digest()[:32]}"
            if self._loaded is None or self._loaded[0] != key:
                folder = self._cache / key
                if not folder.exists():
                    self._prepare(task, family, folder)
                self._loaded = (key, _load(folder))
        except InputError as error:
            raise Refused(Code.DATA, error.message, hint=error.hint) from error
        return self._loaded[1]

    def _prepare(self, task: Task, family: Family, folder: Path) -> None:
        frame = read_table(self._read(), name=self._path.name)
        check = check_frame(task, frame, with_target=True)
        rows = divide_rows(task, family, encode(task, frame[check.accepted], with_target=True))
        staged = folder.with_name(folder.name + ".new")
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True, mode=0o700)
        _save(staged / "training", rows.training, _PREPARED)
        if rows.survey is not None:
            np.save(staged / _SURVEY, rows.survey)
        if rows.calibration is not None:
            _save(staged / "calibration", rows.calibration.prepared, _PREPARED)
            _save(staged / "calibration", rows.calibration, _CALIBRATION)
        staged.rename(folder)
        fsync_folder(folder.parent)

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise InputError(
                f"cannot read the records {self._path}: {error.strerror}",
                hint="vault.records in covalue.toml names the file",
            ) from error

    def _data_digest(self) -> str:
        try:
            status = self._path.stat()
        except OSError as error:
            raise InputError(f"cannot read the records {self._path}: {error.strerror}") from error
        stamp = (status.st_mtime_ns, status.st_size)
        if self._digest is None or self._digest[0] != stamp:
            self._digest = (stamp, hashlib.sha256(self._read()).hexdigest())
        return self._digest[1]


def _save(folder: Path, arrays: object, names: tuple[str, ...]) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in names:
        np.save(folder / f"{name}.npy", getattr(arrays, name))


def _load(folder: Path) -> PrivateRows:
    kept_out = folder / "calibration"
    calibration = None
    if kept_out.exists():
        difficulty, locations = _arrays(kept_out, _CALIBRATION)
        prepared = Prepared(*_arrays(kept_out, _PREPARED))
        calibration = CalibrationRows(prepared, difficulty, locations)
    survey = folder / _SURVEY
    return PrivateRows(
        training=Prepared(*_arrays(folder / "training", _PREPARED)),
        survey=np.load(survey, allow_pickle=False) if survey.exists() else None,
        calibration=calibration,
    )


def _arrays(folder: Path, names: tuple[str, ...]) -> list[NDArray[Any]]:
    return [np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names]
