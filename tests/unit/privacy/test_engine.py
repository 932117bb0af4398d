# SPDX-License-Identifier: Apache-2.0
"""Clipped sums against torch.func.vmap, and their sensitivity by brute force."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from dao.errors import TaskError
from privacy import per_sample
from privacy.engine import clipped_sum
from tests.unit.privacy.vmap_reference import reference_sum, shuffled_units

WIDTH = 7


def _linear() -> nn.Module:
    return nn.Linear(WIDTH, 1, bias=False, dtype=torch.float64)


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(WIDTH, 5, dtype=torch.float64),
        nn.Tanh(),
        nn.Linear(5, 3, dtype=torch.float64),
        nn.ReLU(),
        nn.Linear(3, 1, dtype=torch.float64),
    )


def _normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 1)).double()


MODULES = [_linear, _mlp, _normalised]


def _rows(units: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of units of 1 to 5 rows."""
    rng = np.random.default_rng(seed)
    labels = shuffled_units(rng, units, 5)
    inputs = rng.normal(size=(len(labels), WIDTH)) * rng.lognormal(size=(len(labels), 1))
    return inputs, 2 * rng.normal(size=len(labels)), labels


@pytest.mark.parametrize("make", MODULES)
@pytest.mark.parametrize("huber", [None, 0.7])
@pytest.mark.parametrize("max_rows", [1, 3, 100])
def test_sum_is_that_of_vmap(make, huber: float | None, max_rows: int) -> None:
    torch.manual_seed(1)
    module = make()
    inputs, targets, units = _rows(60)
    options = {"clip_norm": 1.5, "max_rows": max_rows, "huber": huber}
    ours = clipped_sum(module, inputs, targets, units, **options)
    reference = reference_sum(module, inputs, targets, units, **options)
    assert np.linalg.norm(ours - reference) <= 1e-9 * np.linalg.norm(reference)


@pytest.mark.parametrize("rows_at_once", [1, 2, 3, 10])
def test_chunks_of_written_out_gradients_do_not_show(
    monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    module = _normalised()
    inputs, targets, units = _rows(25, seed=2)
    options = {"clip_norm": 0.8, "max_rows": 4, "huber": 1.0}
    whole = clipped_sum(module, inputs, targets, units, **options)
    size = sum(each.numel() for each in module.parameters())
    monkeypatch.setattr(per_sample, "GRADIENT_BYTES", rows_at_once * 8 * size)
    assert np.allclose(clipped_sum(module, inputs, targets, units, **options), whole, rtol=1e-12)


@pytest.mark.parametrize("make", MODULES)
def test_removing_any_unit_moves_the_sum_by_at_most_the_clip_norm(make) -> None:
    torch.manual_seed(3)
    module = make()
    inputs, targets, units = _rows(30, seed=4)
    options = {"clip_norm": 0.5, "max_rows": 3, "huber": None}
    whole = clipped_sum(module, inputs, targets, units, **options)
    moves = []
    for unit in np.unique(units):
        rest = units != unit
        without = clipped_sum(module, inputs[rest], targets[rest], units[rest], **options)
        moves.append(np.linalg.norm(whole - without))
    assert max(moves) <= 0.5 * (1 + 1e-9)
    assert max(moves) > 0.499  # and the bound is reached


@pytest.mark.parametrize("make", [_linear, _mlp])
def test_a_unit_that_overflows_counts_as_zero(make) -> None:
    module = make()
    inputs, targets, units = _rows(10, seed=5)
    options = {"clip_norm": 1.0, "max_rows": 5, "huber": None}
    whole = clipped_sum(module, inputs, targets, units, **options)
    for bad in (np.inf, np.nan, 1e200):
        more = np.vstack((inputs, np.full((1, WIDTH), bad)))
        with_bad = clipped_sum(
            module, more, np.append(targets, bad), np.append(units, 999), **options
        )
        assert np.linalg.norm(with_bad - whole) <= 1.0 + 1e-9
        assert np.isfinite(with_bad).all()


@pytest.mark.parametrize("make", [_linear, _mlp])
def test_zero_gradients_and_no_rows(make) -> None:
    module = make()
    inputs, _, units = _rows(10, seed=6)
    with torch.no_grad():
        exact = module(torch.from_numpy(inputs)).numpy().reshape(-1)
    options = {"clip_norm": 1.0, "max_rows": 5, "huber": None}
    assert not np.abs(clipped_sum(module, inputs, exact, units, **options)).max() > 1e-12
    none = np.zeros((0, WIDTH)), np.zeros(0), np.zeros(0, dtype=np.int64)
    size = sum(each.numel() for each in module.parameters())
    assert np.array_equal(clipped_sum(module, *none, **options), np.zeros(size))


def test_rows_beyond_the_cap_do_not_count_in_file_order() -> None:
    module = _linear()
    inputs, targets, _ = _rows(4, seed=7)
    units = np.zeros(len(targets), dtype=np.int64)
    options = {"clip_norm": 100.0, "huber": None}
    capped = clipped_sum(module, inputs, targets, units, max_rows=2, **options)
    first = clipped_sum(module, inputs[:2], targets[:2], units[:2], max_rows=2, **options)
    assert np.array_equal(capped, first)


def test_the_module_and_the_thread_count_stay_as_they_were() -> None:
    module = _mlp().float()
    before = {name: each.clone() for name, each in module.state_dict().items()}
    torch.set_num_threads(2)
    clipped_sum(module, *_rows(5), clip_norm=1.0, max_rows=1, huber=None)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert all(torch.equal(before[name], each) for name, each in module.state_dict().items())
    assert all(each.grad is None for each in module.parameters())


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.BatchNorm1d(4), "layer 1 .BatchNorm1d"),
        (nn.Dropout(0.1), "layer 1 .Dropout"),
        (nn.InstanceNorm1d(4, track_running_stats=True), "layer 1 .InstanceNorm1d"),
    ],
)
def test_layers_that_break_clipping_are_named(layer: nn.Module, words: str) -> None:
    module = nn.Sequential(nn.Linear(WIDTH, 4), layer, nn.Linear(4, 1)).double()
    with pytest.raises(TaskError, match=words):
        clipped_sum(module, *_rows(3), clip_norm=1.0, max_rows=1, huber=None)


def test_frozen_parameters_and_wrong_shapes_are_refused() -> None:
    module = _mlp()
    next(module.parameters()).requires_grad_(False)
    with pytest.raises(TaskError, match=r"0\.weight is frozen"):
        clipped_sum(module, *_rows(3), clip_norm=1.0, max_rows=1, huber=None)
    wide = nn.Sequential(nn.Linear(WIDTH, 2, dtype=torch.float64))
    with pytest.raises(TaskError, match="one number for each"):
        clipped_sum(wide, *_rows(3), clip_norm=1.0, max_rows=1, huber=None)
    inputs, targets, units = _rows(3)
    with pytest.raises(TaskError, match="one of each per row"):
        clipped_sum(_mlp(), inputs, targets[:-1], units, clip_norm=1.0, max_rows=1, huber=None)
    with pytest.raises(TaskError, match="above 0"):
        clipped_sum(_mlp(), inputs, targets, units, clip_norm=0.0, max_rows=1, huber=None)


@pytest.mark.parametrize("build", [_linear, _mlp])
def test_a_unit_whose_huge_rows_cancel_moves_the_sum_by_at_most_the_clip_norm(build) -> None:
    """Within a unit 1e30 may meet -1e30; the other units' small numbers must not drown in it."""
    module = build()
    rng = np.random.default_rng(3)
    inputs, targets = rng.normal(size=(9, WIDTH)), rng.normal(size=9)
    units = np.arange(9)
    opposed = np.vstack([inputs[:4], inputs[:1], inputs[4:], inputs[:1]])
    extreme = np.concatenate([targets[:4], [1e30], targets[4:], [-1e30]])
    with_unit = np.concatenate([units[:4], [99], units[4:], [99]])

    def total(*rows: np.ndarray) -> np.ndarray:
        return clipped_sum(module, *rows, clip_norm=1.0, max_rows=5, huber=None)

    moved = total(opposed, extreme, with_unit) - total(inputs, targets, units)
    assert np.linalg.norm(moved) <= 1.0 + 1e-9


def test_opacus_is_loaded_only_for_modules_that_need_it() -> None:
    """Every process imports the engine, and Opacus takes longer to import than torch."""
    program = """
import sys
from torch import nn
from privacy.engine import Engine
Engine(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), 3)
assert "opacus" not in sys.modules, "a closed form asks for no Opacus"
Engine(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1)), 3)
assert "opacus" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
