# SPDX-License-Identifier: Apache-2.0
"""One epoch of training an MLP 8-64-64-1, by the engine, by plain SGD and by Opacus.

All take the same 20,000 rows in shuffled slices, squared error, in float64 as the product does
unless float32 is asked for:

- the engine: clipped sums, secure noise for every parameter, a step on the parameter vector;
- plain SGD: forward, backward and `torch.optim.SGD` on slices of two tensors, no DataLoader;
- Opacus: `GradSampleModule` with `DPOptimizer`, or its ghost clipping, on the same slices (no
  DataLoader, no accountant), in its secure mode, which also makes each sample from several. Its
  generator is torch's own: the cryptographic one that Opacus names is not maintained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from opacus import GradSampleModule
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import nn

from privacy.engine import Engine, parameter_vector
from privacy.noise import SecureNoise

ROWS, COLUMNS, WIDTH = 20_000, 8, 64
CLIP_NORM, NOISE_MULTIPLIER, RATE = 1.0, 1.0, 0.01
MOST_UNIT_ROWS = 20

Floats = np.ndarray[Any, np.dtype[np.float64]]
Epoch = Callable[[], None]


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """MLP 8-64-64-1."""
    return nn.Sequential(
        nn.Linear(COLUMNS, WIDTH),
        nn.Tanh(),
        nn.Linear(WIDTH, WIDTH),
        nn.Tanh(),
        nn.Linear(WIDTH, 1),
    ).to(dtype)


def table() -> tuple[Floats, Floats]:
    """Rows [n, 8] and targets [n]."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(ROWS, COLUMNS))
    return inputs, np.sin(inputs.sum(axis=1)) + 0.1 * random.normal(size=ROWS)


def unit_labels() -> np.ndarray[Any, np.dtype[np.int64]]:
    """Units of 1 to 20 rows, in the order of the rows."""
    sizes = np.random.default_rng(1).integers(1, MOST_UNIT_ROWS + 1, ROWS)
    return np.repeat(np.arange(ROWS), sizes)[:ROWS]


def engine_epoch(batch: int, *, grouped: bool = False) -> Epoch:
    """Ours. With `grouped`, units of 1 to 20 rows that stand together, in the order of the rows."""
    inputs, targets = table()
    module = network()
    engine, theta, noise = Engine(module, COLUMNS), parameter_vector(module), SecureNoise()
    units = unit_labels() if grouped else np.arange(ROWS)
    deviation = NOISE_MULTIPLIER * CLIP_NORM

    def epoch() -> None:
        order = np.arange(ROWS) if grouped else torch.randperm(ROWS).numpy()
        for first in range(0, ROWS, batch):
            rows = order[first : first + batch]
            update = engine.clipped_sum(
                theta,
                inputs[rows],
                targets[rows],
                units[rows],
                clip_norm=CLIP_NORM,
                max_rows=MOST_UNIT_ROWS,
                huber=None,
            )
            update += deviation * noise.gaussian(len(theta))
            np.subtract(theta, (RATE / batch) * update, out=theta)

    return epoch


def _torch_epoch(
    batch: int, step: Callable[[torch.Tensor, torch.Tensor], None], dtype: torch.dtype
) -> Epoch:
    inputs, targets = table()
    rows, wanted = torch.from_numpy(inputs).to(dtype), torch.from_numpy(targets).to(dtype)[:, None]

    def epoch() -> None:
        order = torch.randperm(ROWS)
        for first in range(0, ROWS, batch):
            chosen = order[first : first + batch]
            step(rows[chosen], wanted[chosen])

    return epoch


def plain_epoch(batch: int, dtype: torch.dtype = torch.float64) -> Epoch:
    """SGD without privacy."""
    module, criterion = network(dtype), nn.MSELoss()
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)

    def step(rows: torch.Tensor, wanted: torch.Tensor) -> None:
        optimizer.zero_grad()
        criterion(module(rows), wanted).backward()
        optimizer.step()

    return _torch_epoch(batch, step, dtype)


def hooks_epoch(batch: int, dtype: torch.dtype = torch.float64) -> Epoch:
    """Opacus with per-sample gradients by hooks."""
    module = GradSampleModule(network(dtype))
    criterion = nn.MSELoss()
    optimizer = DPOptimizer(
        torch.optim.SGD(module.parameters(), lr=RATE),
        noise_multiplier=NOISE_MULTIPLIER,
        max_grad_norm=CLIP_NORM,
        expected_batch_size=batch,
        secure_mode=True,
    )

    def step(rows: torch.Tensor, wanted: torch.Tensor) -> None:
        optimizer.zero_grad()
        criterion(module(rows), wanted).backward()
        optimizer.step()

    return _torch_epoch(batch, step, dtype)


def ghost_epoch(batch: int, dtype: torch.dtype = torch.float64) -> Epoch:
    """Opacus with ghost clipping."""
    module = GradSampleModuleFastGradientClipping(network(dtype), max_grad_norm=CLIP_NORM)
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(module.parameters(), lr=RATE),
        noise_multiplier=NOISE_MULTIPLIER,
        max_grad_norm=CLIP_NORM,
        expected_batch_size=batch,
        secure_mode=True,
    )
    criterion = DPLossFastGradientClipping(module, optimizer, nn.MSELoss())

    def step(rows: torch.Tensor, wanted: torch.Tensor) -> None:
        optimizer.zero_grad()
        criterion(module(rows), wanted).backward()
        optimizer.step()

    return _torch_epoch(batch, step, dtype)
