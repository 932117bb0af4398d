# SPDX-License-Identifier: Apache-2.0
"""Modules that mix rows in some batches only, remember, or look at numbers: refused by their layer,
and what no trial finds still gets one row at a time."""

from __future__ import annotations

import copy
import itertools
import threading

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from opacus.validators import ModuleValidator
from torch import nn

from dao.errors import TaskError
from privacy import per_sample
from privacy.engine import Engine, clipped_sum, parameter_vector
from privacy.row_checks import LARGER_BATCHES

WIDTH = 4
OPTIONS = {"clip_norm": 0.4, "max_rows": 3, "huber": None}


class Layer(nn.Module):
    """A Linear layer whose forward is `does(self, linear(x))`."""

    def __init__(self, does) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)
        self.calls = 0
        self.kept: list[torch.Tensor] = []
        self.does = does

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.does(self, self.inner(x))


def _module(does) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(WIDTH, WIDTH), Layer(does), nn.Tanh(), nn.Linear(WIDTH, 1)
    ).double()


def _centred_from(size: int):
    return lambda _, h: h if len(h) < size else h - h.mean(0, keepdim=True)


def _rows(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, WIDTH)), rng.normal(size=count), np.arange(count)


def _one_by_one(module: nn.Module, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The clipped sum of units of one row, by plain autograd on batches of one."""
    total = np.zeros(len(parameter_vector(module)))
    for row, target in zip(torch.from_numpy(inputs), targets, strict=True):
        output = module(row[None]).squeeze()
        parts = torch.autograd.grad(0.5 * (output - target) ** 2, list(module.parameters()))
        gradient = torch.cat([each.reshape(-1) for each in parts]).numpy()
        total += gradient * min(1.0, OPTIONS["clip_norm"] / np.linalg.norm(gradient))
    return total


@pytest.mark.parametrize("size", [2, 5, 8, 33, 34, 512])
def test_a_layer_that_mixes_rows_in_larger_batches_is_named(size: int) -> None:
    with pytest.raises(TaskError, match=r"layer 1 \(Layer\) gives a row another value"):
        Engine(_module(_centred_from(size)), WIDTH)


def test_where_no_trial_mixes_rows_they_do_not_meet_either() -> None:
    size = LARGER_BATCHES[-1] + 1
    module = _module(_centred_from(size))
    rows = _rows(size + 1)
    mixed = module(torch.from_numpy(rows[0]))[:, 0]
    assert not torch.allclose(mixed[:1], module(torch.from_numpy(rows[0][:1]))[:, 0])
    whole = clipped_sum(module, *rows, **OPTIONS)
    without = clipped_sum(module, *(each[1:] for each in rows), **OPTIONS)
    assert np.linalg.norm(whole - without) <= OPTIONS["clip_norm"] * (1 + 1e-9)
    expected = _one_by_one(module, *rows[:2])
    assert np.linalg.norm(whole - expected) <= 1e-9 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    "does",
    [
        lambda _, h: h if h.abs().max() < 5 else 3 * h,
        lambda _, h: h if bool((h.detach() < 1e9).all()) else h - h.mean(0),
        lambda _, h: h * float(h.detach().numpy().shape[1]),
    ],
)
def test_a_layer_that_looks_at_the_numbers_is_named(does) -> None:
    with pytest.raises(TaskError, match=r"layer 1 \(Layer\) cannot be computed row by row"):
        Engine(_module(does), WIDTH)


def test_numbers_that_raise_errors_are_found_before_private_rows_are_seen() -> None:
    table = torch.ones(10, dtype=torch.float64)
    module = _module(lambda _, h: h * table[h.abs().clamp(max=9).long()])
    with pytest.raises(TaskError, match=r"layer 1 \(Layer\) cannot be computed row by row"):
        Engine(module, WIDTH)


def _counts(layer: Layer, h: torch.Tensor) -> torch.Tensor:
    layer.calls += 1
    return h if layer.calls < 1000 else -h


def _keeps(layer: Layer, h: torch.Tensor) -> torch.Tensor:
    layer.kept.append(h.detach())
    return h


@pytest.mark.parametrize(("does", "attribute"), [(_counts, "calls"), (_keeps, "kept")])
def test_a_layer_that_remembers_is_named(does, attribute: str) -> None:
    words = rf"layer 1 \(Layer\) changes its attribute {attribute} as it runs"
    with pytest.raises(TaskError, match=words):
        Engine(_module(does), WIDTH)


def test_a_counter_that_no_attribute_shows_is_found_by_what_it_does() -> None:
    calls = itertools.count()
    module = _module(lambda _, h: h * (1 + 0.001 * next(calls)))
    with pytest.raises(TaskError, match=r"layer 1 \(Layer\) gives a row another value"):
        Engine(module, WIDTH)


def _unseen(_: Layer, h: torch.Tensor) -> torch.Tensor:
    with torch._C.DisableTorchFunction():
        return h.mul_(2.0)


def test_steps_that_the_trace_does_not_see_are_not_left_out() -> None:
    module = _module(_unseen)
    inputs, targets, units = _rows(30)
    assert not Engine(module, WIDTH).closed_form
    expected = _one_by_one(module, inputs, targets)
    ours = clipped_sum(module, inputs, targets, units, **OPTIONS)
    assert np.linalg.norm(ours - expected) <= 1e-9 * np.linalg.norm(expected)


@pytest.mark.parametrize("layer", [nn.LayerNorm(WIDTH), nn.PReLU(), nn.GroupNorm(2, WIDTH)])
def test_the_sum_is_that_of_opacus_where_rows_stay_apart(layer: nn.Module) -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(WIDTH, WIDTH), layer, nn.Linear(WIDTH, 1)).double()
    inputs, targets, units = _rows(50)
    ours = clipped_sum(module, inputs, targets, units, **OPTIONS)
    sampled = GradSampleModule(module, loss_reduction="sum")
    residual = sampled(torch.from_numpy(inputs))[:, 0] - torch.from_numpy(targets)
    (0.5 * residual**2).sum().backward()
    found = torch.cat([each.grad_sample.reshape(50, -1) for each in sampled.parameters()], dim=1)
    norms = found.norm(dim=1, keepdim=True)
    expected = (found * (OPTIONS["clip_norm"] / norms).clamp(max=1.0)).sum(dim=0).numpy()
    assert np.linalg.norm(ours - expected) <= 1e-9 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    "forward",
    [lambda _, h: h - h.mean(dim=0, keepdim=True), lambda _, h: h / len(h)],
    ids=["less the batch's mean", "over the batch's size"],
)
def test_opacus_lets_rows_meet_where_we_refuse(forward) -> None:
    """Why no module goes through GradSampleModule: its sum is not that of rows clipped alone."""
    module = _module(forward)
    assert ModuleValidator.validate(module, strict=False) == []
    inputs, targets, _ = _rows(50)
    sampled = GradSampleModule(copy.deepcopy(module), loss_reduction="sum")
    residual = sampled(torch.from_numpy(inputs))[:, 0] - torch.from_numpy(targets)
    (0.5 * residual**2).sum().backward()
    found = torch.cat([each.grad_sample.reshape(50, -1) for each in sampled.parameters()], dim=1)
    factors = (OPTIONS["clip_norm"] / found.norm(dim=1, keepdim=True)).clamp(max=1.0)
    theirs = (found * factors).sum(dim=0).numpy()
    expected = _one_by_one(module, inputs, targets)
    assert np.linalg.norm(theirs - expected) > 0.05 * np.linalg.norm(expected)
    with pytest.raises(TaskError, match=r"layer 1 \(Layer\) gives a row another value among other"):
        Engine(module, WIDTH)


def test_rounding_errors_do_not_hang_on_the_neighbours() -> None:
    """Targets that the module gives exactly, and a clip norm among the rounding errors."""
    moves = []
    for seed in range(2):
        torch.manual_seed(seed)
        module = nn.Sequential(
            *(nn.Linear(8, 100), nn.LayerNorm(100), nn.Linear(100, 70), nn.Tanh(), nn.Linear(70, 1))
        ).double()
        with torch.no_grad():
            for each in module.parameters():
                each *= 10
            inputs = np.random.default_rng(seed).normal(size=(37, 8))
            rows = torch.from_numpy(inputs)
            targets = np.array([module(rows[i : i + 1]).item() for i in range(37)])
        options = {"clip_norm": 1e-12, "max_rows": 1, "huber": None}
        labels = np.arange(37)
        whole = clipped_sum(module, inputs, targets, labels, **options)
        for unit in labels:
            rest = labels != unit
            without = clipped_sum(module, inputs[rest], targets[rest], labels[rest], **options)
            moves.append(np.linalg.norm(whole - without) / 1e-12)
    assert max(moves) <= 1 + 1e-6


@pytest.mark.parametrize("rows_at_once", [1, 2, 3])
def test_where_a_unit_of_huge_rows_is_cut_does_not_hang_on_others(
    monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    module = _module(lambda _, h: nn.functional.layer_norm(h, [WIDTH]))
    inputs = np.repeat(_rows(2)[0], [4, 1], axis=0)
    targets = np.array([1e20, 3.0, -1e20, 7.0, 0.5])
    units = np.array([0, 0, 0, 0, 1])
    options = {"clip_norm": 1.0, "max_rows": 4, "huber": None}
    size = len(parameter_vector(module))
    monkeypatch.setattr(per_sample, "GRADIENT_BYTES", rows_at_once * 8 * size)
    whole = clipped_sum(module, inputs, targets, units, **options)
    longer = np.vstack([_rows(3)[0][2:], inputs]), np.append(1.0, targets), np.append(-1, units)
    more = clipped_sum(module, *longer, **options)
    assert np.linalg.norm(more - whole) <= 1 + 1e-9


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
def test_a_weight_that_a_hook_makes_is_named(training: bool) -> None:
    """The parametrisation of the same name is taken (test_engine_tracing)."""
    layer = nn.utils.weight_norm(nn.Linear(WIDTH, WIDTH))
    module = nn.Sequential(nn.Linear(WIDTH, WIDTH), layer, nn.Linear(WIDTH, 1)).train(training)
    words = r"layer 1 \(Linear\) cannot be copied: its weight is made from parameters"
    with pytest.raises(TaskError, match=words) as refused:
        Engine(module, WIDTH)
    assert "parametrizations" in str(refused.value.hint)


def test_an_attribute_that_cannot_be_copied_is_named() -> None:
    module = _module(lambda _, h: h.cumsum(dim=1))
    module[1].calls = threading.Lock()
    with pytest.raises(TaskError, match=r"layer 1 \(Layer\) cannot be copied: its calls is a lock"):
        Engine(module, WIDTH)
