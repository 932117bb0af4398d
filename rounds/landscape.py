# SPDX-License-Identifier: Apache-2.0
"""What is public about a task whose updates are weighed by the rule `wiener`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Landscape:
    """Public quantities that the rule follows from. Residuals, `spread` and `prior` are in the
    model's own units: standardised targets, and coefficients of psi.

    Attributes:
        features: float64[n, d], psi of synthetic rows.
        cells: int64[n], the survey cell of each, below `cell_count`.
        cell_count: length of a survey.
        prior: float64[d], variance that each coefficient may have.
        spread: standard deviation of a residual.
        clip_norm: C.
        deviation: standard deviation that the noise of all training rounds together leaves in one
            contributor's mean update: sigma C / sqrt(T).
        survey_deviation: standard deviation of the noise in one count.
        units: N, how many units the task expects in all.
        public: float64[cell_count], public rows in each cell that the process was fitted to.
    """

    features: Floats
    cells: Ints
    cell_count: int
    prior: Floats
    spread: float
    clip_norm: float
    deviation: float
    survey_deviation: float
    units: int
    public: Floats

    @property
    def present(self) -> Ints:
        """int64[cell_count]: how many synthetic rows lie in each cell."""
        return np.bincount(self.cells, minlength=self.cell_count)
