# SPDX-License-Identifier: Apache-2.0
"""The mlp family: a torch module of Linear layers and Tanh on standardised attributes and
Fourier features of the location (Rahimi and Recht 2007). Where there are public rows, the public
process' mean is both its offset and one more input."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch

from dao.errors import RecordError
from dao.records import LocationFeature
from valuation.encode import Encoded, attribute_names
from valuation.family import JudgeRows, Prepared
from valuation.process import LAYOUT as PROCESS_LAYOUT
from valuation.process import PublicProcess
from valuation.schema import Floats, Schema, location_of
from valuation.tensors import Layout, pack, unpack

FREQUENCIES_PER_BANDWIDTH = 32
BARE_FREQUENCIES_PER_BANDWIDTH = 16
"""Without public rows the network has more to learn under the same noise: fewer inputs carry less
of it (tuned on held-out seeds)."""
OUTPUT_SCALE = 0.25
"""The network's last layer is multiplied by this: its weights then grow as large as the others'
gradients need to be heard under one common clip norm (tuned on held-out seeds)."""

LAYOUT: Layout = {"frequencies": ("float64", 2), "phases": ("float64", 1)}
PUBLIC_LAYOUT: Layout = {
    **LAYOUT,
    **PROCESS_LAYOUT,
    "judge_inputs": ("float64", 2),
    "judge_offset": ("float64", 1),
    "judge_residual": ("float64", 1),
}


def frequency_count(location: LocationFeature | None, *, public: bool) -> int:
    """How many Fourier features there are: 32 for each bandwidth of the task, 16 without public
    rows, none without a location."""
    if location is None:
        return 0
    each = FREQUENCIES_PER_BANDWIDTH if public else BARE_FREQUENCIES_PER_BANDWIDTH
    return each * len(location.bandwidths_metres)


def draw_frequencies(
    location: LocationFeature | None, *, public: bool, seed: int
) -> tuple[Floats, Floats]:
    """Frequencies float64[2, f] (per scaled unit of location) and phases float64[f], equally many
    for each bandwidth of the task; see `frequency_count`."""
    if location is None:
        return np.zeros((2, 0)), np.zeros(0)
    random = np.random.default_rng(seed)
    each = frequency_count(location, public=public) // len(location.bandwidths_metres)
    blocks, phases = [], []
    for bandwidth in location.bandwidths_metres:
        length = bandwidth / location.scale_metres
        blocks.append(random.normal(size=(2, each)) / length)
        phases.append(random.uniform(0.0, 2.0 * math.pi, each))
    return np.concatenate(blocks, axis=1), np.concatenate(phases)


class Scale(torch.nn.Module):
    """Multiplies by a public constant; has no parameters."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """factor * x."""
        return self.factor * x


@dataclass(frozen=True)
class MlpFamily:
    """The mlp family.

    Attributes:
        hidden: width of each hidden layer.
        attributes: a, how many attributes come in.
        frequencies, phases: float64[2, f], float64[f].
        process: the public process, or None.
        judge: public rows that the process has not seen, or None.
    """

    hidden: tuple[int, ...]
    attributes: int
    frequencies: Floats
    phases: Floats
    process: PublicProcess | None
    judge: JudgeRows | None

    @property
    def widths(self) -> tuple[int, ...]:
        """Inputs, hidden layers, output."""
        offset = 0 if self.process is None else 1
        return (self.attributes + len(self.phases) + offset, *self.hidden, 1)

    @property
    def parameters(self) -> int:
        """Length d of theta: weights and biases of every layer."""
        return sum((a + 1) * b for a, b in itertools.pairwise(self.widths))

    def inputs(self, encoded: Encoded, offset: Floats) -> Floats:
        """float64[n, p]: attributes, sqrt(2) cos(location @ frequencies + phases), and with a
        public process its offset."""
        parts = [encoded.attributes]
        if len(self.phases):
            angles = encoded.locations @ self.frequencies + self.phases
            parts.append(np.cos(angles) * math.sqrt(2.0))
        if self.process is not None:
            parts.append(offset[:, None])
        return np.concatenate(parts, axis=1)

    def prepare(self, encoded: Encoded) -> Prepared:
        """Inputs float64[n, p]; see `inputs`."""
        if self.process is None:
            offset = np.zeros(len(encoded.attributes))
        else:
            offset = self.process.mean(encoded)
        residual = None if encoded.target is None else encoded.target - offset
        return Prepared(self.inputs(encoded, offset), offset, residual, encoded.units)

    def module(self, theta: Floats) -> torch.nn.Module:
        """nn.Sequential of Linear layers with Tanh between them and a Scale at the end, float64."""
        layers: list[torch.nn.Module] = []
        for a, b in itertools.pairwise(self.widths):
            layers += [torch.nn.Linear(a, b, dtype=torch.float64), torch.nn.Tanh()]
        network = torch.nn.Sequential(*layers[:-1], Scale(OUTPUT_SCALE))
        vector = torch.from_numpy(np.array(theta, dtype=np.float64))
        with torch.no_grad():
            torch.nn.utils.vector_to_parameters(vector, network.parameters())
        return network

    def predict(self, prepared: Prepared, theta: Floats) -> Floats:
        """offset + module(inputs), in NumPy: several times faster than torch for few rows."""
        h = prepared.inputs
        for last, (weight, bias) in self._layers(theta):
            h = h @ weight.T + bias
            if not last:
                h = np.tanh(h)
        prediction: Floats = prepared.offset + OUTPUT_SCALE * h[:, 0]
        return prediction

    def judge_rows(self) -> JudgeRows | None:
        """Public rows that the process has not seen; None without public rows."""
        return self.judge

    def displacement_effect(self, inputs: Floats, theta: Floats, displacement: Floats) -> Floats:
        """Directional derivative of the predictions: values and slopes go forward together."""
        h, slope = inputs, np.zeros_like(inputs)
        moves = self._layers(displacement)
        for (last, (weight, bias)), (_, (turn, shift)) in zip(
            self._layers(theta), moves, strict=True
        ):
            slope = slope @ weight.T + h @ turn.T + shift
            h = h @ weight.T + bias
            if not last:
                h = np.tanh(h)
                slope = slope * (1.0 - h * h)
        effect: Floats = OUTPUT_SCALE * slope[:, 0]
        return effect

    def _layers(self, theta: Floats) -> list[tuple[bool, tuple[Floats, Floats]]]:
        """Weight [b, a] and bias [b] of every layer, and whether it is the last."""
        layers = []
        start = 0
        pairs = list(itertools.pairwise(self.widths))
        for i, (a, b) in enumerate(pairs):
            weight = theta[start : start + a * b].reshape(b, a)
            bias = theta[start + a * b : start + (a + 1) * b]
            layers.append((i == len(pairs) - 1, (weight, bias)))
            start += (a + 1) * b
        return layers

    def optimiser_vectors(self) -> dict[str, Floats]:
        """None: adam needs no vectors."""
        return {}

    def initial_theta(self, *, seed: int) -> Floats:
        """Weights N(0, 1 / fan-in), biases 0; the last layer's weights a tenth of that, so that
        training starts near the public offset."""
        random = np.random.default_rng(seed)
        pieces = []
        pairs = list(itertools.pairwise(self.widths))
        for i, (a, b) in enumerate(pairs):
            scale = (0.1 if i == len(pairs) - 1 else 1.0) / math.sqrt(a)
            pieces += [random.normal(size=a * b) * scale, np.zeros(b)]
        return np.concatenate(pieces)

    def to_setup(self) -> bytes:
        """The set-up blob."""
        arrays = {"frequencies": self.frequencies, "phases": self.phases}
        if self.process is None or self.judge is None:
            return pack(arrays)
        judge = {
            "judge_inputs": self.judge.inputs,
            "judge_offset": self.judge.offset,
            "judge_residual": self.judge.residual,
        }
        return pack({**arrays, **self.process.to_arrays(), **judge})

    @classmethod
    def load(
        cls, schema: Schema, setup: bytes, *, hidden: tuple[int, ...], public: bool
    ) -> MlpFamily:
        """Read a set-up blob; `public` says whether the task has public rows.

        Raises:
            RecordError: it is not one, or does not fit the schema.
        """
        arrays = unpack(setup, PUBLIC_LAYOUT if public else LAYOUT)
        attributes = len(attribute_names(schema))
        location = location_of(schema.features)
        count = frequency_count(location, public=public)
        if arrays["frequencies"].shape != (2, count) or arrays["phases"].shape != (count,):
            raise RecordError(f"set-up: expected {count} frequencies and phases")
        process, judge = None, None
        if public:
            process = PublicProcess.from_arrays(
                arrays, attributes=attributes, located=location is not None
            )
            judge = JudgeRows(
                inputs=arrays["judge_inputs"].astype(np.float64),
                offset=arrays["judge_offset"].astype(np.float64),
                residual=arrays["judge_residual"].astype(np.float64),
            )
            if judge.inputs.shape != (len(judge.residual), attributes + count + 1):
                raise RecordError(f"set-up: judge_inputs has shape {judge.inputs.shape}")
            if judge.offset.shape != judge.residual.shape:
                raise RecordError(f"set-up: judge_offset has shape {judge.offset.shape}")
        return cls(
            hidden=tuple(hidden),
            attributes=attributes,
            frequencies=arrays["frequencies"].astype(np.float64),
            phases=arrays["phases"].astype(np.float64),
            process=process,
            judge=judge,
        )
