# SPDX-License-Identifier: Apache-2.0
"""One contributor's rows, divided into those that train and those that calibrate intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dao.records import Task
from valuation.difficulty import Difficulty
from valuation.encode import Encoded
from valuation.family import Family, Prepared
from valuation.holdout import calibrates
from valuation.schema import Floats


@dataclass(frozen=True)
class CalibrationRows:
    """Rows kept out of training.

    Attributes:
        prepared: as the family reads them, with residual.
        difficulty: float64[n], of the rows before anything is predicted for them.
        locations: float64[n, 2 or 0], as `Encoded.locations`.
    """

    prepared: Prepared
    difficulty: Floats
    locations: Floats


@dataclass(frozen=True)
class PrivateRows:
    """All rows of one contributor that fit the task; `calibration` is None where it has none."""

    training: Prepared
    calibration: CalibrationRows | None


def divide_rows(task: Task, family: Family, rows: Encoded) -> PrivateRows:
    """Prepare encoded rows with target; which units calibrate follows from their own content."""
    if task.calibration is None:
        return PrivateRows(training=family.prepare(rows), calibration=None)
    kept_out = calibrates(task, rows.unit_keys)
    held = rows.take(np.flatnonzero(kept_out))
    return PrivateRows(
        training=family.prepare(rows.take(np.flatnonzero(~kept_out))),
        calibration=CalibrationRows(
            prepared=family.prepare(held),
            difficulty=Difficulty.of(family.process, task.target).of_rows(held),
            locations=held.locations,
        ),
    )
