# SPDX-License-Identifier: Apache-2.0
"""Which modules have a closed form, which go row by row, which are refused by their layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from dao.errors import TaskError
from privacy.engine import Engine, clipped_sum
from tests.unit.privacy.vmap_reference import reference_sum, shuffled_units

WIDTH = 4
OPTIONS = {"clip_norm": 0.4, "max_rows": 3, "huber": None}


class Written(nn.Module):
    """A module whose forward is `does(self, x)`: two square layers, a narrow one and a head."""

    def __init__(self, does) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.second = nn.Linear(WIDTH, WIDTH)
        self.narrow = nn.Linear(WIDTH, 1)
        self.head = nn.Linear(WIDTH, 1)
        self.does = does
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.does(self, x)


def _in_place(m: Written, x: torch.Tensor) -> torch.Tensor:
    h = m.first(x)
    h += m.second(x)
    h *= 0.5
    h -= 0.1
    return m.head(functional.relu(h, inplace=True))


def _arithmetic(m: Written, x: torch.Tensor) -> torch.Tensor:
    h = 1.0 - m.first(x) / 3 + 0.25 * x
    h = torch.add(h, x, alpha=-2.0) - torch.sub(m.second(h), x)
    return m.head(-(h**2) + h + h)


def _swallows(m: Written, x: torch.Tensor) -> torch.Tensor:
    h = m.first(x)
    try:
        h = h * torch.sigmoid(m.second(h))
    except Exception:  # noqa: BLE001 - the fault that is tried
        h = h + x
    return m.head(h)


def _changed_under_a_view(m: Written, x: torch.Tensor) -> torch.Tensor:
    y = 3.0 * m.head(torch.tanh(m.second(m.first(x))))
    seen = y.squeeze(-1)
    y *= 2.0
    return seen


CLOSED = {
    "residual": lambda m, x: m.head(x + torch.tanh(m.first(x))),
    "two skips": lambda m, x: m.head(m.second(torch.relu(m.first(x)) + x) - x),
    "in place": _in_place,
    "arithmetic": _arithmetic,
    "functions in a row": lambda m, x: m.head(
        torch.sigmoid(torch.tanh(torch.relu(m.second(torch.exp(torch.sigmoid(m.first(x)))))))
    ),
    "functional": lambda m, x: functional.linear(
        torch.sin(functional.linear(x, m.first.weight, m.first.bias)), m.head.weight, m.head.bias
    ),
    "squeezed": lambda m, x: 0.5 * torch.sigmoid(m.head(m.second(m.first(x))).squeeze(-1)),
    "one column": lambda m, x: m.head(functional.softplus(m.first(x)))[:, 0],
    "flattened": lambda m, x: m.head(nn.Flatten()(m.first(x))).flatten(),
    "unused layers": lambda m, x: m.head(x),
    "a dead end": lambda m, x: (m.second(x), m.head(m.first(x)))[1],
}
OPEN = {
    "a layer twice": lambda m, x: m.head(m.first(torch.tanh(m.first(x)))),
    "a gate": lambda m, x: m.head(m.first(x) * torch.sigmoid(m.second(x))),
    "a softmax of each row": lambda m, x: m.head(torch.softmax(m.first(x), dim=-1)),
    "swallowed": _swallows,
    "a view of what changes": _changed_under_a_view,
    "columns swapped": lambda m, x: m.head(m.first(x).flip(1)),
    "wider by broadcasting": lambda m, x: m.head(m.first(x) + m.narrow(x)),
}


def _rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = shuffled_units(rng, 20, 4)
    return rng.normal(size=(len(labels), WIDTH)), rng.normal(size=len(labels)), labels


def _same(module: nn.Module) -> bool:
    rows = _rows()
    reference = reference_sum(module, *rows, **OPTIONS)
    ours = clipped_sum(module, *rows, **OPTIONS)
    return bool(np.linalg.norm(ours - reference) <= 1e-9 * np.linalg.norm(reference))


@pytest.mark.parametrize("name", CLOSED)
def test_what_counts_is_what_a_module_does(name: str) -> None:
    torch.manual_seed(1)
    module = Written(CLOSED[name])
    assert Engine(module, WIDTH).closed_form
    assert _same(module)


@pytest.mark.parametrize("name", OPEN)
def test_other_modules_give_the_same_sum_row_by_row(name: str) -> None:
    torch.manual_seed(2)
    module = Written(OPEN[name])
    assert not Engine(module, WIDTH).closed_form
    assert _same(module)


def test_layers_of_torch_that_have_no_closed_form() -> None:
    torch.manual_seed(3)
    for layer in (nn.LayerNorm(WIDTH), nn.PReLU(), nn.GroupNorm(2, WIDTH), nn.Softmax(dim=1)):
        module = nn.Sequential(nn.Linear(WIDTH, WIDTH), layer, nn.Linear(WIDTH, 1)).double()
        assert not Engine(module, WIDTH).closed_form
        assert _same(module)


def test_weights_shared_by_two_layers_are_not_taken_for_two() -> None:
    torch.manual_seed(4)
    module = nn.Sequential(
        nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)
    ).double()
    module[2].weight = module[0].weight
    assert not Engine(module, WIDTH).closed_form
    assert _same(module)


def test_weights_made_from_parameters_are_not_taken_for_parameters() -> None:
    torch.manual_seed(5)
    layer = parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH, dtype=torch.float64))
    module = nn.Sequential(layer, nn.Tanh(), nn.Linear(WIDTH, 1, dtype=torch.float64))
    assert not Engine(module, WIDTH).closed_form
    assert _same(module)


def test_gradients_that_a_module_stops_are_not_taken_for_its_own() -> None:
    torch.manual_seed(6)

    def without_gradient(m: Written, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            h = m.first(x)
        return m.head(torch.tanh(h))

    def detached(m: Written, x: torch.Tensor) -> torch.Tensor:
        return m.head(torch.tanh(m.first(x).detach()))

    for does in (without_gradient, detached):
        module = Written(does)
        inputs, targets, units = _rows()
        ours = clipped_sum(module, inputs, targets, units, **OPTIONS)
        assert not np.abs(ours[: -WIDTH - 1]).any()
        assert np.abs(ours[-WIDTH - 1 :]).all()


def test_what_torch_cannot_follow_row_by_row_is_refused() -> None:
    def by_data(m: Written, x: torch.Tensor) -> torch.Tensor:
        return m.head(torch.tanh(m.first(x).data))

    def in_inference(m: Written, x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            h = m.first(x)
        return m.head(torch.tanh(h.clone()))

    for does in (by_data, in_inference):
        with pytest.raises(TaskError, match=r"layer \w+ \(\w+\) cannot be computed row by"):
            Engine(Written(does), WIDTH)


@pytest.mark.parametrize(
    "mixes",
    [
        lambda x: x - x.mean(dim=0),
        lambda x: x / len(x),
        lambda x: x.softmax(dim=0),
        lambda x: x.cumsum(dim=0),
        lambda x: x.sort(dim=0).values,
        lambda x: x.roll(1, 0),
        lambda x: x.flip(0),
        lambda x: x[torch.arange(len(x) - 1, -1, -1)],
        lambda x: x + x[:1],
        lambda x: x @ (x.T @ x) / 10,
        lambda x: functional.dropout(x, 0.5),
        lambda x: x + torch.randn_like(x),
    ],
)
def test_layers_that_mix_rows_or_draw_at_random_are_named(mixes) -> None:
    class Mixer(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return mixes(x)

    inner = nn.Sequential(nn.Tanh(), Mixer())
    module = nn.Sequential(nn.Linear(WIDTH, WIDTH), inner, nn.Linear(WIDTH, 1)).double()
    with pytest.raises(TaskError, match=r"layer 1\.1 \(Mixer\) gives a row another value"):
        Engine(module, WIDTH)


def test_a_module_that_mixes_rows_by_itself_is_refused() -> None:
    module = Written(lambda m, x: m.head(m.first(x)) - m.head(x).mean())
    with pytest.raises(TaskError, match=r"layer module \(Written\)"):
        Engine(module, WIDTH)


def test_layers_of_ones_own_are_differentiated_or_refused() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(1.0, 2.0, WIDTH, dtype=torch.float64))
            self.inner = nn.LayerNorm(WIDTH, dtype=torch.float64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.inner(x) * self.weight**2).sum(dim=1, keepdim=True)

    assert not Engine(Own(), WIDTH).closed_form
    assert _same(Own())

    class Twofold(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = nn.Bilinear(WIDTH, WIDTH, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.pair(x, x)

    assert not Engine(Twofold(), WIDTH).closed_form
    assert _same(Twofold().double())
    lstm = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LSTM(WIDTH, 1))
    with pytest.raises(TaskError, match=r"layer 1 \(LSTM\) cannot be clipped per unit"):
        Engine(lstm, WIDTH)


def test_rows_taken_out_of_order_are_refused() -> None:
    with pytest.raises(TaskError, match="one number for each"):
        Engine(Written(lambda m, x: m.head(x)[[2, 1, 0], 0]), WIDTH)


def test_modules_that_do_not_fit_the_rows_are_refused() -> None:
    with pytest.raises(TaskError, match="fails on 4 rows of 5 numbers"):
        Engine(nn.Linear(WIDTH, 1), 5)
    with pytest.raises(TaskError, match="one number for each"):
        Engine(nn.Linear(WIDTH, 2), WIDTH)
    with pytest.raises(TaskError, match="expected a tensor"):
        Engine(Written(lambda m, x: (m.head(x), x)), WIDTH)
    engine = Engine(nn.Linear(WIDTH, 1), WIDTH)
    inputs, targets, units = _rows()
    with pytest.raises(TaskError, match="expected 4 columns"):
        engine.clipped_sum(np.zeros(5), inputs[:, :3], targets, units, **OPTIONS)
    with pytest.raises(TaskError, match="theta has shape"):
        engine.clipped_sum(np.zeros(4), inputs, targets, units, **OPTIONS)


def test_a_module_is_looked_at_as_in_training_and_stays_as_it_was() -> None:
    torch.manual_seed(7)
    module = Written(lambda m, x: m.head(m.first(x) if m.training else x)).eval()
    before = {name: each.clone() for name, each in module.state_dict().items()}
    ours = clipped_sum(module, *_rows(), **OPTIONS)
    assert not module.training
    assert not module.first.training
    assert all(torch.equal(before[name], each) for name, each in module.state_dict().items())
    assert np.abs(ours[: WIDTH * WIDTH]).any()
