# SPDX-License-Identifier: Apache-2.0
"""Gradient norms of units of several rows, without their gradients.

The gradient of a Linear layer for unit u is the sum over its rows of delta_i a_i^T, whose squared
norm is the sum over pairs of rows of (delta_i . delta_j)(a_i . a_j), and + 1 for a bias. Where the
layer is so narrow that the gradient itself is smaller than the pairs, it is written out instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SIZE_CLASSES = (4,)
"""Units are taken together up to one of these sizes, then all others, and filled up with empty rows
to the largest among them."""


@dataclass(frozen=True)
class LayerRows:
    """One Linear layer on a block of rows.

    Attributes:
        inputs: float64[n, i], what the layer reads.
        slopes: float64[n or 1, o], derivative of the model's output by the layer's output; one row
            stands for all rows.
        bias: whether the layer has one.
    """

    inputs: Floats
    slopes: Floats
    bias: bool


def squared_norms(layers: list[LayerRows], residual: Floats, starts: Ints, sizes: Ints) -> Floats:
    """Squared gradient norm of each unit, float64[u]; may be below 0 by rounding.

    A unit is `sizes` rows from `starts` on; the deltas are residual [n] times slopes.
    """
    result = np.empty(len(sizes))
    left = np.ones(len(sizes), dtype=bool)
    for limit in (*_SIZE_CLASSES, np.iinfo(np.int64).max):
        chosen = np.flatnonzero(left & (sizes <= limit))
        if len(chosen):
            result[chosen] = _of_similar_size(layers, residual, starts[chosen], sizes[chosen])
            left[chosen] = False
    return result


def _of_similar_size(
    layers: list[LayerRows], residual: Floats, starts: Ints, sizes: Ints
) -> Floats:
    """All units are filled up to the size of the largest: arrays [u, m, width]."""
    places = np.arange(sizes.max())
    present = places < sizes[:, None]
    rows = np.where(present, starts[:, None] + places, starts[:, None])
    weights = np.where(present, residual[rows], 0.0)
    total = np.zeros(len(sizes))
    for layer in layers:
        total += _of_layer(layer, rows, weights)
    return total


def _of_layer(layer: LayerRows, rows: Ints, weights: Floats) -> Floats:
    m, i, o = rows.shape[1], layer.inputs.shape[1], layer.slopes.shape[1]
    inputs = layer.inputs[rows]
    if len(layer.slopes) == 1:
        # The gradient is one vector times the slopes: sum_i r_i a_i.
        vector = np.matmul(weights[:, None, :], inputs)[:, 0]
        size = np.vecdot(vector, vector)
        if layer.bias:
            size += np.square(weights.sum(axis=1))
        return np.asarray(size * np.vecdot(layer.slopes[0], layer.slopes[0]))
    deltas = layer.slopes[rows]
    deltas *= weights[:, :, None]
    if i * o <= m * (i + o):
        gradient = np.matmul(deltas.transpose(0, 2, 1), inputs)
        norms: Floats = np.square(gradient).sum(axis=(1, 2))
        if layer.bias:
            norms += np.square(deltas.sum(axis=1)).sum(axis=1)
        return norms
    of_inputs = np.matmul(inputs, inputs.transpose(0, 2, 1))
    if layer.bias:
        of_inputs += 1.0
    of_deltas = np.matmul(deltas, deltas.transpose(0, 2, 1))
    return np.asarray(np.einsum("uij,uij->u", of_inputs, of_deltas))
