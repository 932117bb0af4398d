# SPDX-License-Identifier: Apache-2.0
"""The clipped sum as its definition reads: one gradient a row by vmap, units and clipping by plain
loops. Slow and obvious; what the engine is held against."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


def row_gradients(
    module: nn.Module, inputs: np.ndarray, targets: np.ndarray, huber: float | None
) -> np.ndarray:
    """float64[n, d]: each row's gradient, as if it were alone."""
    weights = {name: each.detach().double() for name, each in module.named_parameters()}

    def loss(params: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        output = torch.func.functional_call(module, params, (x[None],)).squeeze()
        if huber is None:
            return 0.5 * (output - y) ** 2
        return nn.functional.huber_loss(output, y, delta=huber)

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(
        weights, torch.from_numpy(inputs), torch.from_numpy(targets)
    )
    return torch.cat([gradients[name].reshape(len(inputs), -1) for name in weights], dim=1).numpy()


def reference_sum(
    module: nn.Module,
    inputs: np.ndarray,
    targets: np.ndarray,
    units: np.ndarray,
    *,
    clip_norm: float,
    max_rows: int,
    huber: float | None,
) -> np.ndarray:
    """float64[d], as `privacy.engine.clipped_sum`."""
    gradients = row_gradients(module, inputs, targets, huber)
    total = np.zeros(gradients.shape[1])
    for unit in dict.fromkeys(units.tolist()):
        rows = np.flatnonzero(units == unit)[:max_rows]
        with np.errstate(all="ignore"):
            gradient = gradients[rows].sum(axis=0)
            norm = np.linalg.norm(gradient)
        if np.isfinite(norm) and norm > 0:
            total += gradient * min(1.0, clip_norm / norm)
    return total


def shuffled_units(rng: np.random.Generator, units: int, most: int) -> np.ndarray:
    """Labels of rows: units of 1 to `most` rows, shuffled, with numbers that are not contiguous."""
    labels = np.repeat(rng.permutation(units) * 7 - 3, rng.integers(1, most + 1, units))
    rng.shuffle(labels)
    return labels
