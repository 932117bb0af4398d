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

from privacy.aligned import aligned
from privacy.graph import Combine, Elementwise, Graph, Linear, Step
from privacy.layer_vector import LayerSum, LayerVector
from privacy.unit_norms import LayerRows

Floats = NDArray[np.float64]

SMALL_PRODUCT = 1_000_000
"""Up to so many multiplications OpenBLAS takes a matrix product without copying its factors first,
which makes those of a few hundred rows a quarter faster (measured; AVX-512). So larger ones are
cut by rows."""
LEAST_CUT = 64
_ONE = np.ones((1, 1))
"""The slope of the output by itself."""


class Passes:
    """Holds the values and slopes of the rows that it was given last.

    Args:
        graph: what is computed.
        rows: at most so many rows at once.
    """

    def __init__(self, graph: Graph, rows: int) -> None:
        self.rows = rows
        self.graph = graph
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
        self._products = {
            index: _aligned(layer.outputs, layer.inputs) for index, layer in self._layers
        }
        self._theta = LayerVector(graph)
        self._part = LayerVector(graph)
        # Products with a factor that is transposed on the way are slower.
        self._transposed = {
            index: _aligned(layer.inputs, layer.outputs) for index, layer in self._layers
        }
        self._values: list[Floats] = []
        self._slopes: list[Floats | None] = []
        self._functions: dict[int, Floats | None] = {}
        self._take(rows)

    def set_parameters(self, theta: Floats) -> None:
        """theta float64[d], which is copied."""
        np.copyto(self._theta.numbers, theta)
        for index, weight in self._theta.weights.items():
            np.copyto(self._transposed[index], weight.T)

    def forward(self, inputs: Floats) -> Floats:
        """The model's output, float64[n], of inputs float64[n, columns]."""
        if len(inputs) != self._taken:
            self._take(len(inputs))
        values = self._values
        values[0] = inputs
        for index, step in enumerate(self.graph.steps, start=1):
            value = values[index]
            if isinstance(step, Linear):
                bias = self._theta.biases[index]
                _multiply(values[step.source], self._transposed[index], value)
                if bias is not None:
                    value += bias
            elif isinstance(step, Elementwise):
                self._functions[index] = step.function.apply(values[step.source], value)
            else:
                first, *others = zip(step.sources, step.coefficients, strict=True)
                np.multiply(values[first[0]], first[1], out=value)
                for source, coefficient in others:
                    value += self._scaled(values[source], coefficient)
                if step.constant:
                    value += step.constant
        return values[-1][:, 0]

    def backward(self) -> None:
        """The slopes of the last forward pass."""
        # A slope of one row stands for all rows: the output's is 1 for each.
        self._slopes = [None] * len(self.graph.widths)
        self._slopes[-1] = _ONE
        for index in range(len(self.graph.steps), 0, -1):
            step, slope = self.graph.steps[index - 1], self._slopes[index]
            if slope is None:
                continue
            if isinstance(step, Linear):
                if self._trained[step.source]:
                    self._add_slope(step.source, slope, self._theta.weights[index])
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

    def add_weighted(self, weights: Floats, total: LayerSum) -> None:
        """Add to total the sum over rows of weights [n] times the output's derivative.

        Uses up the slopes.
        """
        part = total if total.empty else self._part
        for index, layer in self._layers:
            slope, value = self._slopes[index], self._values[layer.source]
            of_weight, of_bias = part.weights[index], part.biases[index]
            if slope is None:
                continue
            if len(slope) == 1:
                if of_bias is not None:
                    np.multiply(slope[0], weights.sum(), out=of_bias)
                np.multiply(slope.T, np.dot(weights, value), out=of_weight)
                continue
            if of_bias is not None:
                np.dot(weights, slope, out=of_bias)
            if layer.inputs < layer.outputs:
                value = np.multiply(value, weights[:, None], out=self._temporary(value))
            else:
                slope *= weights[:, None]
            product = self._products[index]
            first, *others = _cuts(len(value), product.size)
            np.dot(slope[first].T, value[first], out=of_weight)
            for rows in others:
                of_weight += np.dot(slope[rows].T, value[rows], out=product)
        if total.empty:
            total.empty = False
        else:
            total.add(part.numbers)

    def _through(self, step: Elementwise, index: int, slope: Floats) -> None:
        """Slope of what an elementwise function read, from the slope of what it gave."""
        value, derivative = self._values[index], self._functions[index]
        out, room = slope, self._temporary(value)
        if len(slope) == 1:
            out = room = self._room_for(step.source)
        if derivative is None:
            derivative = step.function.slope(value, room)
        self._accumulate(step.source, np.multiply(slope, derivative, out=out))

    def _add_slope(self, source: int, slope: Floats, factor: Floats | float) -> None:
        """Add slope @ factor, or slope times a number, to the slope of a value."""
        if len(slope) == 1:
            product = np.dot(slope, factor)
        else:
            out = self._room_for(source)
            if isinstance(factor, np.ndarray):
                product = _multiply(slope, factor, out)
            else:
                product = np.multiply(slope, factor, out=out)
        self._accumulate(source, product)

    def _room_for(self, index: int) -> Floats:
        """Where to write a slope of a value: elsewhere where a part of it is there already."""
        room = self._slope_room[index]
        return room if self._slopes[index] is None else self._temporary(room)

    def _accumulate(self, index: int, slope: Floats) -> None:
        present = self._slopes[index]
        if present is None:
            self._slopes[index] = slope
        elif len(present) >= len(slope):
            present += slope
        else:
            self._slopes[index] = np.add(slope, present, out=self._slope_room[index])

    def _scaled(self, value: Floats, factor: Floats | float) -> Floats:
        return np.multiply(value, factor, out=self._temporary(value))

    def _temporary(self, like: Floats) -> Floats:
        return self._temporaries[like.shape[1]]

    def _take(self, rows: int) -> None:
        """Make ready for so many rows: the first ones of every buffer."""
        self._taken = rows
        self._values = [buffer[:rows] for buffer in self._value_buffers]
        for index, step in enumerate(self.graph.steps, start=1):
            if self._in_place[index - 1]:
                self._values[index] = self._values[step.sources[0]]
        self._slope_room = [buffer[:rows] for buffer in self._slope_buffers]
        self._temporaries = {
            width: self._scratch[: rows * width].reshape(rows, width)
            for width in self.graph.widths
            if rows * width <= len(self._scratch)
        }


def _multiply(a: Floats, b: Floats, out: Floats) -> Floats:
    """a @ b, written to `out`."""
    cuts = _cuts(len(a), b.size)
    if len(cuts) == 1:
        return np.dot(a, b, out=out)
    for rows in cuts:
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
    return aligned(rows * width).reshape(rows, width)


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
