# SPDX-License-Identifier: Apache-2.0
"""Shapley values: exact ones of a network and of a linear head, and sampled ones.

    python -m bench.shapley

In CPU seconds of one thread; where ours and the peer take turns, the least of each counts: what
others do on the machine only adds. The peers: a loop over state dicts in torch, the textbook sum,
and plain permutations. Each member sends the noisy gradient of its own rows, of which some have
more and some have worse ones.
"""

from __future__ import annotations

import copy
import itertools
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from rewards.shapley import (
    Coalitions,
    exact_shapley,
    gram_shapley,
    sampled_shapley,
    shapley_by_definition,
)
from rounds.coalition import coalition_values, model_values
from rounds.score import SAMPLED_PERMUTATIONS
from valuation.family import JudgeRows

TURNS = 7
TRUTH_PERMUTATIONS = 100_000
CURVED_STEP = 3.0
WIDE, NARROW = (8, 64, 32, 1), (8, 32, 16, 1)
Row = dict[str, Any]
T = TypeVar("T")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Federation:
    """A network, the parameters that all start from [d], what members add to them [K, d], and the
    rows that judge."""

    module: nn.Module
    base: Floats
    members: Floats
    rows: JudgeRows

    def value(self, coalitions: Coalitions) -> Floats:
        """float64[B] of bool[B, K]."""
        thetas = self.base + coalitions.astype(np.float64) @ self.members
        return model_values(self.module, thetas, self.rows)


def federation(
    widths: tuple[int, ...], players: int, rows: int, *, step: float = 0.3
) -> Federation:
    """One step of federated SGD on a curved target: 20 to 200 rows each, labels of which some are
    mostly noise, and noise on the sum as a private update has."""
    torch.manual_seed(11)
    random = np.random.default_rng(11)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b, dtype=torch.float64), nn.Tanh()]
    module = nn.Sequential(*layers[:-1])
    base = nn.utils.parameters_to_vector(module.parameters()).detach().numpy().copy()
    sizes = random.integers(20, 200, players)
    sums = []
    for size in sizes:
        inputs, wanted = _table(random, int(size), noise=float(random.choice([0.2, 0.5, 2.0])))
        errors = module(torch.from_numpy(inputs)).reshape(-1) - torch.from_numpy(wanted)
        pieces = torch.autograd.grad(0.5 * errors.square().sum(), list(module.parameters()))
        gradient = nn.utils.parameters_to_vector(pieces)
        sums.append(gradient.numpy() + 3.0 * random.normal(size=len(base)))
    inputs, wanted = _table(random, rows, noise=0.2)
    members = -step * np.array(sums) / sizes.sum()
    return Federation(module, base, members, JudgeRows(inputs, np.zeros(rows), wanted))


def _table(random: np.random.Generator, rows: int, *, noise: float) -> tuple[Floats, Floats]:
    inputs = random.normal(size=(rows, WIDE[0]))
    wanted = np.sin(inputs[:, 0]) + inputs[:, 1] * inputs[:, 2] / 2 + inputs[:, 3]
    return inputs, wanted + noise * random.normal(size=rows)


def state_dict_values(game: Federation, *, own_models: bool = False) -> Floats:
    """float64[2^K] by a loop over the state dicts of all coalitions: summed, loaded into the module
    or into a copy of its own, evaluated."""
    base, *members = (_state_dict(game.module, each) for each in (game.base, *game.members))
    inputs, wanted = torch.from_numpy(game.rows.inputs), torch.from_numpy(game.rows.residual)
    values = np.empty(1 << len(members))
    with torch.no_grad():
        for code in range(len(values)):
            chosen = [member for i, member in enumerate(members) if code >> i & 1]
            state = {name: base[name] + sum(each[name] for each in chosen) for name in base}
            module = copy.deepcopy(game.module) if own_models else game.module
            module.load_state_dict(state)
            values[code] = -nn.functional.mse_loss(module(inputs).reshape(-1), wanted).item()
    return values


def _state_dict(module: nn.Module, theta: Floats) -> dict[str, torch.Tensor]:
    found, start = {}, 0
    for name, each in module.state_dict().items():
        found[name] = torch.from_numpy(theta[start : start + each.numel()]).reshape(each.shape)
        start += each.numel()
    return found


def exact_rows() -> list[Row]:
    """N = 10 against the loop and its own Shapley values by the definition; N = 14 alone."""
    small, large = federation(WIDE, 10, 1000), federation(WIDE, 14, 1000)
    ours, loop, apart = [], [], []
    found = known = np.zeros(0)
    for _ in range(TURNS):
        found, spent = timed(lambda: _exact(small))
        known, slow = timed(lambda: state_dict_values(small))
        ours.append(spent)
        loop.append(slow)
        apart.append(timed(lambda: state_dict_values(small, own_models=True))[1])
    expected = shapley_by_definition(lambda who: known[sum(1 << i for i in who)], 10)
    difference = float(np.max(np.abs(found - expected)))
    all_of_14, seconds = timed(lambda: _exact(large))
    ends = Federation(large.module, large.base, large.members.sum(axis=0)[None], large.rows)
    nobody, everybody = state_dict_values(ends)
    gap = abs(float(all_of_14.sum() - (everybody - nobody)))
    ratio, wider = min(loop) / min(ours), min(apart) / min(ours)
    peer = "loop over state dicts"
    return [
        _row(
            "exact Shapley, N = 10, 1,000 rows, MLP 8-64-32-1",
            f"{1e3 * min(ours):.0f} ms CPU",
            f"{peer}: {1e3 * min(loop):.0f} ms CPU",
            (ratio, "ratio", ">= 6", ratio >= 6.0),
        ),
        _row(
            "the same",
            f"{1e3 * min(ours):.0f} ms CPU",
            f"{peer}, a copy of the module for each: {1e3 * min(apart):.0f} ms CPU",
            (wider, "ratio", "stated", True),
        ),
        _row(
            "the same, largest difference",
            difference,
            f"{peer}, by the definition",
            (difference, "squared error", "<= 1e-09", difference <= 1e-9),
        ),
        _row(
            "exact Shapley, N = 14, 1,000 rows, MLP 8-64-32-1",
            f"{seconds:.2f} s CPU",
            f"{peer}, 16 times N = 10: {16 * min(loop):.1f} s CPU",
            (seconds, "CPU seconds", "<= 5", seconds <= 5.0),
        ),
        _row(
            "the same, sum against v(all) - v(none)",
            float(all_of_14.sum()),
            f"two state dicts: {everybody - nobody:.9f}",
            (gap, "squared error", "<= 1e-06", gap <= 1e-6),
        ),
    ]


def _exact(game: Federation) -> Floats:
    return exact_shapley(coalition_values(game.module, game.base, game.members, game.rows))


def linear_rows() -> list[Row]:
    """A linear head of 14 members: one Gram matrix against the sum over all coalitions."""
    random = np.random.default_rng(5)
    inputs, wanted = random.normal(size=(1000, 200)), random.normal(size=1000)
    effects = random.normal(size=(14, 200)) @ inputs.T / 100
    (first, gram), before = timed(lambda: (effects @ wanted / 1000, effects @ effects.T / 1000))
    found, seconds = timed(lambda: gram_shapley(first, gram))
    known: dict[frozenset[int], float] = {}

    def value(who: frozenset[int]) -> float:
        if who not in known:
            known[who] = -float(np.mean((wanted - effects[sorted(who)].sum(axis=0)) ** 2))
        return known[who]

    expected, slow = timed(lambda: np.array(shapley_by_definition(value, 14)))
    difference, milliseconds = float(np.max(np.abs(found - expected))), 1e3 * seconds
    return [
        _row(
            "exact Shapley, linear head, N = 14",
            f"{milliseconds:.3f} ms CPU, and {1e3 * before:.1f} ms for the Gram matrix",
            f"sum over all coalitions: {1e3 * slow:.0f} ms CPU",
            (milliseconds, "CPU milliseconds", "<= 100", milliseconds <= 100.0),
        ),
        _row(
            "the same, largest difference",
            difference,
            "sum over all coalitions",
            (difference, "squared error", "<= 1e-09", difference <= 1e-9),
        ),
    ]


def sampled_rows() -> list[Row]:
    """50 members: what a task samples against 100,000 permutations drawn otherwise, in a game so
    curved that scores by halves of the permutations differ."""
    game = federation(NARROW, 50, 100, step=CURVED_STEP)
    (found, errors), seconds = timed(
        lambda: sampled_shapley(
            game.value, 50, seed=b"bench.shapley", permutations=SAMPLED_PERMUTATIONS
        )
    )
    (truth, truth_errors), slow = timed(lambda: plain_permutations(game, TRUTH_PERMUTATIONS))
    rank = float(spearmanr(found, truth).statistic)
    far = np.abs(found - truth) / np.hypot(errors, truth_errors)
    worst = float(np.max(far))
    peer = f"{TRUTH_PERMUTATIONS:,} plain permutations: {slow:.0f} s CPU"
    return [
        _row(
            f"sampled Shapley, N = 50, {SAMPLED_PERMUTATIONS} permutations forth and back",
            f"{seconds:.2f} s CPU",
            peer,
            (rank, "Spearman", ">= 0.98", rank >= 0.98),
        ),
        _row(
            "the same, largest distance from the truth in standard errors",
            f"{np.sum(far <= 1.96)} of 50 within 1.96; median standard error"
            f" {np.median(errors):.1e} of scores {found.min():.1e} to {found.max():.1e}",
            f"{peer}, of a standard error of {np.median(truth_errors):.1e}",
            (worst, "standard errors", "<= 4", worst <= 4.0),
        ),
    ]


def plain_permutations(game: Federation, count: int) -> tuple[Floats, Floats]:
    """Means of marginals over so many permutations, each walked forth only, and their standard
    errors, float64[K] each."""
    random, players, at_once = np.random.default_rng(77), len(game.members), 40
    total, squares = np.zeros(players), np.zeros(players)
    for start in range(0, count, at_once):
        orders = random.permuted(
            np.tile(np.arange(players), (min(at_once, count - start), 1)), axis=1
        )
        # [P, K + 1, K]: in the first k of each order.
        places = np.argsort(orders, axis=1)
        masks = places[:, None, :] < np.arange(players + 1)[None, :, None]
        values = game.value(masks.reshape(-1, players)).reshape(len(orders), players + 1)
        gains = np.take_along_axis(np.diff(values, axis=1), places, axis=1)
        total += gains.sum(axis=0)
        squares += (gains**2).sum(axis=0)
    mean = total / count
    return mean, np.sqrt((squares / count - mean**2) / (count - 1))


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What it gives, and the CPU seconds it took."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def _row(name: str, ours: object, peer: str, measured: tuple[float, str, str, bool]) -> Row:
    value, unit, bar, holds = measured
    found = {"name": name, "ours": ours, "peer": peer, "value": value}
    return found | {"unit": unit, "bar": bar, "holds": holds}


def rows() -> list[Row]:
    """Every row of the Shapley bars. RuntimeError where arithmetic may take several threads."""
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise RuntimeError("set OMP_NUM_THREADS=1: the bars are for one thread")
    torch.set_num_threads(1)
    return exact_rows() + linear_rows() + sampled_rows()


def main() -> int:
    """Measure and print; 1 where a row falls short."""
    from rich.console import Console

    from bench.suite import show

    measured = rows()
    show("Shapley values", measured, Console())
    return 0 if all(row["holds"] for row in measured) else 1


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":
        os.execve(  # BLAS reads it as it is loaded
            sys.executable,
            [sys.executable, "-m", "bench.shapley", *sys.argv[1:]],
            {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
    sys.exit(main())
