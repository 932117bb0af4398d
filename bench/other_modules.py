# SPDX-License-Identifier: Apache-2.0
"""Modules without a closed form: the engine's gradients by row beside Opacus' GradSampleModule.

For each layer between two Linear ones: the relative error of the clipped sum against autograd on
one row after the other, and whether Opacus' ModuleValidator lets the module through; then CPU
seconds for 4,096 rows. docs/spec/privacy.md, section 2, says what follows from it.

    python -m bench.other_modules
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.validators import ModuleValidator
from torch import nn

from dao.errors import TaskError
from privacy.engine import Engine, parameter_vector

Floats = NDArray[np.float64]

WIDTH = 8
CLIP_NORM = 0.5
REPEATS = 3


class _Layer(nn.Module):
    """A layer that no library knows: one Linear layer and a function of what it gives."""

    def __init__(self, function: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self._function = function

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self._function(self.linear, rows)


def layers() -> dict[str, nn.Module]:
    """By what they do; the last two let rows meet."""
    return {
        "LayerNorm": nn.LayerNorm(WIDTH),
        "GroupNorm": nn.GroupNorm(2, WIDTH),
        "PReLU": nn.PReLU(),
        "one layer used twice": _Layer(lambda linear, rows: linear(torch.tanh(linear(rows)))),
        "less the batch's mean": _Layer(lambda linear, rows: linear(rows) - linear(rows).mean(0)),
        "over the batch's size": _Layer(lambda linear, rows: linear(rows) / len(rows)),
    }


def row_by_row(module: nn.Module, rows: torch.Tensor, targets: torch.Tensor) -> Floats:
    """The clipped sum by autograd, one row after the other, float64[d]."""
    total = np.zeros(sum(each.numel() for each in module.parameters()))
    for i in range(len(rows)):
        module.zero_grad()
        (0.5 * (module(rows[i : i + 1])[:, 0] - targets[i : i + 1]) ** 2).sum().backward()
        parts = [np.asarray(each.grad).reshape(-1) for each in module.parameters()]
        gradient = np.concatenate(parts)
        total += gradient * min(1.0, CLIP_NORM / float(np.linalg.norm(gradient)))
    return total


def by_hooks(module: nn.Module, rows: torch.Tensor, targets: torch.Tensor) -> Floats:
    """The clipped sum from the per-sample gradients of Opacus' hooks, float64[d]."""
    sampled = GradSampleModule(module, loss_reduction="sum")
    (0.5 * (sampled(rows)[:, 0] - targets) ** 2).sum().backward()
    parts = [each.grad_sample.reshape(len(rows), -1) for each in sampled.parameters()]
    gradients = torch.cat(parts, dim=1)
    factors = (CLIP_NORM / gradients.norm(dim=1, keepdim=True)).clamp(max=1.0)
    found: Floats = (gradients * factors).sum(dim=0).numpy()
    sampled.remove_hooks()
    return found


def by_engine(
    engine: Engine, module: nn.Module, rows: torch.Tensor, targets: torch.Tensor
) -> Floats:
    """The engine's clipped sum at the module's parameters, float64[d]."""
    return engine.clipped_sum(
        parameter_vector(module),
        rows.numpy(),
        targets.numpy(),
        np.arange(len(rows)),
        clip_norm=CLIP_NORM,
        max_rows=1,
        huber=None,
    )


def network(layer: nn.Module, width: int = WIDTH) -> nn.Module:
    """The layer between two Linear ones, in float64."""
    return nn.Sequential(nn.Linear(WIDTH, width), layer, nn.Linear(width, 1)).double()


def made_up(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows float64[rows, WIDTH] and targets float64[rows]."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(rows, WIDTH + 1, generator=generator, dtype=torch.float64)
    return drawn[:, :WIDTH].contiguous(), drawn[:, WIDTH].contiguous()


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    rows, targets = made_up(50)
    print(f"{'layer':24}{'ModuleValidator':>16}{'hooks':>10}  engine")
    for name, layer in layers().items():
        module = network(layer)
        truth = row_by_row(module, rows, targets)
        size = np.linalg.norm(truth)
        hooks = np.linalg.norm(by_hooks(module, rows, targets) - truth) / size
        valid = "refuses" if ModuleValidator.validate(module, strict=False) else "passes"
        try:
            ours_sum = by_engine(Engine(module, WIDTH), module, rows, targets)
            error = np.linalg.norm(ours_sum - truth) / size
            ours = f"{error:.1e}"
        except TaskError as refusal:
            ours = f"refused: {refusal.message}"
        print(f"{name:24}{valid:>16}{hooks:>10.1e}  {ours}")
    middle = nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 64), nn.Tanh())
    module, (rows, targets) = network(middle, 64), made_up(4_096)
    engine = Engine(module, WIDTH)
    seconds = {"hooks": [0.0] * REPEATS, "engine": [0.0] * REPEATS}
    for i in range(REPEATS):
        start = time.process_time()
        by_hooks(module, rows, targets)
        between = time.process_time()
        by_engine(engine, module, rows, targets)
        seconds["hooks"][i] = between - start
        seconds["engine"][i] = time.process_time() - between
    for name, found in seconds.items():
        print(f"{name}: {min(found):.2f} CPU-s for 4,096 rows, 8-64-64-1 with a LayerNorm")


if __name__ == "__main__":
    main()
