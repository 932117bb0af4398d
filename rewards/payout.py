# SPDX-License-Identifier: Apache-2.0
"""From scores to money: integers, rounded down, never more than there is."""

from __future__ import annotations

from collections.abc import Sequence

from dao.errors import RecordError

WAD = 10**18


def payouts_down(
    scores_pico: Sequence[int], *, threshold_pico: int, budget_wei: int
) -> tuple[int, ...]:
    """budget * s_i / sum of s_j, rounded down, over those with a score above the threshold.

    Others get 0. The sum never passes the budget; what rounding leaves (less than one wei a
    contributor) is not paid. RecordError where threshold or budget is negative.
    """
    if threshold_pico < 0 or budget_wei < 0:
        raise RecordError(
            f"threshold {threshold_pico} pico, budget {budget_wei} wei: expected both at least 0"
        )
    counted = [score if score > threshold_pico else 0 for score in scores_pico]
    total = sum(counted)
    if total == 0:
        return (0,) * len(counted)
    return tuple(budget_wei * score // total for score in counted)


def shares_wad_down(scores_pico: Sequence[int], *, threshold_pico: int) -> tuple[int, ...]:
    """Each contributor's part of later revenue in 1e-18, rounded down; the sum is at most 1e18."""
    return payouts_down(scores_pico, threshold_pico=threshold_pico, budget_wei=WAD)
