# SPDX-License-Identifier: Apache-2.0
"""The closed form against torch.func.vmap: random models, units of 1 to 20 rows, hostile rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from privacy import closed_form, passes
from privacy.engine import Engine, clipped_sum, parameter_vector
from tests.unit.privacy.vmap_reference import reference_sum, row_gradients, shuffled_units
from valuation.mlp import Scale

ACTIVATIONS = (
    *(nn.Tanh, nn.ReLU, nn.Sigmoid, nn.SiLU, nn.GELU, nn.Softplus, nn.LeakyReLU, nn.ELU),
    *(nn.Mish, nn.Hardtanh, nn.Softsign, nn.Identity),
)
COLUMNS = 4


class Skip(nn.Module):
    """x + inner(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


@st.composite
def models(draw: st.DrawFn) -> nn.Module:
    """Blocks of Linear and activation, some of them skipped over, and one number at the end."""
    torch.manual_seed(draw(st.integers(0, 10_000)))
    layers: list[nn.Module] = []
    width = COLUMNS
    for _ in range(draw(st.integers(0, 3))):
        activation = draw(st.sampled_from(ACTIVATIONS))()
        if draw(st.booleans()):
            inner = [nn.Linear(width, width, bias=draw(st.booleans())), activation]
            if draw(st.booleans()):
                inner.append(Skip(nn.Linear(width, width)))
            layers.append(Skip(nn.Sequential(*inner)))
        else:
            wider = draw(st.integers(1, 40))
            layers.append(nn.Linear(width, wider, bias=draw(st.booleans())))
            layers.append(activation)
            width = wider
    layers.append(nn.Linear(width, 1, bias=draw(st.booleans())))
    if draw(st.booleans()):
        layers.append(Scale(draw(st.floats(-2.0, 2.0).filter(lambda c: abs(c) > 0.01))))
    return nn.Sequential(*layers).double()


def _rows(seed: int, units: int, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = shuffled_units(rng, units, most)
    inputs = rng.normal(size=(len(labels), COLUMNS)) * rng.lognormal(size=(len(labels), 1))
    return inputs, 2.0 * rng.normal(size=len(labels)), labels


def _distance(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(ours - reference) / max(np.linalg.norm(reference), 1e-9))


@settings(max_examples=120, deadline=None)
@given(
    module=models(),
    seed=st.integers(0, 1000),
    most=st.sampled_from([1, 3, 20]),
    max_rows=st.sampled_from([1, 2, 7, 100]),
    huber=st.sampled_from([None, 0.5]),
    clip_norm=st.sampled_from([1e-3, 1.0, 30.0, 1e6]),
)
def test_closed_sums_are_those_of_vmap(
    module: nn.Module,
    seed: int,
    most: int,
    max_rows: int,
    huber: float | None,
    clip_norm: float,
) -> None:
    inputs, targets, units = _rows(seed, 25, most)
    engine = Engine(module, COLUMNS)
    assert engine.closed_form
    options = {"clip_norm": clip_norm, "max_rows": max_rows, "huber": huber}
    ours = engine.clipped_sum(parameter_vector(module), inputs, targets, units, **options)
    reference = reference_sum(module, inputs, targets, units, **options)
    assert _distance(ours, reference) <= 1e-9


def test_the_model_of_the_benchmark() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        *(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1), Scale(0.25))
    ).double()
    rng = np.random.default_rng(1)
    inputs, targets = rng.normal(size=(3000, 8)), rng.normal(size=3000)
    for units in (np.arange(3000), np.sort(rng.integers(0, 300, 3000))):
        options = {"clip_norm": 0.05, "max_rows": 20, "huber": None}
        ours = clipped_sum(module, inputs, targets, units, **options)
        assert _distance(ours, reference_sum(module, inputs, targets, units, **options)) <= 1e-12


def test_a_module_in_float32_is_computed_in_float64() -> None:
    torch.manual_seed(2)
    module = nn.Sequential(nn.Linear(COLUMNS, 9), nn.Tanh(), nn.Linear(9, 1))
    inputs, targets, units = _rows(3, 20, 3)
    options = {"clip_norm": 0.5, "max_rows": 3, "huber": None}
    assert Engine(module, COLUMNS).closed_form
    ours = clipped_sum(module, inputs, targets, units, **options)
    reference = reference_sum(module.double(), inputs, targets, units, **options)
    assert _distance(ours, reference) <= 1e-12


@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_neither_chunks_nor_cuts_show(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    torch.manual_seed(4)
    module = nn.Sequential(
        *(nn.Linear(COLUMNS, 30), nn.Tanh(), nn.Linear(30, 30), nn.ReLU(), nn.Linear(30, 1))
    ).double()
    inputs, targets, units = _rows(5, 60, 20)
    options = {"clip_norm": 0.3, "max_rows": 18, "huber": 1.0}
    whole = clipped_sum(module, inputs, targets, units, **options)
    monkeypatch.setattr(closed_form, "LEAST_CHUNK", chunk)
    monkeypatch.setattr(closed_form, "MOST_CHUNK", chunk)
    monkeypatch.setattr(passes, "SMALL_PRODUCT", 3000)
    monkeypatch.setattr(passes, "LEAST_CUT", 2)
    passes._cuts.cache_clear()
    try:
        assert _distance(clipped_sum(module, inputs, targets, units, **options), whole) <= 1e-12
    finally:
        passes._cuts.cache_clear()


def test_an_engine_serves_several_parameters_and_batches() -> None:
    torch.manual_seed(6)
    module = nn.Sequential(nn.Linear(COLUMNS, 6), nn.SiLU(), nn.Linear(6, 1)).double()
    engine = Engine(module, COLUMNS)
    options = {"clip_norm": 0.2, "max_rows": 2, "huber": None}
    for seed, units in ((1, 30), (2, 3), (3, 100)):
        rows = _rows(seed, units, 2)
        theta = np.random.default_rng(seed).normal(size=engine.parameters)
        with torch.no_grad():
            nn.utils.vector_to_parameters(torch.from_numpy(theta), module.parameters())
        ours = engine.clipped_sum(theta, *rows, **options)
        assert _distance(ours, reference_sum(module, *rows, **options)) <= 1e-12


def _networks() -> list[nn.Module]:
    torch.manual_seed(7)
    return [
        nn.Linear(COLUMNS, 1, bias=False).double(),
        nn.Sequential(nn.Linear(COLUMNS, 12), nn.Tanh(), nn.Linear(12, 1)).double(),
        nn.Sequential(Skip(nn.Linear(COLUMNS, COLUMNS)), nn.ReLU(), nn.Linear(COLUMNS, 1)).double(),
    ]


@pytest.mark.parametrize("module", _networks())
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 1e200])
@pytest.mark.parametrize("where", ["inputs", "targets"])
def test_units_that_are_not_finite_are_left_out_alone(
    module: nn.Module, bad: float, where: str
) -> None:
    inputs, targets, units = _rows(8, 30, 4)
    (inputs[:, 0] if where == "inputs" else targets)[units == units[5]] = bad
    options = {"clip_norm": 0.7, "max_rows": 4, "huber": None}
    ours = clipped_sum(module, inputs, targets, units, **options)
    rest = units != units[5]
    others = clipped_sum(module, inputs[rest], targets[rest], units[rest], **options)
    moved = np.linalg.norm(ours - others)
    assert moved <= (0.7 * (1 + 1e-9) if bad == 1e200 else 1e-12)


@pytest.mark.parametrize("module", _networks())
@pytest.mark.parametrize("huge", [1e3, 1e9, 1e15, 1e30])
def test_huge_rows_that_cancel_are_clipped_as_their_sum_really_is(
    module: nn.Module, huge: float
) -> None:
    """Where doubles can still tell, the unit adds what is left; everywhere, no more than C."""
    inputs, targets, units = _rows(9, 12, 1)
    twice = np.vstack([inputs, inputs[:2], inputs[:2]])
    opposed = np.concatenate([targets, [huge, 2 * huge], [-huge, -2 * huge]])
    labels = np.concatenate([units, [900, 901, 900, 901]])
    options = {"clip_norm": 1.0, "max_rows": 9, "huber": None}
    ours = clipped_sum(module, twice, opposed, labels, **options)
    without = clipped_sum(module, inputs, targets, units, **options)
    assert np.linalg.norm(ours - without) <= 2.0 * (1 + 1e-9)
    if huge <= 1e9:
        reference = reference_sum(module, twice, opposed, labels, **options)
        assert np.linalg.norm(ours - reference) <= 1e-15 * huge * 10


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    spread=st.sampled_from([0.0, 3.0, 8.0]),
    which=st.integers(0, 2),
    clip_norm=st.sampled_from([1e-4, 1.0, 100.0]),
)
def test_removing_any_unit_moves_the_sum_by_at_most_the_clip_norm(
    seed: int, spread: float, which: int, clip_norm: float
) -> None:
    """Rows of very different sizes, some within a unit nearly equal and opposed."""
    rng = np.random.default_rng(seed)
    inputs, targets, units = _rows(seed, 14, 5)
    inputs *= 10.0 ** rng.uniform(-spread, spread, size=(len(inputs), 1))
    targets *= 10.0 ** rng.uniform(-spread, 2 * spread, size=len(inputs))
    for row in range(1, len(inputs), 3):
        inputs[row], targets[row] = inputs[row - 1], -targets[row - 1]
        units[row] = units[row - 1]
    module = _networks()[which]
    options = {"clip_norm": clip_norm, "max_rows": 4, "huber": None}
    whole = clipped_sum(module, inputs, targets, units, **options)
    for unit in np.unique(units):
        rest = units != unit
        without = clipped_sum(module, inputs[rest], targets[rest], units[rest], **options)
        assert np.linalg.norm(whole - without) <= clip_norm * (1 + 1e-6)


@pytest.mark.parametrize("size", [1, 2])
def test_a_residual_that_is_rounding_error_does_not_hang_on_the_neighbours(size: int) -> None:
    """The row's output and target agree to the last bits, which a matrix product rounds otherwise
    in another place; its slope is so large that those bits would be clipped to C either way."""
    torch.manual_seed(10)
    module = nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 1)).double()
    rng = np.random.default_rng(11)
    inputs = rng.normal(size=(300, 40)) * 1e9
    with torch.no_grad():
        targets = module(torch.from_numpy(inputs)).numpy()[:, 0]
    slopes = np.linalg.norm(row_gradients(module, inputs, targets + 1.0, None), axis=1)
    assert slopes.min() * 1e-6 > 1.0
    options = {"clip_norm": 1.0, "max_rows": size, "huber": None}
    engine, theta = Engine(module, 40), parameter_vector(module)
    units = np.arange(300) // size
    whole = engine.clipped_sum(theta, inputs, targets, units, **options)
    for left_out in (1, 2, 5):
        rest = slice(left_out * size, 300)
        without = engine.clipped_sum(theta, inputs[rest], targets[rest], units[rest], **options)
        assert np.linalg.norm(whole - without) <= left_out * (1 + 1e-9)
