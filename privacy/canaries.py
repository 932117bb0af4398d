# SPDX-License-Identifier: Apache-2.0
"""Canaries: rows made to show as much as the mechanism lets through.

The worst row has the largest gradient in one known direction. Clipped as promised, a unit of such
rows moves the noisy sum by exactly the clip norm along that direction, however many rows it has;
not clipped, or clipped by the row, it moves it by more. Gradients come from torch.autograd here,
not from the engine that is on trial.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dao.errors import TaskError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Canary:
    """One row and where its gradient points.

    Attributes:
        row: its place among the rows that were looked at.
        residual: what the module should give for it (target minus offset).
        theta: float64[d], the parameters at which it was looked at.
        direction: float64[d], its gradient over the gradient's norm.
        norm: of its gradient, before any clipping.
    """

    row: int
    residual: float
    theta: Floats
    direction: Floats
    norm: float


def worst_canary(
    modules: Iterable[tuple[Floats, torch.nn.Module]],
    inputs: Floats,
    lowest: Floats,
    highest: Floats,
    *,
    huber: float | None,
) -> Canary:
    """The row, the residual and the parameters that give the largest gradient.

    `modules` are pairs of theta [d] and the module that has it; inputs [n, p]; lowest and highest
    [n] are the smallest and largest residual that each row may have. The loss is 0.5 (f - y)^2,
    with a linear tail beyond `huber`. TaskError where every gradient is zero or not finite: then no
    row can be told from none.
    """
    worst: Canary | None = None
    for theta, module in modules:
        for row, x in enumerate(inputs):
            value, slope = _slope(module, x)
            for residual in (float(lowest[row]), float(highest[row])):
                error = value - residual
                if huber is not None:
                    error = float(np.clip(error, -huber, huber))
                gradient = error * slope
                norm = float(np.linalg.norm(gradient))
                if np.isfinite(norm) and norm > (0.0 if worst is None else worst.norm):
                    worst = Canary(row, residual, theta, gradient / norm, norm)
    if worst is None:
        raise TaskError(
            "no row has a gradient, so a canary would not show",
            hint="the task's model does not depend on its inputs at these parameters",
        )
    return worst


def score(update: Floats, direction: Floats, *, unit: float) -> float:
    """How far an update float64[d] lies along a canary's direction, in multiples of `unit`: the
    distance by which one canary may move it."""
    return float(update @ direction) / unit


def _slope(module: torch.nn.Module, x: Floats) -> tuple[float, Floats]:
    """The module's value for one row, and its derivative by all parameters, float64[d]."""
    output = module(torch.from_numpy(np.array(x, dtype=np.float64))[None, :]).reshape(())
    parts = torch.autograd.grad(output, list(module.parameters()))
    slope = np.concatenate([part.detach().numpy().reshape(-1) for part in parts])
    return float(output.detach()), slope
