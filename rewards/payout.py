# SPDX-License-Identifier: Apache-2.0
"""From scores to money: integers, rounded down, never more than there is."""

from __future__ import annotations

from collections.abc import Sequence

from dao.errors import RecordError

WAD = 10**18


def payouts_down(
    scores_pico: Sequence[int], *, thresholds_pico: Sequence[int], budget_wei: int
) -> tuple[int, ...]:
    """budget * s_i / sum of s_j, rounded down, over those with a score above their threshold.

    Others get 0. The sum never passes the budget: each is at most budget * s_i / sum of s_j in
    exact fractions, and those add up to the budget. What rounding leaves (less than one wei a
    contributor) is not paid. RecordError where a threshold or the budget is negative.
    """
    if min(thresholds_pico, default=0) < 0 or budget_wei < 0:
        raise RecordError(
            f"thresholds {list(thresholds_pico)} pico, budget {budget_wei} wei: expected none below"
            " 0"
        )
    counted = [
        score if score > threshold else 0
        for score, threshold in zip(scores_pico, thresholds_pico, strict=True)
    ]
    total = sum(counted)
    if total == 0:
        return (0,) * len(counted)
    return tuple(budget_wei * score // total for score in counted)


def shares_wad_down(
    scores_pico: Sequence[int], *, thresholds_pico: Sequence[int]
) -> tuple[int, ...]:
    """Each contributor's part of later revenue in 1e-18, rounded down; the sum is at most 1e18."""
    return payouts_down(scores_pico, thresholds_pico=thresholds_pico, budget_wei=WAD)
