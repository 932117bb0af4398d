# SPDX-License-Identifier: Apache-2.0
"""From a model's predictions to the estimates that are released.

Predictions regress to the mean; a stretch undoes it (`valuation.regressivity`). It follows from the
recorded model, the public judging rows and the published calibration, so it costs no privacy.
"""

from __future__ import annotations

import numpy as np

from dao.records import Calibrated, Task
from rounds.coalition import module_outputs
from rounds.state import Floats
from valuation.difficulty import Difficulty
from valuation.family import Family, Prepared
from valuation.interval import ErrorModel
from valuation.regressivity import UNSTRETCHED, Stretch, fit_stretch
from valuation.schema import MICRO


def released_stretch(
    task: Task, family: Family, theta: Floats, calibrated: Calibrated | None
) -> Stretch:
    """The stretch of a model, center and slope on a grid of 1e-6; none without public rows.

    The estimates are those of the public rows that judge. Their errors are as wide as the
    calibration says of the public rows; without one as wide as the judging rows show.
    """
    rows = family.judge_rows()
    if rows is None or len(rows.residual) == 0:
        return UNSTRETCHED
    output = module_outputs(family.module(theta), theta[None, :], rows.inputs)[0]
    if task.calibration is None or calibrated is None:
        variance = float(((rows.residual - output) ** 2).mean())
    else:
        errors = ErrorModel(
            task.calibration, calibrated, Difficulty.of(family.process, task.target)
        )
        variance = errors.public_variance()
    error_std = np.full(len(output), np.sqrt(variance))
    found = fit_stretch(task.target, rows.offset + output, error_std)
    return stretch_of(round(found.center / MICRO), round(found.slope / MICRO))


def stretch_of(center_micro: int, slope_micro: int) -> Stretch:
    """A recorded stretch."""
    return Stretch(center=center_micro * MICRO, slope=slope_micro * MICRO)


def estimates(family: Family, rows: Prepared, theta: Floats, stretch: Stretch) -> Floats:
    """float64[n]: released estimates on the standardised target."""
    return np.asarray(stretch.apply(family.predict(rows, theta)))
