# SPDX-License-Identifier: Apache-2.0
"""The one interface of model families.

A prediction is `offset + module(inputs)`: the offset is what the public rows teach, the module
(parameters theta) is what contributors train. Everything here is float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from valuation.encode import Encoded
from valuation.process import PublicProcess
from valuation.schema import Floats, Ints
from valuation.tensors import read_arrays


@dataclass(frozen=True)
class Prepared:
    """Rows as a family reads them.

    Attributes:
        inputs: float64[n, p] of the module.
        offset: float64[n], what the public rows predict (0 without public rows).
        residual: float64[n], target minus offset: what the module learns; None without target.
        units: int64[n], equal for rows of one privacy unit.
    """

    inputs: Floats
    offset: Floats
    residual: Floats | None
    units: Ints


@dataclass(frozen=True)
class JudgeRows:
    """Rows that took no part in the fit, so that they can judge: inputs float64[n, p], offset
    float64[n] and residual float64[n] (target minus offset)."""

    inputs: Floats
    offset: Floats
    residual: Floats


class Family(Protocol):
    """A model family with its public set-up."""

    @property
    def parameters(self) -> int:
        """Length d of theta."""

    @property
    def process(self) -> PublicProcess | None:
        """What the public rows teach; None without public rows."""

    def prepare(self, encoded: Encoded) -> Prepared:
        """Inputs, offset and residual of rows."""

    def module(self, theta: Floats) -> torch.nn.Module:
        """A float64 module with parameters theta (in `parameters()` order); float64[n, p] to
        float64[n, 1]."""

    def predict(self, prepared: Prepared, theta: Floats) -> Floats:
        """float64[n], standardised."""

    def judge_rows(self) -> JudgeRows | None:
        """Public rows to judge updates by; None without public rows."""

    def displacement_effect(self, inputs: Floats, theta: Floats, displacement: Floats) -> Floats:
        """float64[n]: first-order change of the predictions when theta moves by displacement
        (exact for a linear module)."""

    def optimiser_vectors(self) -> dict[str, Floats]:
        """`gain` and `ridge`, float64[d], for the newton optimiser; nothing for adam."""


def optimiser_vectors(setup: bytes) -> dict[str, Floats]:
    """`gain` and `ridge` of a set-up blob, float64[d]; nothing where it has none.

    Raises:
        RecordError: not a set-up blob.
    """
    arrays = read_arrays(setup)
    names = ("gain", "ridge")
    return {name: arrays[name].astype(np.float64) for name in names if name in arrays}
