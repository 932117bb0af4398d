# SPDX-License-Identifier: Apache-2.0
"""Networks of Linear layers and Tanh, evaluated for many parameter vectors at once.

With s(x) = 1 / (1 + exp(-x)), tanh(z) = 2 s(2z) - 1: what a layer reads are the s of the one before
it and a one for its bias, and all constants go into its weights (`TanhNetwork.folded`), so that
between two matrix products stands one pass, in blocks that stay in the cache. Against tanh of
plainly computed layers the outputs differ by the rounding of float64 alone.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rounds.state import Floats
from valuation.mlp import Scale

MODELS_AT_ONCE = 8
"""Or more, where there are few rows."""
_ELEMENTS_AT_ONCE = 1 << 17
"""Of the widest layer, over all models at once: 1 MiB."""


@dataclass(frozen=True)
class TanhNetwork:
    """Linear layers with Tanh between them: `widths` from the inputs to the one output, which is
    multiplied by `scale`."""

    widths: tuple[int, ...]
    scale: float

    @classmethod
    def of(cls, module: nn.Module) -> TanhNetwork | None:
        """The network that a module is: a Sequential of Linear, Tanh, ..., Linear to one output and
        perhaps a Scale, in float64 and with biases. None where it is anything else."""
        if type(module) is not nn.Sequential:
            return None
        layers, scale = list(module), 1.0
        last = layers[-1] if layers else None
        if type(last) is Scale:
            scale = last.factor
            layers.pop()
        if len(layers) < 3 or any(type(each) is not nn.Tanh for each in layers[1::2]):
            return None
        linear = [each for each in layers[::2] if type(each) is nn.Linear]
        fits = len(layers) % 2 == 1 and len(linear) == len(layers[::2])
        if not fits or any(
            each.bias is None or each.weight.dtype != torch.float64 for each in linear
        ):
            return None
        widths = (linear[0].in_features, *(each.out_features for each in linear))
        reads = tuple(each.in_features for each in linear)
        return cls(widths, scale) if widths[:-1] == reads and widths[-1] == 1 else None

    def layers(self, thetas: Floats) -> list[tuple[Floats, Floats]]:
        """Of parameter vectors [..., d] each layer's weight [..., b, a] and bias [..., b]."""
        found, start = [], 0
        for a, b in itertools.pairwise(self.widths):
            weight = thetas[..., start : start + a * b].reshape(*thetas.shape[:-1], b, a)
            found.append((weight, thetas[..., start + a * b : start + (a + 1) * b]))
            start += (a + 1) * b
        return found

    def folded(self, thetas: Floats) -> list[Floats]:
        """What each layer is multiplied by, float64[..., b, a + 1] and linear in theta: the first
        one reads inputs and a one, the others s of the layer before and a one; all but the last
        give the argument of the next s."""
        found = []
        for at, (weight, bias) in enumerate(self.layers(thetas)):
            factor = self.scale if at == len(self.widths) - 2 else 2.0
            if at > 0:
                weight, bias = 2.0 * weight, bias - weight.sum(axis=-1)
            found.append(factor * np.concatenate((weight, bias[..., None]), axis=-1))
        return found

    def unflattened(self, tail: Floats) -> list[Floats]:
        """Views of [..., e] as what `folded` gives after the first layer, [..., b, a + 1] each."""
        found, start = [], 0
        for a, b in itertools.pairwise(self.widths[1:]):
            part = tail[..., start : start + b * (a + 1)]
            found.append(part.reshape(*tail.shape[:-1], b, a + 1, copy=False))
            start += b * (a + 1)
        return found

    def outputs(self, thetas: Floats, inputs: Floats) -> Floats:
        """float64[B, n]: outputs of each of B parameter vectors [B, d] on rows [n, p]."""
        found = np.empty((len(thetas), 1, len(inputs)))
        readable = with_ones(inputs)
        for rows in blocks(len(inputs), self.rows_at_once(MODELS_AT_ONCE)):
            read = np.ascontiguousarray(readable[:, rows])
            room: Activations | None = None
            for part in blocks(len(thetas), self._models_at_once(read.shape[1])):
                first, *later = self.folded(thetas[part])
                if room is None or room.models != len(first):
                    room = Activations(self, len(first), read.shape[1])
                np.matmul(first, read, out=room.first)
                torch.sigmoid(room.first_torch, out=room.first_torch)
                room.finish(later, out=found[part, :, rows])
        return found[:, 0]

    def rows_at_once(self, models: int) -> int:
        """How many rows of so many models fit into the cache together."""
        return max(16, _ELEMENTS_AT_ONCE // (models * max(self.widths[1:])))

    def _models_at_once(self, rows: int) -> int:
        return max(MODELS_AT_ONCE, _ELEMENTS_AT_ONCE // (rows * max(self.widths[1:])))


class Activations:
    """Room for the s of every hidden layer, float64[c, width + 1, n] each, of c models on n rows;
    the last row of each is one."""

    def __init__(self, network: TanhNetwork, models: int, rows: int) -> None:
        hidden = network.widths[1:-1]
        self._reads = [np.ones((models, width + 1, rows)) for width in hidden]
        self._arguments = [each[:, :-1] for each in self._reads]
        self._torch = [torch.from_numpy(each) for each in self._arguments]
        self.models = models
        self.first, self.first_torch = self._arguments[0], self._torch[0]

    def finish(self, folded: list[Floats], *, out: Floats) -> None:
        """With the first hidden layer's s in `first`, the outputs of all models into out
        [c, 1, n]; `folded` are the layers after the first."""
        for at, weights in enumerate(folded[:-1]):
            np.matmul(weights, self._reads[at], out=self._arguments[at + 1])
            torch.sigmoid(self._torch[at + 1], out=self._torch[at + 1])
        np.matmul(folded[-1], self._reads[-1], out=out)


def with_ones(inputs: Floats) -> Floats:
    """float64[p + 1, n] of rows [n, p]: what the folded first layer reads."""
    return np.vstack((inputs.T, np.ones(len(inputs))))


def blocks(length: int, most: int) -> list[slice]:
    """Slices of at most so many, of nearly equal length."""
    count = -(-length // most)
    ends = [length * each // count for each in range(count + 1)] if count else [0]
    return [slice(start, stop) for start, stop in itertools.pairwise(ends)]
