# SPDX-License-Identifier: Apache-2.0
"""From recorded stretches to payouts, shares, roots and epsilon: docs/spec/rewards.md §4 and §5,
docs/spec/privacy.md §5. Integers alone but for epsilon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from eth_utils import keccak

MOST = 2**53 - 1
NO_ROOT = "0x" + "00" * 32


def held(value: int) -> int:
    """Within +-(2^53 - 1)."""
    return max(-MOST, min(MOST, value))


def totals(stretches: Sequence[Any], judged_out: Sequence[bool]) -> list[int]:
    """Sums of the stretches' scores; no gain for who was judged out."""
    found = []
    for place, out in enumerate(judged_out):
        total = held(sum(each["scores_pico"][place] for each in stretches))
        found.append(min(0, total) if out else total)
    return found


def errors(stretches: Sequence[Any], count: int) -> list[int]:
    """The root of the sum of squares over the stretches, rounded up."""
    found = []
    for place in range(count):
        square = sum(each["standard_errors_pico"][place] ** 2 for each in stretches)
        root = math.isqrt(square)
        found.append(min(MOST, root if root**2 == square else root + 1))
    return found


def thresholds(stretches: Sequence[Any], count: int) -> list[int]:
    """What each must pass to be paid: three deviations above the mean of noise, at the loudness of
    0 to 3 in each stretch for which that is most."""
    return [
        _threshold(
            [
                (each["noise_means_pico"][place], each["noise_deviations_pico"][place])
                for each in stretches
            ]
        )
        for place in range(count)
    ]


def _threshold(moments: Sequence[tuple[int, int]]) -> int:
    harms = [(max(0, -mean), deviation**2) for mean, deviation in moments if deviation > 0]
    v = c = 0
    for t, q in sorted(harms, key=lambda each: Fraction(*each)):
        w = 9 * q
        if t > 0:
            w = max(0, min(w, 9 * q**2 // (4 * t**2) - v))
        v += w
        c += t * w // q
    return held(max(1000 * len(moments), 3 * math.isqrt(v) - c))


def parts_of(whole: int, scores: Sequence[int], least: Sequence[int]) -> list[int]:
    """The whole in proportion to the scores above their thresholds, rounded down."""
    both = zip(scores, least, strict=True)
    paid = [score if score > threshold else 0 for score, threshold in both]
    total = sum(paid)
    return [whole * each // total if total else 0 for each in paid]


def merkle_root(task_id: int, amounts: dict[str, int], *, places: bool) -> str:
    """Root over (task, account, amount), with places over (task, account, amount, place in the
    roster), of those with an amount, as StandardMerkleTree makes it. Amounts in roster order."""
    leaves = sorted(
        keccak(
            keccak(
                task_id.to_bytes(32, "big")
                + bytes.fromhex(account[2:]).rjust(32, b"\0")
                + amount.to_bytes(32, "big")
                + (place.to_bytes(32, "big") if places else b"")
            )
        )
        for place, (account, amount) in enumerate(amounts.items())
        if amount > 0
    )
    if not leaves:
        return NO_ROOT
    tree = [b""] * (len(leaves) - 1) + leaves[::-1]
    for at in range(len(leaves) - 2, -1, -1):
        tree[at] = keccak(b"".join(sorted((tree[2 * at + 1], tree[2 * at + 2]))))
    return "0x" + tree[0].hex()


def _delta(epsilon: float, mu: float) -> float:
    """delta of mu-Gaussian-DP at epsilon (Dong, Roth, Su 2019)."""

    def phi(x: float) -> float:
        return math.erfc(-x / math.sqrt(2)) / 2

    return phi(-epsilon / mu + mu / 2) - math.exp(epsilon) * phi(-epsilon / mu - mu / 2)


def epsilon_micro(policy: Any, training: int, survey: bool) -> int:
    """Privacy cost of so many answered training rounds and, or not, the survey; full batches."""
    square = training * Fraction(10**6, policy["noise_multiplier_micro"]) ** 2
    if survey:
        square += Fraction(10**6, policy["survey_noise_micro"]) ** 2
    mu, delta = math.sqrt(float(square)), policy["delta_e12"] / 1e12
    if mu == 0 or _delta(0.0, mu) <= delta:
        return 0
    low, high = 0.0, 1.0
    while _delta(high, mu) > delta:
        high *= 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if _delta(middle, mu) <= delta else (middle, high)
    return math.ceil(Fraction(high) * 10**6)
