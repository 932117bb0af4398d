# SPDX-License-Identifier: Apache-2.0
"""Whose updates harmed a stretch is left out before the others are scored.

Two accounts that cancel each other out (+v and -v) leave the model as it is, and yet one of them
would score what it is worth to stop the other: without bound. So the scores of a stretch are those
of a game among contributors of which none harms the others: while somebody's score is below 0, the
one with the lowest is dropped, with that score, and the others are scored as if it had sent
nothing. Every score that stays is at least 0, and together they are what those who stay are worth.

A score that harm is judged by is the mean of what a contributor adds to nobody and to everybody who
is left: the Shapley value of a quadratic value, and 2 K + 2 models of any other.

Scores are float sums, so who was dropped is recorded, in order, and a replay follows it where its
own scores agree within the tolerance of `rounds.judge`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dao.errors import ReplayMismatch
from rounds.judge import SCORE_STEP_PICO, to_pico, tolerance_pico
from rounds.state import Floats


class Game(Protocol):
    """Contributors of whom some are dropped."""

    def scores(self) -> Floats:
        """float64[K] of all places; those of dropped ones mean nothing."""

    def drop(self, place: int) -> None:
        """Score the others as if this one had sent nothing."""


@dataclass(frozen=True)
class Harmless:
    """Who stays, by rising place; who was dropped, in order; and float64[K], what each of those
    scored then (0 for who stays)."""

    left: tuple[int, ...]
    dropped: tuple[int, ...]
    scores: Floats


class QuadraticGame:
    """The value -(1/n) |residual - sum of effects|^2: residual [n], effects [K, n]."""

    def __init__(self, residual: Floats, effects: Floats) -> None:
        count = len(residual)
        self._gram = effects @ effects.T / count
        self._scores: Floats = 2.0 * (effects @ residual) / count - np.sum(self._gram, axis=1)

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


def drop_harmful(
    game: Game, contributors: int, *, recorded: Sequence[int] | None = None, place: str = ""
) -> Harmless:
    """Who stays. With `recorded` those are dropped, where the game's own scores allow it.

    Raises:
        ReplayMismatch: naming `place`; a recorded drop was none of the lowest, or not below 0; or
            one who harms was kept.
    """
    left, scores = list(range(contributors)), np.zeros(contributors)
    dropped: list[int] = []
    while left:
        values = game.scores()
        lowest = min(left, key=lambda each: values[each])
        chosen = lowest
        if recorded is not None:
            chosen = recorded[len(dropped)] if len(dropped) < len(recorded) else -1
            _check(chosen, left, values, lowest, place=f"{place}dropped[{len(dropped)}]")
        if chosen == -1 or (recorded is None and values[lowest] >= 0.0):
            break
        left.remove(chosen)
        dropped.append(chosen)
        scores[chosen] = values[chosen]
        game.drop(chosen)
    if recorded is not None and len(dropped) != len(recorded):
        raise ReplayMismatch(
            place=f"{place}dropped", recorded=str(list(recorded)), recomputed=str(dropped)
        )
    return Harmless(left=tuple(left), dropped=tuple(dropped), scores=scores)


def _check(chosen: int, left: list[int], values: Floats, lowest: int, *, place: str) -> None:
    """That a replay may drop `chosen`, or with -1 nobody."""
    least = to_pico(float(values[lowest]))
    if chosen == -1:
        wrong = least < -SCORE_STEP_PICO
    elif chosen not in left:
        wrong = True
    else:
        score = to_pico(float(values[chosen]))
        wrong = score > SCORE_STEP_PICO or score - least > 2 * tolerance_pico(least)
    if wrong:
        raise ReplayMismatch(
            place=place,
            recorded="nobody" if chosen == -1 else str(chosen),
            recomputed=f"{lowest}, score {least} pico",
        )
