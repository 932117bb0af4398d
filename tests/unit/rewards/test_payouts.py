# SPDX-License-Identifier: Apache-2.0
"""Payouts: integers that round down and never pass the budget."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dao.errors import RecordError
from rewards.payout import WAD, payouts_down, shares_wad_down

SCORED = st.lists(st.tuples(st.integers(-(2**53), 2**53), st.integers(0, 2**53)), max_size=60)
"""Scores, each with its threshold."""
BUDGETS = st.integers(0, 2**256 - 1)


@pytest.mark.promise(8)
@given(SCORED, BUDGETS)
def test_promise_8_the_sum_of_payouts_never_passes_the_budget(
    scored: list[tuple[int, int]], budget: int
) -> None:
    scores, thresholds = [each[0] for each in scored], [each[1] for each in scored]
    payouts = payouts_down(scores, thresholds_pico=thresholds, budget_wei=budget)
    paid = sum(score > threshold for score, threshold in scored)
    assert sum(payouts) <= budget
    assert all(payout >= 0 for payout in payouts)
    # Only rounding is lost: less than one wei for each who is paid.
    assert not paid or budget - sum(payouts) < paid
    assert sum(shares_wad_down(scores, thresholds_pico=thresholds)) <= WAD


@given(SCORED, BUDGETS)
def test_each_payout_is_its_exact_part_rounded_down(
    scored: list[tuple[int, int]], budget: int
) -> None:
    scores, thresholds = [each[0] for each in scored], [each[1] for each in scored]
    payouts = payouts_down(scores, thresholds_pico=thresholds, budget_wei=budget)
    total = sum(score for score, threshold in scored if score > threshold)
    for (score, threshold), payout in zip(scored, payouts, strict=True):
        exact = Fraction(budget * score, total) if score > threshold else Fraction(0)
        assert 0 <= exact - payout < 1


def test_who_only_reaches_its_threshold_is_paid_nothing() -> None:
    assert payouts_down([5, 6, -9], thresholds_pico=[5, 5, 0], budget_wei=100) == (0, 100, 0)
    assert payouts_down([5, 5], thresholds_pico=[5, 4], budget_wei=100) == (0, 100)
    assert payouts_down([5, 5], thresholds_pico=[5, 9], budget_wei=100) == (0, 0)
    assert payouts_down([], thresholds_pico=[], budget_wei=100) == ()


def test_a_negative_threshold_or_budget_is_refused() -> None:
    with pytest.raises(RecordError, match="expected none below 0"):
        payouts_down([1, 1], thresholds_pico=[0, -1], budget_wei=1)
    with pytest.raises(RecordError, match="expected none below 0"):
        payouts_down([1], thresholds_pico=[0], budget_wei=-1)
