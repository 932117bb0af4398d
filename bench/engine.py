# SPDX-License-Identifier: Apache-2.0
"""The DP engine against plain SGD and against Opacus, and its sums against torch.func.vmap.

    OMP_NUM_THREADS=1 python -m bench.engine

One epoch over 20,000 rows by shuffled slices, MLP 8-64-64-1 with Tanh, squared error, in CPU
seconds of one thread. All take the same rows in the same batches, in float64 as the product does:

- the engine: clipped sums, secure noise for every parameter, a step on the parameter vector;
- plain SGD: forward, backward and `torch.optim.SGD` on slices of two tensors, no DataLoader;
- Opacus: `GradSampleModule` with `DPOptimizer`, or its ghost clipping, on the same slices (no
  DataLoader, no accountant), in its secure mode, which also makes each sample from several. Its
  generator is torch's own: the cryptographic one that Opacus names is not maintained.

Ours and the peers take turns, and the median of the ratios of a turn counts.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
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
TURNS = 9
MOST_UNIT_ROWS = 20
Floats = np.ndarray[Any, np.dtype[np.float64]]
Epoch = Callable[[], None]

PLAIN_BARS = {256: 1.5, 4096: 1.3, ROWS: 1.3}
HOOKS_BARS = {256: 8.0, 4096: 25.0}
GHOST_BARS = {256: 6.0, 4096: 20.0}
ERROR_BAR = 1e-6


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
        order = np.arange(ROWS) if grouped else np.random.default_rng().permutation(ROWS)
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
            theta[:] -= (RATE / batch) * update

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


def hooks_epoch(batch: int) -> Epoch:
    """Opacus with per-sample gradients by hooks."""
    module = GradSampleModule(network())
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

    return _torch_epoch(batch, step, torch.float64)


def ghost_epoch(batch: int) -> Epoch:
    """Opacus with ghost clipping."""
    module = GradSampleModuleFastGradientClipping(network(), max_grad_norm=CLIP_NORM)
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

    return _torch_epoch(batch, step, torch.float64)


def take_turns(epochs: dict[str, Epoch], turns: int = TURNS) -> dict[str, Floats]:
    """CPU seconds of each epoch, float64[turns]."""
    for epoch in epochs.values():
        epoch()
    seconds = {name: np.zeros(turns) for name in epochs}
    for turn in range(turns):
        for name, epoch in epochs.items():
            start = time.process_time()
            epoch()
            seconds[name][turn] = time.process_time() - start
    return seconds


def _batch_name(batch: int) -> str:
    return "full batch" if batch == ROWS else f"batch {batch}"


def _ratio_row(
    name: str, seconds: dict[str, Floats], above: str, below: str, peer: str, bar: float | None
) -> dict[str, Any]:
    """The median over turns of seconds[above] / seconds[below], at most the bar where ours is
    above, at least where ours is below."""
    value = float(np.median(seconds[above] / seconds[below]))
    at_most = peer == below
    ours = below if peer == above else above
    return {
        "name": name,
        "ours": f"{1e3 * np.median(seconds[ours]):.1f} ms",
        "peer": f"{peer}: {1e3 * np.median(seconds[peer]):.1f} ms",
        "value": value,
        "unit": "ratio",
        "bar": "stated" if bar is None else f"{'<=' if at_most else '>='} {bar:g}",
        "holds": bar is None or (value <= bar if at_most else value >= bar),
    }


def speed_rows(batch: int) -> list[dict[str, Any]]:
    """All comparisons at one batch size."""
    epochs = {
        "engine": engine_epoch(batch),
        "plain SGD": plain_epoch(batch),
        "plain SGD in float32": plain_epoch(batch, torch.float32),
        "engine, units of 1-20 rows": engine_epoch(batch, grouped=True),
    }
    if batch in HOOKS_BARS:
        epochs |= {"Opacus hooks": hooks_epoch(batch), "Opacus ghost": ghost_epoch(batch)}
    seconds = take_turns(epochs)
    at = _batch_name(batch)
    rows = [
        _ratio_row(
            f"engine against plain SGD, {at}",
            seconds,
            "engine",
            "plain SGD",
            "plain SGD",
            PLAIN_BARS[batch],
        ),
        _ratio_row(
            f"engine in float64 against plain SGD in float32, {at}",
            seconds,
            "engine",
            "plain SGD in float32",
            "plain SGD in float32",
            None,
        ),
        _ratio_row(
            f"engine, units of 1-20 rows, against plain SGD, {at}",
            seconds,
            "engine, units of 1-20 rows",
            "plain SGD",
            "plain SGD",
            None,
        ),
    ]
    for peer, bars in (("Opacus hooks", HOOKS_BARS), ("Opacus ghost", GHOST_BARS)):
        if batch in bars:
            rows.append(
                _ratio_row(
                    f"{peer} against engine, {at}", seconds, peer, "engine", peer, bars[batch]
                )
            )
    return rows


def vmap_error() -> float:
    """Largest relative error of a clipped sum against one gradient a row by torch.func.vmap: the
    model above with random weights, units of one row and of 1 to 20, with and without Huber's."""
    inputs, targets = (each[:2_000] for each in table())
    worst = 0.0
    for seed in range(4):
        torch.manual_seed(seed)
        module = network()
        gradients_of = torch.func.vmap(torch.func.grad(_loss(module)), in_dims=(None, 0, 0, None))
        for huber in (1e9, 0.3):
            found = gradients_of(
                {name: each.detach() for name, each in module.named_parameters()},
                torch.from_numpy(inputs),
                torch.from_numpy(targets),
                huber,
            )
            gradients = torch.cat([each.reshape(len(inputs), -1) for each in found.values()], dim=1)
            for units in (np.arange(len(inputs)), unit_labels()[: len(inputs)]):
                for clip_norm in (0.1, 3.0):
                    expected = _clipped(gradients.numpy(), units, clip_norm)
                    ours = Engine(module, COLUMNS).clipped_sum(
                        parameter_vector(module),
                        inputs,
                        targets,
                        units,
                        clip_norm=clip_norm,
                        max_rows=MOST_UNIT_ROWS,
                        huber=huber,
                    )
                    error = np.linalg.norm(ours - expected) / np.linalg.norm(expected)
                    worst = max(worst, float(error))
    return worst


def _loss(module: nn.Module) -> Callable[..., torch.Tensor]:
    def loss(
        weights: dict[str, torch.Tensor], row: torch.Tensor, wanted: torch.Tensor, huber: float
    ) -> torch.Tensor:
        output = torch.func.functional_call(module, weights, (row[None],)).reshape(())
        return nn.functional.huber_loss(output, wanted, delta=huber)

    return loss


def _clipped(gradients: Floats, units: np.ndarray[Any, Any], clip_norm: float) -> Floats:
    total = np.zeros(gradients.shape[1])
    for unit in np.unique(units):
        gradient = gradients[units == unit].sum(axis=0)
        total += gradient * min(1.0, clip_norm / np.linalg.norm(gradient))
    return total


def rows() -> list[dict[str, Any]]:
    """Every row of the engine's bars. RuntimeError where arithmetic may take several threads."""
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise RuntimeError("set OMP_NUM_THREADS=1: the bars are for one thread")
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="opacus|torch")
    error = vmap_error()
    found = [
        {
            "name": "clipped sums against torch.func.vmap",
            "ours": error,
            "peer": "torch.func.vmap, plain loops over units",
            "value": error,
            "unit": "relative error",
            "bar": f"<= {ERROR_BAR:g}",
            "holds": error <= ERROR_BAR,
        }
    ]
    for batch in PLAIN_BARS:
        found += speed_rows(batch)
    return found


def main() -> int:
    """Measure and print; 1 where a row falls short."""
    from rich.console import Console

    from bench.suite import show

    measured = rows()
    show("The DP engine", measured, Console())
    return 0 if all(row["holds"] for row in measured) else 1


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(  # BLAS reads it as it is loaded
            sys.executable,
            [sys.executable, "-m", "bench.engine", *sys.argv[1:]],
            {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
    sys.exit(main())
