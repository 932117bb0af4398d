# SPDX-License-Identifier: Apache-2.0
"""Values of models that coalitions lead to: minus the mean squared error on the judging rows.

Networks of Linear layers and Tanh have a fast way (`rounds.tanh_network`, `rounds.tanh_coalitions`)
that agrees with the plain one to the rounding of float64; any other module is called once for each
parameter vector.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from rewards.shapley import coalitions_of
from rounds.state import Floats
from rounds.tanh_coalitions import every_coalition_value
from rounds.tanh_network import TanhNetwork
from valuation.family import JudgeRows

_MODELS_AT_ONCE = 1024
"""Parameter vectors that are held at once."""


def coalition_values(module: nn.Module, base: Floats, members: Floats, rows: JudgeRows) -> Floats:
    """float64[2^K]: of each coalition of members [K, d], whose model is base [d] and their sum; bit
    i of a place says whether member i is in."""
    network = TanhNetwork.of(module)
    if network is not None:
        fast = every_coalition_value(network, base, members, rows)
        if fast is not None:
            return fast
    coalitions = coalitions_of(len(members))
    values = np.empty(len(coalitions))
    for start in range(0, len(coalitions), _MODELS_AT_ONCE):
        part = slice(start, start + _MODELS_AT_ONCE)
        thetas = base + coalitions[part].astype(np.float64) @ members
        values[part] = model_values(module, thetas, rows)
    return values


def model_values(module: nn.Module, thetas: Floats, rows: JudgeRows) -> Floats:
    """float64[B]: minus the mean squared error of each of B parameter vectors [B, d]."""
    errors = rows.residual - module_outputs(module, thetas, rows.inputs)
    return np.asarray(-np.mean(errors * errors, axis=1))


def module_outputs(module: nn.Module, thetas: Floats, inputs: Floats) -> Floats:
    """float64[B, n]: the module's output for each of B parameter vectors [B, d]."""
    network = TanhNetwork.of(module)
    if network is not None:
        return network.outputs(thetas, inputs)
    parameters = [(name, each.shape) for name, each in module.named_parameters()]
    rows = torch.from_numpy(np.ascontiguousarray(inputs))
    outputs = np.empty((len(thetas), len(inputs)))
    with torch.no_grad():
        for output, theta in zip(outputs, np.ascontiguousarray(thetas), strict=True):
            pieces = torch.split(
                torch.from_numpy(theta), [shape.numel() for _, shape in parameters]
            )
            weights = {
                name: piece.reshape(shape)
                for (name, shape), piece in zip(parameters, pieces, strict=True)
            }
            result: torch.Tensor = torch.func.functional_call(module, weights, (rows,))
            output[:] = result.reshape(-1).numpy()
    return outputs
