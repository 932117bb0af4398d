# SPDX-License-Identifier: Apache-2.0
"""The DP engine against plain SGD and against Opacus, and its sums against torch.func.vmap.

    python -m bench.engine

In CPU seconds of one thread for one epoch (`bench.dp_epochs`). Ours and the peers take turns, and
the median of the ratios of a turn counts.
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
from torch import nn

from bench.dp_epochs import (
    COLUMNS,
    MOST_UNIT_ROWS,
    ROWS,
    Epoch,
    Floats,
    engine_epoch,
    ghost_epoch,
    hooks_epoch,
    network,
    plain_epoch,
    table,
    unit_labels,
)
from privacy.engine import Engine, parameter_vector

TURNS = 9
Row = dict[str, Any]
PLAIN_BARS = {256: 1.5, 4096: 1.3, ROWS: 1.3}
HOOKS_BARS = {256: 8.0, 4096: 25.0}
GHOST_BARS = {256: 6.0, 4096: 20.0}
ERROR_BAR = 1e-6


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


def _cost(name: str, seconds: dict[str, Floats], ours: str, peer: str, bar: float | None) -> Row:
    """How many times the peer's seconds ours takes: the median over turns, at most the bar."""
    value = float(np.median(seconds[ours] / seconds[peer]))
    holds = bar is None or value <= bar
    return _row(name, seconds, ours, peer, value, "stated" if bar is None else f"<= {bar:g}", holds)


def _gain(name: str, seconds: dict[str, Floats], peer: str, bar: float | None) -> Row:
    """How many times the engine's seconds the peer takes: the median over turns, at least the
    bar."""
    value = float(np.median(seconds[peer] / seconds["engine"]))
    holds = bar is None or value >= bar
    bar_text = "stated" if bar is None else f">= {bar:g}"
    return _row(name, seconds, "engine", peer, value, bar_text, holds)


def _row(
    name: str,
    seconds: dict[str, Floats],
    ours: str,
    peer: str,
    value: float,
    bar: str,
    holds: bool,
) -> Row:
    return {
        "name": name,
        "ours": f"{1e3 * np.median(seconds[ours]):.1f} ms",
        "peer": f"{peer}: {1e3 * np.median(seconds[peer]):.1f} ms",
        "value": value,
        "unit": "ratio",
        "bar": bar,
        "holds": holds,
    }


def speed_rows(batch: int) -> list[Row]:
    """All comparisons at one batch size. Only those in the engine's own float64 have a bar."""
    single = torch.float32
    opacus = {"Opacus hooks": (hooks_epoch, HOOKS_BARS), "Opacus ghost": (ghost_epoch, GHOST_BARS)}
    grouped = f"engine, units of 1-{MOST_UNIT_ROWS} rows"
    epochs = {
        "engine": engine_epoch(batch),
        grouped: engine_epoch(batch, grouped=True),
        "plain SGD": plain_epoch(batch),
        "plain SGD in float32": plain_epoch(batch, single),
    }
    if batch in HOOKS_BARS:
        for peer, (epoch, _) in opacus.items():
            epochs |= {peer: epoch(batch), f"{peer} in float32": epoch(batch, single)}
    seconds = take_turns(epochs)
    at = "full batch" if batch == ROWS else f"batch {batch}"
    rows = [
        _cost(f"engine against plain SGD, {at}", seconds, "engine", "plain SGD", PLAIN_BARS[batch]),
        _cost(f"{grouped}, against plain SGD, {at}", seconds, grouped, "plain SGD", None),
        _cost(
            f"engine against plain SGD in float32, {at}",
            seconds,
            "engine",
            "plain SGD in float32",
            None,
        ),
    ]
    if batch in HOOKS_BARS:
        for peer, (_, bars) in opacus.items():
            rows.append(_gain(f"{peer} against engine, {at}", seconds, peer, bars[batch]))
            name = f"{peer} in float32"
            rows.append(_gain(f"{name} against engine, {at}", seconds, name, None))
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


def rows() -> list[Row]:
    """Every row of the engine's bars. RuntimeError where arithmetic may take several threads."""
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise RuntimeError("set OMP_NUM_THREADS=1: the bars are for one thread")
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Full backward hook is firing")
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
