# SPDX-License-Identifier: Apache-2.0
"""One forward and one backward pass of a graph over a few rows, in buffers that are used again.

The backward pass gives slopes: derivatives of the model's output by each value. The derivative of
the loss is the row's residual times the slope, so that residuals and clip factors enter last, as
one weight for each row.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from privacy.graph import Combine, Elementwise, Graph, Linear, Step
from privacy.unit_norms import LayerRows

Floats = NDArray[np.float64]

SMALL_PRODUCT = 1_000_000
"""Up to so many multiplications OpenBLAS takes a matrix product without copying its factors first,
which makes those of a few hundred rows a quarter faster (measured; AVX-512). So larger ones are
cut by rows."""
LEAST_CUT = 64


class Passes:
    """Holds the values and slopes of the rows that it was given last.

    Args:
        graph: what is computed.
        rows: at most so many rows at once.
    """

    def __init__(self, graph: Graph, rows: int) -> None:
        self.rows = rows
        self._graph = graph
        self._layers = graph.layers
        self._in_place = _in_place(graph)
        self._trained = _depends_on_parameters(graph)
        widths = graph.widths
        self._value_buffers = [
            _aligned(0 if shared else rows, width)
            for width, shared in zip(widths, [True, *self._in_place], strict=True)
        ]
        self._slope_buffers = [
            _aligned(rows if trained else 0, width)
            for width, trained in zip(widths, self._trained, strict=True)
        ]
        self._scratch = _aligned(rows, _widest_temporary(graph)).reshape(-1)
        self._products = [_aligned(layer.outputs, layer.inputs) for _, layer in self._layers]
        self._weights: dict[int, tuple[Floats, Floats | None]] = {}
        self._transposed: dict[int, Floats] = {}
        self._values: list[Floats] = []
        self._slopes: list[Floats | None] = []
        self._functions: dict[int, Floats | None] = {}

    def set_parameters(self, theta: Floats) -> None:
        """theta float64[d], of which views are kept."""
        self._weights = self._views(theta)
        # Products with a factor that is transposed on the way are slower.
        self._transposed = {
            index: np.ascontiguousarray(weight.T) for index, (weight, _) in self._weights.items()
        }

    def forward(self, inputs: Floats) -> Floats:
        """The model's output, float64[n], of inputs float64[n, columns]."""
        self._values = [inputs]
        n = len(inputs)
        for index, step in enumerate(self._graph.steps, start=1):
            if isinstance(step, Elementwise) and self._in_place[index - 1]:
                value = self._values[step.source]
            else:
                value = self._value_buffers[index][:n]
            if isinstance(step, Linear):
                bias = self._weights[index][1]
                _multiply(self._values[step.source], self._transposed[index], value)
                if bias is not None:
                    value += bias
            elif isinstance(step, Elementwise):
                self._functions[index] = step.function.apply(self._values[step.source], value)
            else:
                first, *others = zip(step.sources, step.coefficients, strict=True)
                np.multiply(self._values[first[0]], first[1], out=value)
                for source, coefficient in others:
                    value += self._scaled(self._values[source], coefficient)
                if step.constant:
                    value += step.constant
            self._values.append(value)
        return self._values[-1][:, 0]

    def backward(self) -> None:
        """The slopes of the last forward pass."""
        # A slope of one row stands for all rows: the output's is 1 for each.
        self._slopes = [None] * len(self._graph.widths)
        self._slopes[-1] = np.ones((1, 1))
        for index in range(len(self._graph.steps), 0, -1):
            step, slope = self._graph.steps[index - 1], self._slopes[index]
            if slope is None:
                continue
            if isinstance(step, Linear):
                if self._trained[step.source]:
                    self._add_slope(step.source, slope, self._weights[index][0])
            elif isinstance(step, Elementwise):
                if self._trained[step.source]:
                    self._through(step, index, slope)
            else:
                for source, coefficient in zip(step.sources, step.coefficients, strict=True):
                    if self._trained[source]:
                        self._add_slope(source, slope, coefficient)

    def squared_slopes(self) -> Floats:
        """q float64[n]: squared norm of the output's derivative by all parameters."""
        result = np.zeros(len(self._values[0]))
        for index, layer in self._layers:
            slope, value = self._slopes[index], self._values[layer.source]
            if slope is None:
                continue
            size = np.vecdot(value, value)
            if layer.bias is not None:
                size += 1.0
            size *= np.vecdot(slope, slope)
            result += size
        return result

    def layer_rows(self) -> list[LayerRows]:
        """What each layer read, and the slopes of its output."""
        return [
            LayerRows(self._values[layer.source], slope, layer.bias is not None)
            for index, layer in self._layers
            if (slope := self._slopes[index]) is not None
        ]

    def add_weighted(self, weights: Floats, total: Floats, *, empty: bool) -> None:
        """Add to total [d] the sum over rows of weights [n] times the output's derivative.

        `empty` says that total is all zeros yet. Uses up the slopes.
        """
        views = self._views(total)
        for (index, layer), product in zip(self._layers, self._products, strict=True):
            slope, value = self._slopes[index], self._values[layer.source]
            if slope is None:
                continue
            of_weight, of_bias = views[index]
            if len(slope) == 1:
                if of_bias is not None:
                    of_bias += slope[0] * weights.sum()
                of_weight += np.multiply(slope.T, np.dot(weights, value), out=product)
                continue
            if of_bias is not None:
                of_bias += np.dot(weights, slope)
            if layer.inputs < layer.outputs:
                value = self._scaled(value, weights[:, None])
            else:
                slope *= weights[:, None]
            for rows in _cuts(len(value), product.size):
                if empty and rows.start == 0:
                    np.dot(slope[rows].T, value[rows], out=of_weight)
                else:
                    of_weight += np.dot(slope[rows].T, value[rows], out=product)

    def _through(self, step: Elementwise, index: int, slope: Floats) -> None:
        """Slope of what an elementwise function read, from the slope of what it gave."""
        value = self._values[index]
        derivative = self._functions[index]
        if derivative is None:
            derivative = step.function.slope(value, self._temporary(value))
        if len(slope) == 1:
            out = self._slope_buffers[step.source][: len(value)]
            if self._slopes[step.source] is not None:
                out = self._temporary(out)
            slope = np.multiply(slope, derivative, out=out)
        else:
            slope *= derivative
        self._accumulate(step.source, slope)

    def _add_slope(self, source: int, slope: Floats, factor: Floats | float) -> None:
        """Add slope @ factor, or slope times a number, to the slope of a value."""
        rows = len(slope)
        if rows == 1:
            product = np.dot(slope, factor)
        else:
            width = self._graph.widths[source]
            if self._slopes[source] is None:
                out = self._slope_buffers[source][:rows]
            else:
                out = self._scratch[: rows * width].reshape(rows, width)
            if isinstance(factor, np.ndarray):
                product = _multiply(slope, factor, out)
            else:
                product = np.multiply(slope, factor, out=out)
        self._accumulate(source, product)

    def _accumulate(self, index: int, slope: Floats) -> None:
        present = self._slopes[index]
        if present is None:
            self._slopes[index] = slope
        elif len(present) >= len(slope):
            present += slope
        else:
            out = self._slope_buffers[index][: len(slope)]
            self._slopes[index] = np.add(slope, present, out=out)

    def _scaled(self, value: Floats, factor: Floats | float) -> Floats:
        return np.multiply(value, factor, out=self._temporary(value))

    def _temporary(self, like: Floats) -> Floats:
        return self._scratch[: like.size].reshape(like.shape)

    def _views(self, vector: Floats) -> dict[int, tuple[Floats, Floats | None]]:
        """Weight [outputs, inputs] and bias [outputs] of each layer within a vector of d."""
        views: dict[int, tuple[Floats, Floats | None]] = {}
        for index, layer in self._layers:
            end = layer.weight + layer.outputs * layer.inputs
            weight = vector[layer.weight : end].reshape(layer.outputs, layer.inputs)
            bias = None if layer.bias is None else vector[layer.bias : layer.bias + layer.outputs]
            views[index] = (weight, bias)
        return views


def _multiply(a: Floats, b: Floats, out: Floats) -> Floats:
    """a @ b, written to `out`."""
    for rows in _cuts(len(a), b.size):
        np.dot(a[rows], b, out=out[rows])
    return out


@lru_cache(maxsize=1024)
def _cuts(rows: int, cost: int) -> tuple[slice, ...]:
    """Equal stretches of rows whose products, of `cost` multiplications a row, are small; all rows
    as one where that would take very short stretches."""
    most = SMALL_PRODUCT // cost
    if rows <= most or most < LEAST_CUT:
        return (slice(0, rows),)
    step = math.ceil(rows / math.ceil(rows / most))
    return tuple(slice(first, min(first + step, rows)) for first in range(0, rows, step))


def _aligned(rows: int, width: int) -> Floats:
    """An empty array that begins on a cache line, as vector instructions like it."""
    size = rows * width
    if size == 0:
        return np.empty((rows, width))
    buffer = np.empty(size + 8)
    start = -buffer.__array_interface__["data"][0] % 64 // 8
    return buffer[start : start + size].reshape(rows, width)


def _widest_temporary(graph: Graph) -> int:
    """Of what `Passes` puts into its scratch space: values but the input, and inputs of layers that
    are narrower than their outputs."""
    narrow = [layer.inputs for _, layer in graph.layers if layer.inputs < layer.outputs]
    combined = [graph.widths[each] for step in graph.steps for each in _others(step)]
    return max([*graph.widths[1:], *narrow, *combined])


def _others(step: Step) -> tuple[int, ...]:
    return step.sources[1:] if isinstance(step, Combine) else ()


def _in_place(graph: Graph) -> list[bool]:
    """Of each step, whether it may overwrite what it reads: nothing else reads that, and what gave
    it does not look at it again for its own slope."""
    readers = [0] * len(graph.widths)
    for source in itertools.chain.from_iterable(step.sources for step in graph.steps):
        readers[source] += 1
    return [
        isinstance(step, Elementwise)
        and step.source > 0
        and readers[step.source] == 1
        and not isinstance(graph.steps[step.source - 1], Elementwise)
        for step in graph.steps
    ]


def _depends_on_parameters(graph: Graph) -> list[bool]:
    """Of each value, whether a parameter enters it."""
    depends = [False]
    for step in graph.steps:
        depends.append(isinstance(step, Linear) or any(depends[each] for each in step.sources))
    return depends
