# SPDX-License-Identifier: Apache-2.0
"""The sum of per-unit clipped gradients: the only thing computed from private rows.

The loss of a row is 0.5 (f - y)^2, or Huber's with a linear tail beyond `huber`. A unit's gradient
is the sum over its first `max_rows` rows in file order; it is scaled by min(1, C / norm). Hence
adding or removing all rows of one unit moves the result by at most C in Euclidean norm, whatever
the rows hold. A unit whose gradient is not finite counts as zero, so the data cannot raise errors.

Models of Linear layers, elementwise functions and skips have a closed form (`closed_form`), which
costs about as much as a plain gradient; all others give every row as a batch of one
(`per_sample`), after trials on made-up rows (`row_checks`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dao.errors import TaskError
from privacy.closed_form import ClosedForm
from privacy.tracing import trace
from privacy.units import group_rows

if TYPE_CHECKING:
    from privacy.per_sample import PerSample

Floats = NDArray[np.float64]


def clipped_sum(
    module: nn.Module,
    inputs: Floats,
    targets: Floats,
    units: NDArray[np.int64],
    *,
    clip_norm: float,
    max_rows: int,
    huber: float | None,
) -> Floats:
    """Sum over units of the clipped gradient of the loss (Abadi et al. 2016, by the unit).

    `Engine` is faster where one model takes many steps.

    Args:
        module: see `Engine`; it is not changed.
        inputs: float64[n, p].
        targets: float64[n], what the module itself should give (target minus offset).
        units: int64[n], equal for rows of one unit.
        clip_norm: C, Euclidean, in units of the loss gradient.
        max_rows: how many rows of a unit count, the first in file order.
        huber: the largest residual that the gradient follows, in units of targets; None: any.

    Returns:
        float64[d], in `module.parameters()` order.

    Raises:
        TaskError: shapes that do not fit, no positive bound, or a module that `Engine` refuses.
    """
    if inputs.ndim != 2:
        raise TaskError(f"inputs have shape {inputs.shape}, expected rows and columns")
    return Engine(module, inputs.shape[1]).clipped_sum(
        parameter_vector(module),
        inputs,
        targets,
        units,
        clip_norm=clip_norm,
        max_rows=max_rows,
        huber=huber,
    )


class Engine:
    """Clipped sums of one model at any parameters.

    What the module computes is looked at once, here; its own parameters are not read. Buffers are
    kept between calls, so one engine serves one thread.

    Args:
        module: takes rows [n, columns] and gives one number for each.
        columns: p, how many numbers a row has.

    Raises:
        TaskError: a parameter is frozen; a layer mixes or counts rows, keeps buffers or other
            state, draws at random, or has no gradient by row. Names the layer.
    """

    def __init__(self, module: nn.Module, columns: int) -> None:
        for name, each in module.named_parameters():
            if not each.requires_grad:
                raise TaskError(f"parameter {name} is frozen; the task counts it as trained")
        self.parameters = sum(each.numel() for each in module.parameters())
        self.columns = columns
        with _OneThread():
            graph = trace(module, columns)
            self.closed_form = graph is not None
            self._sum = _row_by_row(module, columns) if graph is None else ClosedForm(graph)

    def clipped_sum(
        self,
        theta: Floats,
        inputs: Floats,
        targets: Floats,
        units: NDArray[np.int64],
        *,
        clip_norm: float,
        max_rows: int,
        huber: float | None,
    ) -> Floats:
        """As the function `clipped_sum`, at parameters theta float64[d].

        Raises:
            TaskError: shapes that do not fit, or no positive bound.
        """
        if not len(inputs) == len(targets) == len(units):
            raise TaskError(
                f"{len(inputs)} inputs, {len(targets)} targets and {len(units)} units:"
                " expected one of each per row"
            )
        if inputs.ndim != 2 or inputs.shape[1] != self.columns:
            raise TaskError(f"inputs have shape {inputs.shape}, expected {self.columns} columns")
        if theta.shape != (self.parameters,):
            raise TaskError(f"theta has shape {theta.shape}, expected ({self.parameters},)")
        if max_rows < 1 or not clip_norm > 0:
            raise TaskError(
                f"max_rows is {max_rows}, clip_norm is {clip_norm}: expected both above 0"
            )
        with _OneThread():
            return self._sum.clipped_sum(
                theta,
                inputs,
                targets,
                group_rows(units, max_rows),
                clip_norm=clip_norm,
                huber=huber,
            )


def parameter_vector(module: nn.Module) -> Floats:
    """theta float64[d]: `module.parameters()` in order, each flattened row-major."""
    parts = [each.detach().numpy().reshape(-1) for each in module.parameters()]
    return np.concatenate([np.zeros(0), *parts]).astype(np.float64)


def _row_by_row(module: nn.Module, columns: int) -> PerSample:
    # Opacus takes longer to import than all else here, and few models need it.
    from privacy.per_sample import PerSample
    from privacy.row_checks import checked

    return PerSample(checked(module, columns))


class _OneThread:
    """Torch on one thread within a `with`."""

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        if self._before != 1:
            torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        if self._before != 1:
            torch.set_num_threads(self._before)
