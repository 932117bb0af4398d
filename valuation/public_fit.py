# SPDX-License-Identifier: Apache-2.0
"""What of a set-up follows from the public rows alone: kept where many tasks share it.

A forecast builds one task after the other from the same public rows, with other noise, contributors
or rounds. The process and its eigenfunctions are the same in all of them, and nearly all the work.
"""

from __future__ import annotations

import numpy as np

from valuation.encode import Encoded
from valuation.features import Eigenbasis, FitPlan, eigenbasis
from valuation.process import FittedProcess, fit_process
from valuation.schema import Floats


class PublicFit:
    """Remembers the last process and the last basis; gives them again for equal arguments."""

    def __init__(self) -> None:
        self._process: tuple[Encoded, tuple[bool, ...], int, FittedProcess] | None = None
        self._basis: tuple[FittedProcess, tuple[int, int, int, bytes], Eigenbasis] | None = None

    def process(self, public: Encoded, indicators: tuple[bool, ...], *, seed: int) -> FittedProcess:
        """`fit_process` of these rows."""
        if self._process is not None:
            rows, flags, drawn, fitted = self._process
            if (flags, drawn) == (indicators, seed) and _equal(rows, public):
                return fitted
        fitted = fit_process(public, indicators, seed=seed)
        self._process = (public, indicators, seed, fitted)
        return fitted

    def basis(self, fitted: FittedProcess, plan: FitPlan, *, box: Floats | None) -> Eigenbasis:
        """`eigenbasis` of a process, as many landmarks and features as a plan may need."""
        reach = box if plan.scattered else None
        told = b"" if reach is None else reach.tobytes()
        wanted = (plan.landmarks, plan.largest, plan.seed, told)
        if self._basis is None or self._basis[0] is not fitted or self._basis[1] != wanted:
            landmarks, largest, seed, _ = wanted
            found = eigenbasis(fitted, landmarks=landmarks, largest=largest, seed=seed, box=reach)
            self._basis = (fitted, wanted, found)
        return self._basis[2]


def _equal(rows: Encoded, others: Encoded) -> bool:
    if rows.target is None or others.target is None:
        return False
    return (
        np.array_equal(rows.attributes, others.attributes)
        and np.array_equal(rows.locations, others.locations)
        and np.array_equal(rows.target, others.target)
        and np.array_equal(rows.units, others.units)
    )
