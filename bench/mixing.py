# SPDX-License-Identifier: Apache-2.0
"""Nearest-neighbour mixing with the trimmed mean, against byzfl.

    python -m bench.mixing

64 updates of 100,000 on their grid, in CPU seconds of one thread. byzfl reckons in NumPy's float64
or, in about a third of the time, in torch's float32. The faster way is timed: ours and theirs take
turns, and the median of the ratios of a turn counts. The exacter way is compared.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from rounds.mixing import mixing_weights, nnm_trimmed_mean
from rounds.state import Floats

COUNT, LENGTH = 64, 100_000
TOLERATED = 12
"""Of 64, a little below two in ten."""
TURNS = 5
BAR = 20.0
ERROR_BAR = 1e-5
Row = dict[str, Any]


def byzfl_rule(tolerated: int) -> Callable[[Any], Any]:
    """byzfl's mixing followed by its trimmed mean.

    Its package also imports torchvision, which fails beside a CPU build of torch. The aggregators
    do not need it, so they are imported without the package's own first lines.
    """
    if "byzfl" not in sys.modules:
        found = importlib.util.find_spec("byzfl")
        if found is None or found.submodule_search_locations is None:
            raise RuntimeError("byzfl is not installed; it comes with the extra `bench`")
        package = types.ModuleType("byzfl")
        package.__path__ = list(found.submodule_search_locations)
        sys.modules["byzfl"] = package
    aggregators = importlib.import_module("byzfl.aggregators")
    mix, trim = aggregators.NNM(tolerated), aggregators.TrMean(tolerated)
    return lambda updates: trim(mix(updates))


def updates_on_a_grid(length: int) -> Floats:
    """float64[K, d]: a shared gradient, each one's own, and noise of 512 steps of the grid."""
    random = np.random.default_rng(length)
    shared = 200.0 * random.normal(size=length)
    own = 100.0 * random.normal(size=(COUNT, length))
    return np.rint(shared + own + 512.0 * random.normal(size=(COUNT, length)))


def largest_error() -> float:
    """Largest difference from byzfl in float64, as a share of the largest coordinate: of the
    aggregate and of the sum that the weights make, also for fewer and for more attackers."""
    worst = 0.0
    for length, tolerated in ((LENGTH, TOLERATED), (3_000, 1), (3_000, 21), (3_000, 31)):
        updates = updates_on_a_grid(length)
        theirs = byzfl_rule(tolerated)(updates)
        weighed = np.sum(mixing_weights(updates, tolerated=tolerated) * updates, axis=0) / COUNT
        for ours in (nnm_trimmed_mean(updates, tolerated=tolerated), weighed):
            worst = max(worst, float(np.abs(ours - theirs).max() / np.abs(theirs).max()))
    return worst


def take_turns(rules: dict[str, Callable[[], Any]]) -> dict[str, Floats]:
    """CPU seconds of each rule, float64[TURNS]."""
    seconds = {name: np.zeros(TURNS) for name in rules}
    for rule in rules.values():
        rule()
    for turn in range(TURNS):
        for name, rule in rules.items():
            start = time.process_time()
            rule()
            seconds[name][turn] = time.process_time() - start
    return seconds


def rows() -> list[Row]:
    """Every row of the bar. RuntimeError where arithmetic may take several threads, or where byzfl
    is not installed."""
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise RuntimeError("set OMP_NUM_THREADS=1: the bar is for one thread")
    torch.set_num_threads(1)
    theirs, updates = byzfl_rule(TOLERATED), updates_on_a_grid(LENGTH)
    tensor = torch.from_numpy(updates)
    seconds = take_turns(
        {
            "mean": lambda: nnm_trimmed_mean(updates, tolerated=TOLERATED),
            "weights": lambda: mixing_weights(updates, tolerated=TOLERATED),
            "byzfl": lambda: theirs(tensor),
        }
    )
    error = largest_error()
    return [
        _row(f"mixing + trimmed mean, {COUNT} x {LENGTH:,}", seconds, "mean", BAR),
        _row("the same with the weight of every coordinate", seconds, "weights"),
        {
            "name": "mixing + trimmed mean, and the sum by weights, against byzfl",
            "ours": error,
            "peer": "byzfl (NumPy, float64)",
            "value": error,
            "unit": "share of the largest coordinate",
            "bar": f"<= {ERROR_BAR:g}",
            "holds": error <= ERROR_BAR,
        },
    ]


def _row(name: str, seconds: dict[str, Floats], ours: str, bar: float | None = None) -> Row:
    value = float(np.median(seconds["byzfl"] / seconds[ours]))
    return {
        "name": name,
        "ours": f"{1e3 * np.median(seconds[ours]):.0f} ms",
        "peer": f"byzfl (torch, float32): {1e3 * np.median(seconds['byzfl']):.0f} ms",
        "value": value,
        "unit": "ratio",
        "bar": "stated" if bar is None else f">= {bar:g}",
        "holds": bar is None or value >= bar,
    }


def main() -> int:
    """Measure and print; 1 where a row falls short."""
    from rich.console import Console

    from bench.suite import show

    measured = rows()
    show("Nearest-neighbour mixing", measured, Console())
    return 0 if all(row["holds"] for row in measured) else 1


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(  # BLAS reads it as it is loaded
            sys.executable,
            [sys.executable, "-m", "bench.mixing", *sys.argv[1:]],
            {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
    sys.exit(main())
