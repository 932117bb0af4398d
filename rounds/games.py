# SPDX-License-Identifier: Apache-2.0
"""What contributors are worth to one another, while those who are dropped leave the game.

A score is the mean of what a contributor adds to nobody and to everybody who is left: the Shapley
value of a quadratic value, and 2 K + 2 models of any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from rewards.shapley import gram_shapley
from rounds.state import Floats


class Game(Protocol):
    """Contributors of whom some are dropped."""

    def scores(self) -> Floats:
        """float64[K] of all places; those of dropped ones mean nothing."""

    def drop(self, place: int) -> None:
        """Score the others as if this one had sent nothing."""


class QuadraticGame:
    """The value -(1/n) |residual - sum of effects|^2: residual [n], effects [K, n]."""

    def __init__(self, residual: Floats, effects: Floats) -> None:
        count = len(residual)
        self._gram = effects @ effects.T / count
        self._scores = gram_shapley(effects @ residual / count, self._gram)

    def scores(self) -> Floats:
        """As `Game.scores`."""
        return self._scores

    def drop(self, place: int) -> None:
        """As `Game.drop`."""
        self._scores = self._scores + self._gram[place]


class CurvedGame:
    """Any value of models: `values_of` float64[B, d] to float64[B]; `base` float64[d] is nobody's
    model, `members` float64[K, d] what each adds."""

    def __init__(
        self, values_of: Callable[[Floats], Floats], *, base: Floats, members: Floats
    ) -> None:
        self._values_of, self._base, self._members = values_of, base, members
        self._everybody = base + np.sum(members, axis=0)

    def scores(self) -> Floats:
        """As `Game.scores`."""
        ends = np.stack((self._base, self._everybody))
        alone, without = self._base + self._members, self._everybody - self._members
        values = self._values_of(np.vstack((ends, alone, without)))
        first, last = np.split(values[2:], 2)
        return np.asarray(0.5 * ((first - values[0]) + (values[1] - last)))

    def drop(self, place: int) -> None:
        """As `Game.drop`."""
        self._everybody = self._everybody - self._members[place]
