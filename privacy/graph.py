# SPDX-License-Identifier: Apache-2.0
"""What a closed-form model computes, as a list of steps on values of shape [rows, width].

Value 0 is the input; step i makes value i + 1 from earlier ones, row by row. Every parameter of a
Linear step is a stretch of the flat parameter vector and belongs to that step alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from privacy.activation import Activation


@dataclass(frozen=True)
class Linear:
    """value @ weight.T + bias.

    Attributes:
        source: the value it reads.
        inputs, outputs: widths.
        weight: where weight [outputs, inputs] begins in the parameter vector.
        bias: where bias [outputs] begins, or None.
    """

    source: int
    inputs: int
    outputs: int
    weight: int
    bias: int | None

    @property
    def sources(self) -> tuple[int, ...]:
        """Values it reads."""
        return (self.source,)


@dataclass(frozen=True)
class Elementwise:
    """function(value)."""

    source: int
    function: Activation

    @property
    def sources(self) -> tuple[int, ...]:
        """Values it reads."""
        return (self.source,)


@dataclass(frozen=True)
class Combine:
    """constant + the sum of coefficients times values of one width: skips, scales and shifts."""

    sources: tuple[int, ...]
    coefficients: tuple[float, ...]
    constant: float = 0.0


Step = Linear | Elementwise | Combine


@dataclass(frozen=True)
class Graph:
    """Steps in order, the last of which gives the output, of width 1.

    Attributes:
        columns: width of the input.
        parameters: d, length of the parameter vector.
        steps: in the order in which they run.
        widths: of every value, the input first.
    """

    columns: int
    parameters: int
    steps: tuple[Step, ...]
    widths: tuple[int, ...]

    @property
    def layers(self) -> list[tuple[int, Linear]]:
        """Linear steps and the value that each makes."""
        return [
            (index, step)
            for index, step in enumerate(self.steps, start=1)
            if isinstance(step, Linear)
        ]
