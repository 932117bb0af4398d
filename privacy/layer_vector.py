# SPDX-License-Identifier: Apache-2.0
"""Numbers for every parameter, seen as one vector and as the layers' weights and biases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privacy.graph import Graph

Floats = NDArray[np.float64]


class LayerVector:
    """d numbers, zero at first: parameters, or a gradient.

    Attributes:
        numbers: float64[d], in the order of the parameter vector.
        weights: of each Linear layer, by the value that it makes, [outputs, inputs]; views.
        biases: likewise [outputs], or None where the layer has none.
    """

    def __init__(self, graph: Graph) -> None:
        self.numbers = np.zeros(graph.parameters)
        self.weights: dict[int, Floats] = {}
        self.biases: dict[int, Floats | None] = {}
        for index, layer in graph.layers:
            end = layer.weight + layer.outputs * layer.inputs
            weight = self.numbers[layer.weight : end]
            self.weights[index] = weight.reshape(layer.outputs, layer.inputs)
            bias = None
            if layer.bias is not None:
                bias = self.numbers[layer.bias : layer.bias + layer.outputs]
            self.biases[index] = bias


class LayerSum(LayerVector):
    """A sum of float64[d]. Who finds it empty writes over what is left in it from before."""

    empty = True

    def add(self, numbers: Floats) -> None:
        """Add float64[d]."""
        if self.empty:
            np.copyto(self.numbers, numbers)
        else:
            self.numbers += numbers
        self.empty = False

    def value(self) -> Floats:
        """The sum, float64[d], in an array of its own."""
        return np.zeros_like(self.numbers) if self.empty else self.numbers.copy()
