# SPDX-License-Identifier: Apache-2.0
"""The fast values of coalitions of a network against torch, one state dict after another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rewards.shapley import exact_shapley, shapley_by_definition
from rounds.coalition import coalition_values, model_values, module_outputs
from rounds.tanh_coalitions import every_coalition_value
from rounds.tanh_network import TanhNetwork
from valuation.family import JudgeRows
from valuation.mlp import Scale

CASES = st.tuples(
    st.lists(st.integers(1, 9), min_size=2, max_size=4),  # inputs and hidden layers
    st.integers(0, 5),  # members
    st.integers(1, 40),  # rows
    st.integers(0, 2**32 - 1),
)


def _network(widths: list[int], activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in zip(widths, [*widths[1:], 1], strict=True):
        layers += [nn.Linear(a, b, dtype=torch.float64), activation()]
    return nn.Sequential(*layers[:-1], Scale(0.25))


def _game(module: nn.Module, inputs: int, players: int, rows: int, seed: int):
    """The base, the members and the judging rows."""
    random = np.random.default_rng(seed)
    size = sum(each.numel() for each in module.parameters())
    judging = JudgeRows(
        random.normal(size=(rows, inputs)), np.zeros(rows), random.normal(size=rows)
    )
    return random.normal(size=size), random.normal(size=(players, size)), judging


def _slow(module: nn.Module, theta: np.ndarray, rows: JudgeRows) -> float:
    """By a state dict."""
    state, start = {}, 0
    for name, each in module.state_dict().items():
        state[name] = torch.from_numpy(theta[start : start + each.numel()]).reshape(each.shape)
        start += each.numel()
    module.load_state_dict(state)
    with torch.no_grad():
        output = module(torch.from_numpy(rows.inputs)).reshape(-1)
        return -float(nn.functional.mse_loss(output, torch.from_numpy(rows.residual)))


def _one_by_one(
    module: nn.Module, base: np.ndarray, members: np.ndarray, rows: JudgeRows
) -> list[float]:
    return [
        _slow(module, base + sum(m for i, m in enumerate(members) if code >> i & 1), rows)
        for code in range(1 << len(members))
    ]


@given(CASES)
@settings(max_examples=60, deadline=None)
def test_every_coalition_has_the_value_of_its_state_dict(case) -> None:
    widths, players, count, seed = case
    module = _network(widths)
    base, members, rows = _game(module, widths[0], players, count, seed)
    slow = _one_by_one(module, base, members, rows)
    network = TanhNetwork.of(module)
    assert network == TanhNetwork((*widths, 1), 0.25)
    values = every_coalition_value(network, base, members, rows)
    assert values == pytest.approx(slow, rel=1e-12, abs=1e-12)
    assert np.array_equal(values, coalition_values(module, base, members, rows))
    outputs = module_outputs(module, base + members, rows.inputs)
    with torch.no_grad():
        for output, member in zip(outputs, members, strict=True):
            nn.utils.vector_to_parameters(torch.from_numpy(base + member), module.parameters())
            expected = module(torch.from_numpy(rows.inputs)).reshape(-1).numpy()
            assert output == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_rows_and_models_that_fill_several_blocks_are_valued_as_one_by_one() -> None:
    module = _network([3, 300, 20])
    base, members, rows = _game(module, 3, 5, 150, 1)
    slow = _one_by_one(module, 0.1 * base, 0.1 * members, rows)
    values = coalition_values(module, 0.1 * base, 0.1 * members, rows)
    assert values == pytest.approx(slow, rel=1e-12)
    thetas = 0.1 * (base + np.random.default_rng(2).normal(size=(30, len(base))))
    slow = [_slow(module, theta, rows) for theta in thetas]
    assert model_values(module, thetas, rows) == pytest.approx(slow, rel=1e-12)


@given(CASES)
@settings(max_examples=30, deadline=None)
def test_shapley_values_of_a_network_keep_efficiency_symmetry_and_the_null_player(case) -> None:
    """Beside random members one more that sends what the first one sent, and one that sent
    nothing."""
    widths, players, count, seed = case
    module = _network(widths)
    base, members, rows = _game(module, widths[0], players + 1, count, seed)
    members = np.vstack((members, members[0], np.zeros(len(base))))
    found = exact_shapley(coalition_values(module, base, members, rows))
    nobody, everybody = (
        _slow(module, base + who.sum(axis=0), rows) for who in (members[:0], members)
    )
    assert found.sum() == pytest.approx(everybody - nobody, abs=1e-10)
    assert found[-2] == pytest.approx(found[0], abs=1e-10)
    assert abs(found[-1]) < 1e-10


def test_shapley_values_of_a_network_are_the_definition() -> None:
    module = _network([3, 6, 4])
    base, members, rows = _game(module, 3, 5, 20, 8)
    slow = shapley_by_definition(
        lambda who: _slow(module, base + members[sorted(who)].sum(axis=0), rows), 5
    )
    found = exact_shapley(coalition_values(module, base, members, rows))
    assert found == pytest.approx(slow, abs=1e-12)


@pytest.mark.parametrize("size", [1e3, 1e100])
def test_weights_that_have_exploded_are_valued_one_by_one(size: float) -> None:
    module = _network([2, 5])
    base, members, rows = _game(module, 2, 3, 10, 3)
    members[1] *= size
    assert every_coalition_value(TanhNetwork.of(module), base, members, rows) is None
    slow = _one_by_one(module, base, members, rows)
    values = coalition_values(module, base, members, rows)
    assert values == pytest.approx(slow, rel=1e-9)


def _without_bias() -> nn.Module:
    return nn.Sequential(
        nn.Linear(2, 3, bias=False, dtype=torch.float64),
        nn.Tanh(),
        nn.Linear(3, 1, dtype=torch.float64),
    )


@pytest.mark.parametrize(
    "module",
    [
        _network([2, 4], nn.ReLU),
        _network([2]),
        _without_bias(),
        nn.Sequential(_network([2, 4]), Scale(2.0)),
    ],
    ids=["relu", "linear", "no bias", "nested"],
)
def test_any_other_module_is_valued_one_by_one(module: nn.Module) -> None:
    assert TanhNetwork.of(module) is None
    base, members, rows = _game(module, 2, 4, 12, 5)
    slow = _one_by_one(module, base, members, rows)
    assert coalition_values(module, base, members, rows) == pytest.approx(slow, rel=1e-12)


def test_a_network_in_float32_or_of_two_outputs_is_not_taken_for_one() -> None:
    assert TanhNetwork.of(_network([2, 4]).float()) is None
    double = {"dtype": torch.float64}
    two = nn.Sequential(nn.Linear(2, 3, **double), nn.Tanh(), nn.Linear(3, 2, **double))
    assert TanhNetwork.of(two) is None
