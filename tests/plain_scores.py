# SPDX-License-Identifier: Apache-2.0
"""Scores of a stretch as docs/spec/rewards.md says, by valuing every coalition."""

from __future__ import annotations

from collections.abc import Callable

from rewards.shapley import shapley_by_definition


def plain_scores(
    value: Callable[[frozenset[int]], float], players: int
) -> tuple[list[float], list[int]]:
    """Of each place its score, and who was dropped, in order."""
    left, dropped, scores = list(range(players)), [], [0.0] * players
    while left:
        nobody, everybody = value(frozenset()), value(frozenset(left))
        harm = {
            each: 0.5
            * (value(frozenset({each})) - nobody + everybody - value(frozenset(left) - {each}))
            for each in left
        }
        worst = min(left, key=lambda each: harm[each])
        if harm[worst] >= 0.0:
            break
        left.remove(worst)
        dropped.append(worst)
        scores[worst] = harm[worst]

    def among(members: frozenset[int]) -> float:
        return value(frozenset(left[each] for each in members))

    for place, score in zip(left, shapley_by_definition(among, len(left)), strict=True):
        scores[place] = score
    return scores, dropped
