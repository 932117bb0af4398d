# SPDX-License-Identifier: Apache-2.0
"""Values that several steps read, in any order: the closed form against torch.func.vmap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from privacy.engine import Engine, parameter_vector
from tests.unit.privacy.vmap_reference import reference_sum, shuffled_units

WIDTH = 3
FUNCTIONS = (torch.tanh, torch.sigmoid, torch.relu, nn.functional.silu)


class Paths(nn.Module):
    """Each step reads values made before it, chosen by chance; up to three heads read the last."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        chance = np.random.default_rng(seed)
        self.steps = [
            (chance.choice(["layer", "function", "sum"]), *chance.integers(0, 1 << 30, 3).tolist())
            for _ in range(chance.integers(2, 9))
        ]
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in self.steps)
        self.heads = nn.ModuleList(nn.Linear(WIDTH, 1) for _ in range(chance.integers(1, 4)))
        self.read = chance.integers(0, 1 << 30, len(self.heads)).tolist()
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for (kind, first, second, choice), layer in zip(self.steps, self.layers, strict=True):
            value = values[first % len(values)]
            if kind == "layer":
                values.append(layer(value))
            elif kind == "function":
                values.append(FUNCTIONS[choice % len(FUNCTIONS)](value))
            else:
                values.append(value - 0.5 * values[second % len(values)])
        values.reverse()
        heads = [
            head(values[read % min(3, len(values))])
            for head, read in zip(self.heads, self.read, strict=True)
        ]
        return sum(heads[1:], heads[0])


class TwoReaders(nn.Module):
    """Two functions, or a function and a layer, read one value on the way to two heads."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.below, self.inner = nn.Linear(WIDTH, 4), nn.Linear(4, 4)
        self.heads = nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 1)])
        self.first = first
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.below(x)
        near = torch.tanh(z)
        far = torch.sigmoid(z if self.first else self.inner(z))
        return self.heads[0](near) + self.heads[1](far)


def _error(module: nn.Module, most: int) -> float:
    chance = np.random.default_rng(7)
    units = shuffled_units(chance, 12, most)
    inputs, targets = chance.normal(size=(len(units), WIDTH)), chance.normal(size=len(units))
    options = {"clip_norm": 0.5, "max_rows": 3, "huber": None}
    engine = Engine(module, WIDTH)
    assert engine.closed_form
    ours = engine.clipped_sum(parameter_vector(module), inputs, targets, units, **options)
    reference = reference_sum(module, inputs, targets, units, **options)
    return float(np.linalg.norm(ours - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("first", [True, False])
def test_functions_that_read_one_value_do_not_overwrite_its_slope(first: bool, most: int) -> None:
    assert _error(TwoReaders(first), most) <= 1e-12


@pytest.mark.parametrize("seed", range(40))
def test_any_paths_between_the_values_give_the_sums_of_vmap(seed: int) -> None:
    assert _error(Paths(seed), 1 + seed % 3) <= 1e-12


def test_an_engine_keeps_nothing_of_the_call_before() -> None:
    module = TwoReaders(first=True)
    engine, theta = Engine(module, WIDTH), parameter_vector(module)
    chance = np.random.default_rng(8)
    inputs, targets = chance.normal(size=(40, WIDTH)), chance.normal(size=40)
    options = {"clip_norm": 0.5, "max_rows": 40, "huber": None}

    def ours(rows: int, units: np.ndarray, bad: float = 1.0) -> np.ndarray:
        return engine.clipped_sum(theta, bad * inputs[:rows], targets[:rows], units, **options)

    before = ours(40, np.arange(40))
    kept = before.copy()
    assert not ours(0, np.arange(0)).any()
    assert not ours(3, np.arange(3), np.nan).any()
    one = np.zeros(40, dtype=np.int64)  # so many rows that the unit is computed alone
    reference = reference_sum(module, inputs, targets, one, **options)
    assert np.linalg.norm(ours(40, one) - reference) <= 1e-12 * np.linalg.norm(reference)
    assert np.array_equal(before, kept)
    assert np.array_equal(ours(40, np.arange(40)), kept)
