# SPDX-License-Identifier: Apache-2.0
"""The sum of per-unit clipped gradients: the only thing computed from private rows.

The loss of a row is 0.5 (f - y)^2, or Huber's with a linear tail beyond `huber`. A unit's gradient
is the sum over its first `max_rows` rows in file order; it is scaled by min(1, C / norm). Hence
adding or removing all rows of one unit moves the result by at most C in Euclidean norm, whatever
the rows hold. A unit whose gradient is not finite counts as zero, so the data cannot raise errors.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.validators import ModuleValidator
from torch import nn

from dao.errors import TaskError

GRADIENT_BYTES = 1 << 22
"""Per-sample gradients held at once: 4 MiB stay near the cache (measured), far below 256 MiB."""

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
    """Sum over units of the clipped gradient of the loss, d float64 in `module.parameters()` order.

    inputs [n, p]; targets [n] are what the module itself should give (target minus offset); units
    [n] say which rows belong together. The module is not changed. TaskError names what a module
    may not have: see `check_module`.
    """
    check_module(module)
    if not len(inputs) == len(targets) == len(units):
        raise TaskError(
            f"{len(inputs)} inputs, {len(targets)} targets and {len(units)} units:"
            " expected one of each per row"
        )
    if max_rows < 1 or not clip_norm > 0:
        raise TaskError(f"max_rows is {max_rows}, clip_norm is {clip_norm}: expected both above 0")
    rows, segment = _counted_rows(units, max_rows)
    linear = _only_linear(module)
    if linear is not None:
        weight = linear.weight.detach().numpy().astype(np.float64).reshape(-1)
        return linear_clipped_sum(
            weight, inputs[rows], targets[rows], segment, clip_norm=clip_norm, huber=huber
        )
    return _module_clipped_sum(
        module, inputs[rows], targets[rows], segment, clip_norm=clip_norm, huber=huber
    )


def check_module(module: nn.Module) -> None:
    """TaskError for what breaks per-unit clipping: layers that mix rows, buffers, chance, freezing.

    Names the layer. Opacus' ModuleValidator judges the layers it knows.
    """
    training = copy.deepcopy(module).train()
    for name, layer in training.named_modules():
        where = f"layer {name or 'module'} ({type(layer).__name__})"
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            raise TaskError(
                f"{where} draws at random, so an update would not follow from the task",
                hint="leave dropout out; the noise already regularises",
            )
        if next(layer.buffers(recurse=False), None) is not None:
            raise TaskError(
                f"{where} keeps buffers, which would carry data from row to row",
                hint="use layers without running statistics, such as Linear and LayerNorm",
            )
        errors = ModuleValidator.validate(layer, strict=False)
        if errors and not list(layer.children()):
            raise TaskError(f"{where} cannot be clipped per unit: {errors[0]}")
    frozen = [name for name, each in module.named_parameters() if not each.requires_grad]
    if frozen:
        raise TaskError(f"parameter {frozen[0]} is frozen; the task counts it as trained")


def linear_clipped_sum(
    weight: Floats,
    inputs: Floats,
    targets: Floats,
    segment: NDArray[np.int64],
    *,
    clip_norm: float,
    huber: float | None,
) -> Floats:
    """Closed form for f = inputs @ weight: a row's gradient is (f - y) x.

    `segment` [n] is not decreasing and numbers the units from 0. A unit of one row has the
    gradient norm |f - y| |x|; only units of several rows need their gradient written out.
    """
    if len(inputs) == 0:
        return np.zeros_like(weight)
    with np.errstate(over="ignore", invalid="ignore"):
        residual = _bounded(inputs @ weight - targets, huber)
        sizes = np.bincount(segment)
        norms = np.abs(residual) * np.sqrt(np.einsum("np,np->n", inputs, inputs))
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        factors = _clip_factors(norms, clip_norm)
        alone = (sizes[segment] == 1) & (factors > 0)
        result: Floats = (residual[alone] * factors[alone]) @ inputs[alone]
        # Rows of one unit may be huge and cancel: they are added among themselves alone, so that
        # what is left of them by rounding is clipped too.
        for unit in np.flatnonzero(sizes > 1):
            rows = slice(starts[unit], starts[unit] + sizes[unit])
            gradient = residual[rows] @ inputs[rows]
            factor = _clip_factors(np.sqrt(np.sum(np.square(gradient))), clip_norm)
            if factor > 0:
                result += factor * gradient
    return result


def _module_clipped_sum(
    module: nn.Module,
    inputs: Floats,
    targets: Floats,
    segment: NDArray[np.int64],
    *,
    clip_norm: float,
    huber: float | None,
) -> Floats:
    """Per-sample gradients by Opacus, in chunks of rows; a unit may go on in the next chunk."""
    with _one_thread():
        sampled = GradSampleModule(copy.deepcopy(module).double().train(), loss_reduction="sum")
        size = sum(each.numel() for each in sampled.parameters())
        total = torch.zeros(size, dtype=torch.float64)
        carried = torch.zeros(size, dtype=torch.float64)
        chunk = max(1, GRADIENT_BYTES // (8 * size))
        for first in range(0, len(inputs), chunk):
            rows = slice(first, first + chunk)
            gradients = _sample_gradients(sampled, inputs[rows], targets[rows], huber)
            local = segment[rows] - segment[first]
            sums = torch.zeros(int(local[-1]) + 1, size, dtype=torch.float64)
            sums.index_add_(0, torch.from_numpy(local), gradients)
            if first > 0 and segment[first] == segment[first - 1]:
                sums[0] += carried
            goes_on = first + chunk < len(inputs) and segment[first + chunk] == segment[rows][-1]
            if goes_on:
                carried = sums[-1].clone()
                sums = sums[:-1]
            norms = torch.linalg.vector_norm(sums, dim=1).numpy()
            factors = _clip_factors(norms, clip_norm)
            kept = factors > 0
            total += torch.from_numpy(factors[kept]) @ sums[torch.from_numpy(kept)]
        return total.numpy()


def _sample_gradients(
    sampled: GradSampleModule, inputs: Floats, targets: Floats, huber: float | None
) -> torch.Tensor:
    """[n, d] gradients of the rows' losses."""
    sampled.zero_grad()
    rows = torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float64))
    # Opacus' hooks warn where the input asks for no gradient.
    output = sampled(rows.requires_grad_())
    if output.numel() != len(inputs):
        raise TaskError(
            f"the module gives {tuple(output.shape)} for {len(inputs)} rows,"
            " expected one number for each"
        )
    residual = _bounded(output.detach().reshape(-1).numpy() - targets, huber)
    output.backward(torch.from_numpy(residual).reshape(output.shape))
    return torch.cat(
        [each.grad_sample.reshape(len(inputs), -1) for each in sampled.parameters()], dim=1
    )


def _counted_rows(
    units: NDArray[np.int64], max_rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that count, grouped by unit (file order within), and their unit's number from 0."""
    if len(units) == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    order = np.argsort(units, kind="stable")
    ordered = units[order]
    new_unit = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    segment = np.cumsum(new_unit) - 1
    rank = np.arange(len(units)) - np.flatnonzero(new_unit)[segment]
    counted = rank < max_rows
    return order[counted], segment[counted].astype(np.int64)


def _bounded(residual: Floats, huber: float | None) -> Floats:
    return residual if huber is None else np.clip(residual, -huber, huber)


def _clip_factors(norms: Floats | np.float64, clip_norm: float) -> Floats:
    """min(1, C / norm); 0 where the norm is not finite. Of norms of any shape."""
    safe = np.where(np.isfinite(norms), norms, np.inf)
    return np.asarray(np.minimum(1.0, clip_norm / np.maximum(safe, clip_norm)), dtype=np.float64)


def _only_linear(module: nn.Module) -> nn.Linear | None:
    """The module's only layer where it is one Linear without bias and with one output."""
    if isinstance(module, nn.Sequential) and len(module) == 1:
        module = module[0]
    if type(module) is not nn.Linear or module.out_features != 1:
        return None
    return module if [name for name, _ in module.named_parameters()] == ["weight"] else None


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
