# SPDX-License-Identifier: Apache-2.0
"""Whose updates harmed a stretch is left out before the others are scored.

Two accounts that cancel each other out (+v and -v) leave the model as it is, and yet one of them
would score what it is worth to stop the other: without bound. So the scores of a stretch are those
of a game among contributors of which none harms the others: while somebody's score is below 0, the
one with the lowest is dropped, with that score, and the others are scored as if it had sent
nothing. Every score that stays is at least 0, and together they are what those who stay are worth.

Scores are float sums, so who was dropped is recorded, in order, and a replay follows it where its
own scores agree within the tolerance of `rounds.judge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dao.errors import ReplayMismatch
from rounds.games import Game
from rounds.judge import SCORE_STEP_PICO, to_pico, tolerance_pico
from rounds.state import Floats


@dataclass(frozen=True)
class Harmless:
    """Who stays, by rising place; who was dropped, in order; and float64[K], what each of those
    scored then (0 for who stays)."""

    left: tuple[int, ...]
    dropped: tuple[int, ...]
    scores: Floats


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
        lowest = left[int(np.argmin(values[left]))]
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
