# SPDX-License-Identifier: Apache-2.0
"""Values of models that coalitions lead to: minus the mean squared error on the judging rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from rounds.state import Floats
from valuation.family import JudgeRows

_MODELS_AT_ONCE = 8
"""Few enough that their activations stay in the cache."""


def model_values(module: nn.Module, thetas: Floats, rows: JudgeRows) -> Floats:
    """float64[B]: minus the mean squared error of each of B parameter vectors [B, d]."""
    errors = rows.residual - module_outputs(module, thetas, rows.inputs)
    return np.asarray(-np.mean(errors * errors, axis=1))


def module_outputs(module: nn.Module, thetas: Floats, inputs: Floats) -> Floats:
    """float64[B, n]: the module's output for each of B parameter vectors [B, d]."""
    names = [(name, each.shape, each.numel()) for name, each in module.named_parameters()]

    def output(theta: torch.Tensor) -> torch.Tensor:
        pieces = torch.split(theta, [size for _, _, size in names])
        weights = {
            name: piece.reshape(shape)
            for (name, shape, _), piece in zip(names, pieces, strict=True)
        }
        result: torch.Tensor = torch.func.functional_call(module, weights, (rows,))
        return result.reshape(-1)

    rows = torch.from_numpy(np.ascontiguousarray(inputs))
    with torch.no_grad():
        batched = torch.func.vmap(output, chunk_size=_MODELS_AT_ONCE)
        outputs = batched(torch.from_numpy(np.ascontiguousarray(thetas)))
    return np.asarray(outputs.numpy(), dtype=np.float64)
