# SPDX-License-Identifier: Apache-2.0
"""Per-unit clipping in closed form: no gradient of a row is ever written down.

For a Linear layer that reads a and whose output has slope s (derivative of the model's output), a
row's gradient is r s a^T with r = f - y, of squared norm r^2 |s|^2 (|a|^2 + 1); over all layers
that is r^2 q (Goodfellow, "Efficient per-example gradient computations", 2015). So one forward and
one backward pass give every norm, and each layer's clipped sum is one product of the same a and s
with every row weighted by its unit's factor. Units of several rows: `privacy.unit_norms`.

Rounding. Rows of one unit may be huge and cancel, and what is left is rounding error of any size.
Such units, and rows whose residual is itself within its rounding error, are computed alone, from
their own rows, and the gradient that comes out is what is clipped. So a unit adds a vector of norm
<= C whatever its rows hold, and one that does not hang on its neighbours in a matrix product.

Rows are taken in chunks whose values stay in the processor's cache; much of the speed is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from privacy.graph import Graph
from privacy.layer_vector import LayerSum
from privacy.passes import Passes
from privacy.unit_norms import squared_norms
from privacy.units import Units

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CHUNK_BYTES = 2 << 20
"""Values and slopes of a chunk: with the weights they fit a cache of 1 MiB (measured)."""
LEAST_CHUNK, MOST_CHUNK = 32, 1024
WRITING_COST = 200_000
"""What writing a unit's gradient out costs beside its products, in multiplications (measured)."""
CANCELLED = 1e-4
"""A unit's squared norm below this share of (sum of its rows' norms)^2 is not trusted."""
ROUNDING = 2.0**-48
"""Error of an output, per |theta| times the norm of its slopes: 32 times a double's."""
NOTICEABLE = 1e-6
"""Errors of a residual below this share of itself, or of the clip norm, may pass."""


class ClosedForm:
    """The clipped sum of one graph. Buffers are kept: one object serves one thread."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        kept = 2 * sum(graph.widths) - graph.columns
        self._chunk = min(max(CHUNK_BYTES // (8 * kept), LEAST_CHUNK), MOST_CHUNK)
        weights = sum(layer.inputs * layer.outputs for _, layer in graph.layers)
        widths = sum(layer.inputs + layer.outputs for _, layer in graph.layers)
        paired = math.isqrt((weights + WRITING_COST) // widths)
        self._most_paired = min(max(paired, 2), LEAST_CHUNK)
        self._passes: Passes | None = None
        self._total = LayerSum(graph)

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
        with np.errstate(all="ignore"):
            passes = self._buffers(units.rows)
            passes.set_parameters(theta)
            self._total.empty = True
            call = _Call(passes, self._total, theta, clip_norm=clip_norm, huber=huber)
            sizes, order = units.sizes, units.order
            if sizes is None:
                for rows in _stretches(units.rows, self._chunk):
                    call.add(*_pick(inputs, targets, rows, order), None)
                return self._total.value()
            ends = np.cumsum(sizes)
            for unit in np.flatnonzero(sizes > self._most_paired):
                rows = slice(ends[unit] - sizes[unit], ends[unit])
                call.add_alone(*_pick(inputs, targets, rows, order))
            few = sizes <= self._most_paired
            if not few.all():
                kept = np.flatnonzero(np.repeat(few, sizes))
                order, sizes = kept if order is None else order[kept], sizes[few]
            for rows, members in whole_units(sizes, self._chunk):
                call.add(*_pick(inputs, targets, rows, order), sizes[members])
            return self._total.value()

    def _buffers(self, rows: int) -> Passes:
        """Room for a chunk, or for all rows where these are fewer."""
        rows = min(rows, self._chunk)
        if self._passes is None or self._passes.rows < rows:
            self._passes = Passes(self.graph, rows)
        return self._passes


class _Call:
    """One clipped sum while it is added up."""

    def __init__(
        self,
        passes: Passes,
        total: LayerSum,
        theta: Floats,
        *,
        clip_norm: float,
        huber: float | None,
    ) -> None:
        self._passes = passes
        self._total = total
        self._clip_norm = clip_norm
        self._huber = huber
        self._error = ROUNDING * math.sqrt(np.dot(theta, theta))

    def add(self, inputs: Floats, targets: Floats, sizes: Ints | None) -> None:
        """Add units of few rows; `sizes` [u] as in `Units`, of the rows given."""
        passes = self._passes
        residual = bounded(passes.forward(inputs) - targets, self._huber)
        passes.backward()
        squares = passes.squared_slopes()
        norms = np.abs(residual) * np.sqrt(squares)
        if sizes is not None:
            starts = np.cumsum(sizes) - sizes
            norms = np.add.reduceat(norms, starts)
        if not norms.max() < np.inf:
            # 0 times infinity is no 0: such units must not enter the products at all.
            self._add_finite(inputs, targets, sizes, np.isfinite(norms))
            return
        doubtful = self._doubtful_rows(residual, squares)
        if sizes is not None:
            doubtful = self._sharpen(norms, residual, starts, sizes, doubtful)
        factors = self._clip_norm / np.maximum(norms, self._clip_norm)
        if doubtful is not None:
            factors[doubtful] = 0.0
        weights = residual * (factors if sizes is None else np.repeat(factors, sizes))
        passes.add_weighted(weights, self._total)
        if doubtful is not None:
            for unit in np.flatnonzero(doubtful):
                rows = slice(unit, unit + 1)
                if sizes is not None:
                    rows = slice(starts[unit], starts[unit] + sizes[unit])
                self.add_alone(inputs[rows], targets[rows])

    def add_alone(self, inputs: Floats, targets: Floats) -> None:
        """Add one unit, of any number of rows, by its gradient."""
        alone = LayerSum(self._passes.graph)
        for rows in _stretches(len(inputs), self._passes.rows):
            output = self._passes.forward(inputs[rows])
            self._passes.backward()
            residual = bounded(output - targets[rows], self._huber)
            self._passes.add_weighted(residual, alone)
        gradient = alone.numbers
        norm = math.sqrt(gradient @ gradient)
        if norm < math.inf:
            self._total.add(gradient * (self._clip_norm / max(norm, self._clip_norm)))

    def _add_finite(
        self, inputs: Floats, targets: Floats, sizes: Ints | None, finite: NDArray[np.bool_]
    ) -> None:
        if finite.any():
            rows = finite if sizes is None else np.repeat(finite, sizes)
            self.add(inputs[rows], targets[rows], None if sizes is None else sizes[finite])

    def _doubtful_rows(self, residual: Floats, squares: Floats) -> NDArray[np.bool_] | None:
        """Rows [n] whose residual is so uncertain that it would show in their clipped gradient."""
        limit = NOTICEABLE * self._clip_norm
        if not self._error * squares.max() > limit:
            return None
        error = self._error * np.sqrt(squares)
        rows = (self._error * squares > limit) & (error > NOTICEABLE * np.abs(residual))
        return rows if rows.any() else None

    def _sharpen(
        self,
        norms: Floats,
        residual: Floats,
        starts: Ints,
        sizes: Ints,
        doubtful_rows: NDArray[np.bool_] | None,
    ) -> NDArray[np.bool_] | None:
        """Turn sums of row norms [u] into norms of units, where they may be clipped.

        Returns the units whose norm, or one of whose rows, is not to be trusted.
        """
        chosen = np.flatnonzero((sizes > 1) & (norms > self._clip_norm))
        layers = self._passes.layer_rows()
        found = squared_norms(layers, residual, starts[chosen], sizes[chosen])
        trusted = (found > CANCELLED * np.square(norms[chosen])) & (found < np.inf)
        norms[chosen] = np.sqrt(found)
        doubtful = np.zeros(len(sizes), dtype=np.bool_)
        doubtful[chosen] = ~trusted
        if doubtful_rows is not None:
            doubtful |= np.logical_or.reduceat(doubtful_rows, starts)
        return doubtful if doubtful.any() else None


def bounded(residual: Floats, huber: float | None) -> Floats:
    """float64[n]: the derivative of the loss by the output, from f - y float64[n] (Huber 1964)."""
    return residual if huber is None else np.clip(residual, -huber, huber)


def _stretches(rows: int, most: int) -> Iterator[slice]:
    return (slice(first, min(first + most, rows)) for first in range(0, rows, most))


def whole_units(sizes: Ints, most: int) -> Iterator[tuple[slice, slice]]:
    """Stretches of rows and of units: whole units of `most` rows together, or one larger unit.

    sizes: int64[u], rows of each unit, in the order in which they stand.
    """
    ends = np.cumsum(sizes)
    first = before = 0
    while first < len(sizes):
        last = max(first + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield slice(before, int(ends[last - 1])), slice(first, last)
        first, before = last, int(ends[last - 1])


def _pick(
    inputs: Floats, targets: Floats, rows: slice, order: Ints | None
) -> tuple[Floats, Floats]:
    chosen = rows if order is None else order[rows]
    return inputs[chosen], targets[chosen]
