# SPDX-License-Identifier: Apache-2.0
"""What the calibration round of a task published, added up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dao.records import Calibrated, Task
from rounds.phases import release_of
from rounds.state import Floats, decode_update, sum_updates
from valuation.calibrated import calibrate
from valuation.difficulty import Difficulty
from valuation.family import Family


@dataclass(frozen=True)
class CalibrationSummary:
    """The sum of the histograms that count, float64[groups * bins], and the variance of the noise
    in each of its counts."""

    counts: Floats
    noise_variance: float

    @classmethod
    def of(cls, task: Task, updates: Iterable[bytes]) -> CalibrationSummary:
        """From the updates that count in the calibration round, the last of the task."""
        release = release_of(task, task.total_rounds)
        histograms = [decode_update(release, update) for update in updates]
        total = sum_updates(histograms, length=release.length)
        return cls(
            counts=np.ldexp(total, -release.grid_bits),
            noise_variance=len(histograms) * release.deviation**2,
        )

    def calibrated(self, task: Task, family: Family) -> Calibrated | None:
        """The distribution of errors to record; None for a task without a calibration."""
        if task.calibration is None:
            return None
        return calibrate(
            task.calibration,
            Difficulty.of(family.process, task.target),
            self.counts,
            noise_variance=self.noise_variance,
        )
