# SPDX-License-Identifier: Apache-2.0
"""Per-unit clipping by writing out every row's gradient, for modules without a closed form.

The gradients are those of Opacus' GradSampleModule, which rests on two things that it does not
check: that no layer mixes rows, and that it knows every layer. So both are tried on made-up rows
first, before a private row is seen, and a module that fails is refused with the layer's name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.validators import ModuleValidator
from torch import nn

from dao.errors import TaskError
from privacy.tracing import made_up_rows
from privacy.units import Units

GRADIENT_BYTES = 1 << 22
"""Per-sample gradients held at once: 4 MiB stay near the cache (measured), far below 256 MiB."""
PROBE_ROWS = 4
TOLERANCE = 1e-6
"""Relative; float64 on both sides."""

Floats = NDArray[np.float64]


class PerSample:
    """The clipped sum of any module whose rows do not meet.

    TaskError, naming the layer, for what breaks clipping: see `check_module`, `check_rows_apart`.
    """

    def __init__(self, module: nn.Module, columns: int) -> None:
        check_module(module)
        plain = copy.deepcopy(module).double().train()
        rows = made_up_rows(PROBE_ROWS, columns)
        check_rows_apart(plain, rows)
        try:
            self._module = GradSampleModule(copy.deepcopy(plain), loss_reduction="sum")
            _check_gradients(self._module, plain, rows)
        except (RuntimeError, ValueError, AttributeError, TypeError) as error:
            raise TaskError(
                f"module {type(module).__name__} has no gradients by row: {error}",
                hint="build it from torch.nn layers, each called on rows by itself",
            ) from error

    def clipped_sum(
        self,
        theta: Floats,
        inputs: Floats,
        targets: Floats,
        units: Units,
        *,
        clip_norm: float,
        huber: float | None,
    ) -> Floats:
        """As `privacy.engine.Engine.clipped_sum`, of rows already grouped."""
        with torch.no_grad():
            vector = torch.from_numpy(np.array(theta, dtype=np.float64))
            torch.nn.utils.vector_to_parameters(vector, self._module.parameters())
        size = len(theta)
        total = torch.zeros(size, dtype=torch.float64)
        carried = torch.zeros(size, dtype=torch.float64)
        segment = units.segment()
        chunk = max(1, GRADIENT_BYTES // (8 * size))
        for first in range(0, units.rows, chunk):
            places = slice(first, min(first + chunk, units.rows))
            rows = places if units.order is None else units.order[places]
            gradients = _sample_gradients(
                self._module,
                torch.tensor(inputs[rows], dtype=torch.float64),
                partial(_loss_slope, targets=torch.tensor(targets[rows]), huber=huber),
            )
            local = segment[places] - segment[first]
            sums = torch.zeros(int(local[-1]) + 1, size, dtype=torch.float64)
            sums.index_add_(0, torch.from_numpy(local), gradients)
            if first > 0 and segment[first] == segment[first - 1]:
                sums[0] += carried
            if places.stop < units.rows and segment[places.stop] == segment[places.stop - 1]:
                # The unit goes on in the next chunk.
                carried = sums[-1].clone()
                sums = sums[:-1]
            norms = torch.linalg.vector_norm(sums, dim=1)
            kept = torch.isfinite(norms)
            factors = clip_norm / norms[kept].clamp(min=clip_norm)
            total += factors @ sums[kept]
        return total.numpy()


def check_module(module: nn.Module) -> None:
    """TaskError for what breaks per-unit clipping: layers that mix rows, buffers, chance.

    Names the layer. Opacus' ModuleValidator judges the layers it knows.
    """
    training = copy.deepcopy(module).train()
    for name, layer in training.named_modules():
        where = _where(name, layer)
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            raise TaskError(
                f"{where} draws at random, so an update would not follow from the task",
                hint="leave dropout out; the noise already regularises",
            )
        if next(layer.buffers(recurse=False), None) is not None:
            raise TaskError(
                f"{where} keeps buffers, which would carry data from row to row",
                hint="use layers without running statistics, such as Linear and LayerNorm",
            )
        errors = ModuleValidator.validate(layer, strict=False)
        if errors and not list(layer.children()):
            raise TaskError(f"{where} cannot be clipped per unit: {errors[0]}")


def check_rows_apart(module: nn.Module, rows: torch.Tensor) -> None:
    """TaskError naming the first layer that gives a row another value alone than among `rows`."""
    together = _outputs(module, rows)
    if together[-1][2].numel() != len(rows):
        raise TaskError(
            f"the module gives {tuple(together[-1][2].shape)} for {len(rows)} rows,"
            " expected one number for each"
        )
    for place in range(len(rows)):
        alone = _outputs(module, rows[place : place + 1])
        if [name for name, _, _ in alone] != [name for name, _, _ in together]:
            raise TaskError("the module calls other layers for one row than for several")
        for (name, layer, whole), (_, _, one) in zip(together, alone, strict=True):
            if whole.dim() == 0 or len(whole) != len(rows) or len(one) != 1:
                continue
            if not torch.allclose(whole[place], one[0], rtol=TOLERANCE, atol=TOLERANCE):
                raise TaskError(
                    f"{_where(name, layer)} gives a row another value among other rows than alone",
                    hint="a layer may neither mix rows, nor count them, nor draw at random",
                )


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
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
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


def _check_gradients(sampled: GradSampleModule, plain: nn.Module, rows: torch.Tensor) -> None:
    """TaskError where Opacus' gradients are not those of each row alone."""
    found = _sample_gradients(sampled, rows, torch.ones_like)
    for place in range(len(rows)):
        plain.zero_grad()
        plain(rows[place : place + 1].clone()).sum().backward()
        first = 0
        for name, each in plain.named_parameters():
            expected = torch.zeros_like(each) if each.grad is None else each.grad
            theirs = found[place, first : first + each.numel()]
            first += each.numel()
            if not torch.allclose(theirs, expected.reshape(-1), rtol=TOLERANCE, atol=TOLERANCE):
                raise TaskError(
                    f"layer {name.rpartition('.')[0] or 'module'}: Opacus finds no gradient by row"
                    f" for parameter {name}",
                    hint="use each layer on rows, through its own forward",
                )


def _sample_gradients(
    sampled: GradSampleModule,
    rows: torch.Tensor,
    weigh: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """[n, d]: each row's output differentiated by all parameters, times `weigh` of the outputs."""
    sampled.zero_grad()
    # Opacus' hooks warn where the input asks for no gradient.
    output = sampled(rows.clone().requires_grad_())
    output.backward(weigh(output.detach().reshape(-1)).reshape(output.shape))
    parts = []
    for each in sampled.parameters():
        of_rows = each.grad_sample
        if of_rows is None:
            of_rows = torch.zeros(len(rows), each.numel(), dtype=rows.dtype)
        parts.append(of_rows.reshape(len(rows), -1))
    return torch.cat(parts, dim=1)


def _loss_slope(
    output: torch.Tensor, *, targets: torch.Tensor, huber: float | None
) -> torch.Tensor:
    """The derivative of each row's loss by its output."""
    residual = output - targets
    return residual if huber is None else residual.clamp(-huber, huber)


def _where(name: str, layer: nn.Module) -> str:
    return f"layer {name or 'module'} ({type(layer).__name__})"
