# SPDX-License-Identifier: Apache-2.0
"""Whether a module without a closed form may be trained on private rows; which layer forbids it.

`privacy.per_sample` gives the module one row at a time, so rows cannot meet there. What is tried
here, on made-up rows and before a private row is seen, is whether the module is meant so: that it
gives a row in batches of several sizes, with numbers small and large, what it gives the row alone;
that it keeps nothing, draws nothing, and can be followed on any number, infinite ones included.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from opacus.validators import ModuleValidator
from torch import nn

from dao.errors import TaskError
from privacy.layer_state import copied, memory_of, refuse_memory, where
from privacy.per_sample import RowByRow
from privacy.tracing import FAILURES, made_up_rows, spread_rows

PROBE_ROWS = 4
LARGER_BATCHES = (33, 512)
"""Beyond these only what has been made up differs: the rows that count never come in a batch."""
TOLERANCE = 1e-6
"""Relative; float64 on both sides."""


def checked(module: nn.Module, columns: int) -> nn.Module:
    """A copy of `module` in float64, as in training.

    Raises:
        TaskError: names the layer that mixes or counts rows, keeps buffers or other state, draws at
            random, looks at the numbers to decide what to do, or has no gradient by row.
    """
    plain = copied(module).double().train()
    check_layers(plain)
    if next(plain.parameters(), None) is None:
        raise TaskError("the module has no parameters", hint="there is nothing to train")
    rows = made_up_rows(PROBE_ROWS, columns)
    before = memory_of(plain)
    _outputs(plain, rows)
    refuse_memory(plain, before)
    check_rows_apart(plain, rows, range(PROBE_ROWS))
    _check_followed(plain, rows)
    for size in LARGER_BATCHES:
        _check_larger(plain, spread_rows(size, columns))
    refuse_memory(plain, before)
    return plain


def check_layers(module: nn.Module) -> None:
    """TaskError for what breaks per-unit clipping: layers that mix rows, buffers, chance.

    Names the layer. Opacus' ModuleValidator judges the layers it knows.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            raise TaskError(
                f"{where(name, layer)} draws at random, so an update would not follow from the"
                " task",
                hint="leave dropout out; the noise already regularises",
            )
        if next(layer.buffers(recurse=False), None) is not None:
            raise TaskError(
                f"{where(name, layer)} keeps buffers, which would carry data from row to row",
                hint="use layers without running statistics, such as Linear and LayerNorm",
            )
        errors = ModuleValidator.validate(layer, strict=False)
        if errors and not list(layer.children()):
            raise TaskError(
                f"{where(name, layer)} cannot be clipped per unit: {errors[0]}",
                hint="use Linear layers and elementwise functions; what needs another layer can be"
                " computed before, as a feature",
            )


def check_rows_apart(module: nn.Module, rows: torch.Tensor, places: range | list[int]) -> None:
    """TaskError naming the first layer that gives a row another value alone than among `rows`, of
    the rows at these places."""
    together = _outputs(module, rows)
    if together[-1][2].numel() != len(rows):
        raise TaskError(
            f"the module gives {tuple(together[-1][2].shape)} for {len(rows)} rows,"
            " expected one number for each",
            hint="end the module with Linear(..., 1)",
        )
    for place in places:
        alone = _outputs(module, rows[place : place + 1])
        for (name, layer, whole), (other, _, one) in zip(together, alone, strict=False):
            if name != other:
                raise TaskError(
                    f"{where(name, layer)} is called for {len(rows)} rows, not for one alone",
                    hint="a module must call the same layers for any rows",
                )
            if whole.dim() == 0 or len(whole) != len(rows) or len(one) != 1:
                continue
            if not _close(whole[place], one[0]):
                raise TaskError(
                    f"{where(name, layer)} gives a row another value among other rows than alone",
                    hint="a layer may neither mix rows, nor count them, nor draw at random",
                )


def _check_larger(module: nn.Module, rows: torch.Tensor) -> None:
    """As `check_rows_apart`, of a batch too large to take all its rows one by one."""
    together = _outputs(module, rows)[-1][2].reshape(-1)
    alone = _naming(module, lambda by_row, theta: by_row.outputs(theta, rows))
    places = [0, len(rows) // 2, len(rows) - 1]
    if len(together) == len(rows):
        apart = ~torch.isclose(together, alone, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        places = [*torch.nonzero(apart).reshape(-1)[:1].tolist(), *places]
    check_rows_apart(module, rows, places)


def _check_followed(module: nn.Module, rows: torch.Tensor) -> None:
    """TaskError where the module cannot be taken row by row, or not on every number, or where the
    gradients are not those of each row alone."""
    odd = torch.tensor([torch.nan, torch.inf, -torch.inf, 1e300, -1e300, 0.0], dtype=torch.float64)
    every = torch.cat([rows, odd[:, None].expand(-1, rows.shape[1])])
    _naming(module, lambda by_row, theta: by_row.outputs(theta, every))
    found = _naming(module, lambda by_row, theta: by_row.gradients(theta, every)[1])
    for place in range(len(rows)):
        module.zero_grad()
        module(rows[place : place + 1].clone()).sum().backward()
        first = 0
        for name, each in module.named_parameters():
            expected = torch.zeros_like(each) if each.grad is None else each.grad
            theirs = found[place, first : first + each.numel()]
            first += each.numel()
            if not _close(theirs, expected.reshape(-1)):
                layer_name = name.rpartition(".")[0]
                raise TaskError(
                    f"{where(layer_name, module.get_submodule(layer_name))}: no gradient by row is"
                    f" found for parameter {name}",
                    hint="use torch's own differentiable functions",
                )
    module.zero_grad()


def _naming(
    module: nn.Module, compute: Callable[[RowByRow, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """compute(rows by row, theta); TaskError naming the layer that was running where it fails."""
    followed = copied(module)
    running: list[tuple[str, nn.Module]] = []
    for name, layer in followed.named_modules():
        layer.register_forward_pre_hook(_enters(running, name, layer))
        layer.register_forward_hook(_leaves(running))
    theta = torch.nn.utils.parameters_to_vector(followed.parameters()).detach()
    try:
        return compute(RowByRow(followed), theta)
    except FAILURES as error:
        name, layer = running[-1] if running else ("", module)
        raise TaskError(
            f"{where(name, layer)} cannot be computed row by row: {str(error)[:200]}",
            hint="a layer may neither look at numbers to decide what to do, nor draw at random",
        ) from error


def _enters(
    running: list[tuple[str, nn.Module]], name: str, layer: nn.Module
) -> Callable[..., None]:
    def hook(*_: object) -> None:
        running.append((name, layer))

    return hook


def _leaves(running: list[tuple[str, nn.Module]]) -> Callable[..., None]:
    def hook(*_: object) -> None:
        running.pop()

    return hook


def _outputs(module: nn.Module, rows: torch.Tensor) -> list[tuple[str, nn.Module, torch.Tensor]]:
    """What each layer gives, in the order in which they finish; the module itself is last."""
    found: list[tuple[str, nn.Module, torch.Tensor]] = []

    def keep(name: str, layer: nn.Module) -> None:
        def hook(_: nn.Module, __: object, output: object) -> None:
            if isinstance(output, torch.Tensor):
                found.append((name, layer, output.detach().clone()))

        handles.append(layer.register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    try:
        for name, layer in module.named_modules():
            keep(name, layer)
        with torch.no_grad():
            output = module(rows.clone())
    except FAILURES as error:
        raise TaskError(
            f"the module fails on {len(rows)} rows of {rows.shape[1]} numbers: {error}",
            hint="it must take float rows [n, columns] and give one number for each",
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(output, torch.Tensor):
        raise TaskError(f"the module gives a {type(output).__name__}, expected a tensor")
    return found


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(
        a, b, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
    )
