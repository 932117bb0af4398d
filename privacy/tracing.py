# SPDX-License-Identifier: Apache-2.0
"""Finds out whether a torch module has a closed form: Linear layers, elementwise functions, skips.

The module runs once on made-up rows, and every torch function that it calls is seen on the way
(torch.overrides.TorchFunctionMode, which holds for this thread alone). What counts is what the
module does, not what its classes are called: a residual block is any module that adds two values.
Anything but the functions below, on anything but values that came from the input row by row, means
that there is no closed form: a layer used twice, a weight made from parameters, a look at the shape
or at the numbers. What no torch function shows (a counter, chance, compiled code) shows when the
steps are held against the module itself on batches of several sizes, and in the layers' attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from privacy.activation import Activation, ByAutograd, Relu, Sigmoid, Tanh
from privacy.graph import Combine, Elementwise, Graph, Linear, Step
from privacy.layer_state import copied, memory_of
from privacy.passes import Passes

PROBE_ROWS = 3
BATCHES = (1, 4, 33, 300)
"""Sizes of the batches on which the steps must give what the module gives."""
TOLERANCE = 1e-6
"""Relative; float64 on both sides."""
FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError),
    *(RuntimeError, TypeError, ValueError),
)
"""What a module's own forward raises on rows that it does not take."""

_Function = Callable[..., Any]


def _named(*names: str) -> frozenset[_Function]:
    """The functions of these names in torch, torch.nn.functional and torch.Tensor."""
    homes = (torch, functional, torch.Tensor)
    return frozenset(getattr(home, name) for home in homes for name in names if hasattr(home, name))


_FAST: dict[_Function, Activation] = {
    **dict.fromkeys(_named("tanh"), Tanh()),
    **dict.fromkeys(_named("relu"), Relu()),
    **dict.fromkeys(_named("sigmoid"), Sigmoid()),
}
_ELEMENTWISE = _named(
    *("silu", "gelu", "softplus", "elu", "selu", "celu", "leaky_relu", "relu6", "hardtanh"),
    *("mish", "softsign", "logsigmoid", "hardswish", "hardsigmoid", "tanhshrink", "softshrink"),
    *("hardshrink", "exp", "expm1", "log1p", "sin", "cos", "atan", "arctan", "sinh", "cosh"),
    *("asinh", "square", "abs", "erf", "sqrt", "pow", "__pow__"),
    *("clamp", "clip"),
)
_ADD, _SUB = _named("add", "__add__", "__radd__"), _named("sub", "__sub__")
_RSUB, _NEG = _named("rsub", "__rsub__"), _named("neg", "negative")
_MUL, _DIV = _named("mul", "__mul__", "__rmul__"), _named("div", "true_divide", "__truediv__")
_IN_PLACE: dict[_Function, _Function] = {
    **dict.fromkeys(_named("add_", "__iadd__"), torch.add),
    **dict.fromkeys(_named("sub_", "__isub__"), torch.sub),
    **dict.fromkeys(_named("mul_", "__imul__"), torch.mul),
    **dict.fromkeys(_named("div_", "__itruediv__"), torch.div),
    **dict.fromkeys(_named("relu_"), torch.relu),
    **dict.fromkeys(_named("tanh_"), torch.tanh),
    **dict.fromkeys(_named("sigmoid_"), torch.sigmoid),
}
_RESHAPE = _named("squeeze", "flatten", "reshape", "view", "ravel", "__getitem__", "contiguous")


class _NoClosedForm(Exception):
    """The module does something else."""


def trace(module: nn.Module, columns: int) -> Graph | None:
    """The steps that `module` takes on rows of `columns` numbers; None without a closed form.

    The parameter vector is `module.parameters()` in order, each flattened row-major. The module is
    traced as in training and is not changed.
    """
    parts = list(module.modules())
    if any(part._buffers for part in parts):
        return None
    if not all(part.training for part in parts):
        module = copied(module).train()
    weights = list(module.parameters())
    if not weights or any(each.dtype != weights[0].dtype for each in weights):
        return None
    rows = made_up_rows(PROBE_ROWS, columns).to(weights[0].dtype, copy=True)
    recorder = _Recorder(rows, weights)
    before = memory_of(module)
    try:
        with torch.enable_grad(), recorder:
            output = module(rows)
        graph = recorder.graph(output)
        if graph is None or memory_of(module) != before or not _is_whole(module, graph):
            return None
        return graph
    except (_NoClosedForm, *FAILURES):
        # A failure of the module's own comes again where the caller runs it.
        return None


def _is_whole(module: nn.Module, graph: Graph) -> bool:
    """Whether the steps give what the module gives, on batches of several sizes."""
    double = module
    if next(module.parameters()).dtype != torch.float64:
        double = copied(module).double()
    before = memory_of(double)
    passes = Passes(graph, max(BATCHES))
    theta = [each.detach().numpy().reshape(-1) for each in double.parameters()]
    passes.set_parameters(np.concatenate(theta))
    for size in BATCHES:
        rows = spread_rows(size, graph.columns)
        with torch.no_grad():
            given = double(rows.clone()).numpy().reshape(-1)
        with np.errstate(all="ignore"):
            same = np.isclose(
                passes.forward(rows.numpy()), given, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
            )
        if not same.all():
            return False
    return memory_of(double) == before


@lru_cache(maxsize=64)
def made_up_rows(rows: int, columns: int) -> torch.Tensor:
    """float64[rows, columns], standard normal, always the same; copy before changing it."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


@lru_cache(maxsize=64)
def spread_rows(rows: int, columns: int) -> torch.Tensor:
    """As `made_up_rows`, each row times a number from 0.1 to 100, shuffled."""
    generator = torch.Generator().manual_seed(1)
    scales = torch.logspace(-1, 2, rows, dtype=torch.float64)
    scales = scales[torch.randperm(rows, generator=generator)]
    return made_up_rows(rows, columns) * scales[:, None]


class _Recorder(TorchFunctionMode):
    """Writes down the steps; raises _NoClosedForm at the first that is none."""

    def __init__(self, rows: torch.Tensor, parameters: list[nn.Parameter]) -> None:
        super().__init__()
        self._steps: list[Step] = []
        self._widths = [rows.shape[1]]
        # By id, with the tensor itself so that no id is given twice.
        self._values: dict[int, tuple[int, torch.Tensor]] = {id(rows): (0, rows)}
        self._viewed: set[int] = set()
        self._start: dict[int, int] = {}
        self._parameters = 0
        for each in parameters:
            self._start[id(each)] = self._parameters
            self._parameters += each.numel()
        self._used: set[int] = set()
        self._failed = False

    def __torch_function__(
        self,
        func: _Function,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **dict(kwargs or {}))
        try:
            self._record(result, func, args, dict(kwargs or {}))
        except _NoClosedForm:
            # Said here too, lest the module's own code swallows the exception.
            self._failed = True
            raise
        return result

    def _record(
        self, result: Any, func: _Function, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        # Looks at shapes and numbers, and turning gradients off, give no tensor.
        if not isinstance(result, torch.Tensor):
            raise _NoClosedForm
        if func in _RESHAPE:
            self._reshape(result, *args)
            return
        in_place = any(result is each for each in args)
        if in_place and self._index(result) in self._viewed:
            raise _NoClosedForm
        plain: _Function = _IN_PLACE.get(func, func)
        step = self._step(plain, args, options)
        if not isinstance(step, Linear) and any(
            self._tensor(each).shape != result.shape for each in args if torch.is_tensor(each)
        ):
            raise _NoClosedForm
        self._steps.append(step)
        self._widths.append(result.shape[-1] if result.dim() == 2 else 1)
        self._values[id(result)] = (len(self._steps), result)

    def graph(self, output: Any) -> Graph | None:
        """The steps up to the output."""
        if self._failed or not torch.is_tensor(output) or id(output) not in self._values:
            return None
        if output.numel() != PROBE_ROWS:
            return None
        last = self._index(output)
        return Graph(
            columns=self._widths[0],
            parameters=self._parameters,
            steps=tuple(self._steps[:last]),
            widths=tuple(self._widths[: last + 1]),
        )

    def _index(self, tensor: Any) -> int:
        if id(tensor) not in self._values:
            raise _NoClosedForm
        return self._values[id(tensor)][0]

    def _tensor(self, tensor: Any) -> torch.Tensor:
        self._index(tensor)
        return self._values[id(tensor)][1]

    def _step(self, func: _Function, args: tuple[Any, ...], options: dict[str, Any]) -> Step:
        if func is functional.linear:
            return self._linear(*args, **options)
        tensors = [each for each in (*args, *options.values()) if torch.is_tensor(each)]
        if func in _FAST and len(args) == 1 and options.keys() <= {"inplace"}:
            return Elementwise(self._index(args[0]), _FAST[func])
        if func in _ELEMENTWISE and len(tensors) == 1 and tensors[0] is args[0]:
            return Elementwise(self._index(args[0]), ByAutograd(func, args[1:], options))
        if func in _ADD | _SUB | _RSUB and len(args) == 2 and options.keys() <= {"alpha"}:
            alpha = _number(options.get("alpha", 1))
            if func in _RSUB:
                return self._sum(args, (-alpha, 1.0))
            return self._sum(args, (1.0, alpha if func in _ADD else -alpha))
        if func in _NEG and len(args) == 1 and not options:
            return self._sum(args, (-1.0,))
        if func in _MUL and len(args) == 2 and not options:
            return self._sum(args[:1], (_number(args[1]),))
        if func in _DIV and len(args) == 2 and not options:
            return self._sum(args[:1], (1.0 / _number(args[1]),))
        raise _NoClosedForm

    def _linear(self, value: Any, weight: Any, bias: Any = None) -> Linear:
        source = self._index(value)
        claimed = [weight] if bias is None else [weight, bias]
        for each in claimed:
            if id(each) not in self._start or id(each) in self._used:
                raise _NoClosedForm
            self._used.add(id(each))
        if value.dim() != 2:
            raise _NoClosedForm
        outputs, inputs = weight.shape
        start = None if bias is None else self._start[id(bias)]
        return Linear(source, inputs, outputs, self._start[id(weight)], start)

    def _sum(self, terms: tuple[Any, ...], coefficients: tuple[float, ...]) -> Combine:
        sources, kept, constant = [], [], 0.0
        for term, coefficient in zip(terms, coefficients, strict=True):
            if torch.is_tensor(term):
                sources.append(self._index(term))
                kept.append(coefficient)
            else:
                constant += coefficient * _number(term)
        return Combine(tuple(sources), tuple(kept), constant)

    def _reshape(self, result: torch.Tensor, value: Any, *_: Any) -> None:
        """[n, 1] read as [n], or nothing changed at all, and that in the order of the rows."""
        index, source = self._index(value), self._tensor(value)
        same = result.shape == source.shape or (
            source.shape[1:] in ((), (1,)) and result.shape[1:] in ((), (1,))
        )
        if not same or not torch.equal(result.reshape(-1), source.reshape(-1)):
            raise _NoClosedForm
        self._viewed.add(index)
        self._values[id(result)] = (index, result)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NoClosedForm
    return float(value)
