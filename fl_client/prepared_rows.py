# SPDX-License-Identifier: Apache-2.0
"""A task's prepared rows as a folder of .npy files: written so that a crash or a full disk leaves
all of them or none, and read only where each is whole. What is read is memory-mapped."""

from __future__ import annotations

import errno
import os
import shutil
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dao.durable import fsync_folder
from dao.records import Task
from fl_client.answers import write_all
from valuation.family import Prepared
from valuation.private_rows import CalibrationRows, PrivateRows

_PREPARED = {"inputs": "<f8", "offset": "<f8", "residual": "<f8", "units": "<i8"}
_CALIBRATION = {"difficulty": "<f8", "locations": "<f8"}
_SURVEY = {"survey": "<i8"}
_UNREADABLE = (OSError, ValueError, TypeError, SyntaxError, OverflowError, tokenize.TokenError)
"""What numpy says of a file that is no array or not a whole one: it reads the header as Python."""


def load_rows(folder: Path, task: Task) -> PrivateRows | None:
    """The rows that `keep_rows` wrote for this task; None where they, or a part, are missing or
    damaged. That a whole file holds other numbers than were written is not seen."""
    try:
        prepared = _arrays(folder / "training", _PREPARED)
        survey = None
        if task.policy.survey_noise_micro:
            survey = _arrays(folder, _SURVEY, rows=len(prepared[0]))[0]
        calibration = None
        if task.calibration is not None:
            kept_out = _arrays(folder / "calibration", _PREPARED)
            more = _arrays(folder / "calibration", _CALIBRATION, rows=len(kept_out[0]))
            calibration = CalibrationRows(Prepared(*kept_out), *more)
    except _UNREADABLE:
        return None
    return PrivateRows(training=Prepared(*prepared), survey=survey, calibration=calibration)


def keep_rows(rows: PrivateRows, task: Task, folder: Path) -> PrivateRows:
    """Write the rows in place of whatever is at `folder`, and read them back.

    OSError where the disk does not take them; at `folder` are then none, or all of them."""
    staged = folder.with_name(folder.name + ".new")
    try:
        _remove(folder)
        _remove(staged)
        staged.mkdir(parents=True, mode=0o700)
        arrays = _by_name(rows)
        for name, array in arrays.items():
            path = staged / f"{name}.npy"
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _write(path, array)
        for each in {(staged / name).parent for name in arrays} | {staged}:
            fsync_folder(each)
        kept = load_rows(staged, task)
        if kept is None or _shapes(kept) != _shapes(rows):
            raise OSError(errno.EIO, "what was written does not read back")
        staged.rename(folder)
        fsync_folder(folder.parent)
    except OSError:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return kept


@dataclass(frozen=True)
class _Sink:
    """What numpy writes to. Given a file it writes past Python's buffers, and where the disk takes
    only a part of the bytes it may say nothing."""

    descriptor: int

    def write(self, data: bytes) -> int:
        write_all(self.descriptor, data)
        return len(data)


def _write(path: Path, array: NDArray[Any]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        np.save(_Sink(descriptor), np.ascontiguousarray(array), allow_pickle=False)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _by_name(rows: PrivateRows) -> dict[str, NDArray[Any]]:
    """Each array by its file's path in the folder, without .npy."""
    found = {f"training/{name}": getattr(rows.training, name) for name in _PREPARED}
    if rows.survey is not None:
        found["survey"] = rows.survey
    held = rows.calibration
    if held is not None:
        found |= {f"calibration/{name}": getattr(held.prepared, name) for name in _PREPARED}
        found |= {f"calibration/{name}": getattr(held, name) for name in _CALIBRATION}
    return found


def _shapes(rows: PrivateRows) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    return {name: (array.shape, array.dtype) for name, array in _by_name(rows).items()}


def _arrays(folder: Path, kinds: dict[str, str], *, rows: int | None = None) -> list[NDArray[Any]]:
    """The named arrays of these types, in this order, each of as many rows. ValueError otherwise,
    or one of `_UNREADABLE`."""
    found: list[NDArray[Any]] = []
    for name, kind in kinds.items():
        path = folder / f"{name}.npy"
        if not path.is_file():
            raise ValueError(f"{path} is not a file")
        array: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="r")
        rows = len(array) if rows is None else rows
        whole = path.stat().st_size == array.offset + array.nbytes
        if array.dtype.str != kind or not array.flags.c_contiguous or not whole:
            raise ValueError(f"{path} is not the whole array that was written")
        if len(array) != rows:
            raise ValueError(f"{path} has {len(array)} rows, expected {rows}")
        found.append(array)
    return found


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
