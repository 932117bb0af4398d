# SPDX-License-Identifier: Apache-2.0
"""One contributor's rows, divided into those that train and those that calibrate intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dao.errors import TaskError
from dao.records import Task
from valuation.difficulty import Difficulty
from valuation.encode import Encoded
from valuation.family import Family, Prepared
from valuation.holdout import calibrates
from valuation.kernel import KernelFamily
from valuation.schema import Floats, Ints


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
    """All rows of one contributor that fit the task.

    Attributes:
        survey: int64[n], the cell of each training row; None in a task without a survey.
        calibration: None in a task without one.
    """

    training: Prepared
    survey: Ints | None
    calibration: CalibrationRows | None


def divide_rows(task: Task, family: Family, rows: Encoded) -> PrivateRows:
    """Prepare encoded rows with target; which units calibrate follows from their own content.

    TaskError, RecordError where the set-up does not fit the task.
    """
    kept_out = calibrates(task, rows.unit_keys)
    training = rows if task.calibration is None else rows.take(np.flatnonzero(~kept_out))
    prepared, survey = family.prepare(training), survey_cells(task, family, training)
    if task.calibration is None:
        return PrivateRows(training=prepared, survey=survey, calibration=None)
    held = rows.take(np.flatnonzero(kept_out))
    return PrivateRows(
        training=prepared,
        survey=survey,
        calibration=CalibrationRows(
            prepared=family.prepare(held),
            difficulty=Difficulty.of(family.process, task.target).of_rows(held),
            locations=held.locations,
        ),
    )


def survey_cells(task: Task, family: Family, rows: Encoded) -> Ints | None:
    """int64[n], the survey cell of each row; None in a task without a survey. Errors as above."""
    if task.policy.survey_noise_micro == 0:
        return None
    if not isinstance(family, KernelFamily):
        raise TaskError("a survey needs the family 'kernel': the cells are part of its set-up")
    return family.survey_cell(rows)
