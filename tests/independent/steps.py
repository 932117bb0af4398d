# SPDX-License-Identifier: Apache-2.0
"""The step by the rule `sum` (newton, adam) and displacements, docs/spec/rounds.md §3 and §4.

Elementwise float64 in the order written there, so results agree bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tests.independent.rows import Array
from tests.independent.terms import Integers, Terms


def power(base: float, exponent: int) -> float:
    """By repeated multiplication from 1."""
    found = 1.0
    for _ in range(exponent):
        found = found * base
    return found


def to_float(values: Array, step: float) -> Array:
    """Integers of a grid as floats."""
    return values.astype(np.float64) * step


def exact_sum(updates: list[Integers], length: int, bits: int) -> Array:
    """The exact integer sum, each coordinate rounded once, on the scale of the updates."""
    sums = [sum(column) for column in zip(*updates, strict=True)] if updates else [0] * length
    return np.array([float(each) for each in sums]) * 2.0**-bits


@dataclass(frozen=True)
class Walked:
    """A displacement phi and, with adam, its momentum (else zeros)."""

    phi: Array
    momentum: Array

    @staticmethod
    def zero(length: int) -> Walked:
        """Where displacements start."""
        return Walked(np.zeros(length), np.zeros(length))


class Rule(Protocol):
    """How a round's updates move the model, and one contributor's updates its displacement."""

    def step(self, number: int, base: Array, updates: dict[int, Integers]) -> Array:
        """The next state (S x d integers), from the recorded one and updates by roster place."""

    def advance(
        self, number: int, walked: Walked, own: Array, after: Array, place: int | None
    ) -> Walked:
        """The displacement after a round in which `own` (floats) was sent in the name of roster
        place `place` (None: the public member); `after` is the recorded state after the round."""


@dataclass(frozen=True)
class Newton:
    """Optimiser newton, rule `sum`."""

    terms: Terms
    setup: dict[str, Array]

    def step(self, number: int, base: Array, updates: dict[int, Integers]) -> Array:
        terms, kind = self.terms, self.terms.kind(number)
        gain, ridge = self.setup["gain"], self.setup["ridge"]
        theta = to_float(base[0], terms.step)
        G = exact_sum(list(updates.values()), kind.length, kind.bits)
        x = -(G / (terms.public_n * gain)) - ridge * theta
        moved = theta + (terms.eta(number) * x) / (1 + ridge)
        return terms.on_grid(moved[None, :], f"round {number}")

    def advance(
        self, number: int, walked: Walked, own: Array, after: Array, place: int | None
    ) -> Walked:
        gain, ridge = self.setup["gain"], self.setup["ridge"]
        x = -(own / (self.terms.public_n * gain)) - ridge * walked.phi
        phi = walked.phi + (self.terms.eta(number) * x) / (1 + ridge)
        return Walked(phi, walked.momentum)

    def linear(self, number: int) -> tuple[Array, Array]:
        """The matrices A and B of this round's phi' = A phi + B W u."""
        gain, ridge, eta = self.setup["gain"], self.setup["ridge"], self.terms.eta(number)
        kept = np.diag(1 - eta * ridge / (1 + ridge))
        return kept, np.diag(-eta / (self.terms.public_n * gain * (1 + ridge)))

    def weight(self, place: int) -> Array:
        """W of a contributor: all count alike."""
        return np.eye(self.setup["gain"].size)


@dataclass(frozen=True)
class Adam:
    """Optimiser adam, rule `sum`."""

    terms: Terms

    def _constants(self, number: int) -> tuple[float, float, float, float, float]:
        optimiser = self.terms.record["optimiser"]
        beta1, beta2 = optimiser["beta1_micro"] / 1e6, optimiser["beta2_micro"] / 1e6
        t = self.terms.training(number)
        stabiliser = optimiser["stabiliser_nano"] / 1e9
        return beta1, beta2, 1 - power(beta1, t), 1 - power(beta2, t), stabiliser

    def step(self, number: int, base: Array, updates: dict[int, Integers]) -> Array:
        terms, kind = self.terms, self.terms.kind(number)
        beta1, beta2, heat1, heat2, stabiliser = self._constants(number)
        theta, m, v = (to_float(each, terms.step) for each in base)
        g = exact_sum(list(updates.values()), kind.length, kind.bits) / terms.public_n
        m = beta1 * m + (1 - beta1) * g
        v_grid = terms.on_grid(beta2 * v + (1 - beta2) * (g * g), f"round {number}")
        v = to_float(v_grid, terms.step)
        theta = theta - (terms.eta(number) * (m / heat1)) / (np.sqrt(v / heat2) + stabiliser)
        moved: Any = np.stack(
            [*(terms.on_grid(each, f"round {number}") for each in (theta, m)), v_grid]
        )
        return moved

    def advance(
        self, number: int, walked: Walked, own: Array, after: Array, place: int | None
    ) -> Walked:
        beta1, _, heat1, heat2, stabiliser = self._constants(number)
        v = to_float(after[2], self.terms.step)
        momentum = beta1 * walked.momentum + (1 - beta1) * (own / self.terms.public_n)
        moved = (self.terms.eta(number) * (momentum / heat1)) / (np.sqrt(v / heat2) + stabiliser)
        return Walked(walked.phi - moved, momentum)


def taken_back(terms: Terms, after: Array, walked: Walked, place: str) -> Array:
    """The state after a contributor's displacement (adam: momentum) is taken back, §4."""
    if terms.adam:
        m = terms.on_grid(to_float(after[1], terms.step) - walked.momentum, place)
        found: Any = np.stack([after[0], m, after[2]])
        return found
    theta = to_float(after[0], terms.step) - walked.phi
    return terms.on_grid(theta[None, :], place)
