# SPDX-License-Identifier: Apache-2.0
"""Shapley values of coalitions of updates.

Zero-fill: a coalition's model is the base plus the sum of its members' displacements; who is not
in it counts as zero, and the public N stays the divisor. Then the value of a linear model is a
quadratic form and the Shapley value has a closed form (`quadratic_shapley`, or `gram_shapley` of
one Gram matrix). Other models are enumerated (`exact_shapley` of the values of all coalitions) or
sampled (`sampled_shapley`). `shapley_by_definition` is the slow reference that all are
tested against.

Source: Shapley, "A Value for n-Person Games", 1953; sampling by permutations with their reverse:
Mitchell et al., "Sampling Permutations for Shapley Value Estimation", 2022.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Coalitions = NDArray[np.bool_]
Value = Callable[[Coalitions], Floats]
"""bool[B, K] coalitions to float64[B] values."""

EXACT_PLAYERS = 14
"""Up to this many players all 2^K coalitions are enumerated."""


def quadratic_shapley(residual: Floats, effects: Floats) -> Floats:
    """Shapley values of v(S) = -(1/n) |residual - sum of effects in S|^2, float64[K].

    residual [n] is what the empty coalition leaves unexplained, effects [K, n] what each player
    adds to the predictions. s_i = (1/n) (2 <r, q_i> - <q_i, sum_j q_j>).
    """
    together = np.sum(effects, axis=0)
    values: Floats = np.sum(effects * (2.0 * residual - together), axis=1) / len(residual)
    return values


def gram_shapley(first: Floats, gram: Floats) -> Floats:
    """As `quadratic_shapley`, of the products alone: first [K] are <r, q_i> / n, gram [K, K] are
    <q_i, q_j> / n."""
    return np.asarray(2.0 * first - np.sum(gram, axis=1))


def shapley_by_definition(value: Callable[[frozenset[int]], float], players: int) -> list[float]:
    """The textbook sum over coalitions; `value` of a set of player numbers. Slow."""
    result = []
    for player in range(players):
        rest = [each for each in range(players) if each != player]
        total = 0.0
        for size in range(players):
            weight = 1.0 / (players * math.comb(players - 1, size))
            for members in combinations(rest, size):
                coalition = frozenset(members)
                total += weight * (value(coalition | {player}) - value(coalition))
        result.append(total)
    return result


def exact_shapley(values: Floats) -> Floats:
    """float64[K] of the values of all coalitions, float64[2^K], in the order of `coalitions_of`."""
    players = len(values).bit_length() - 1
    codes, sizes = np.arange(len(values)), coalitions_of(players).sum(axis=1)
    weights = np.array([1.0 / (players * math.comb(players - 1, k)) for k in range(players)])
    result = np.empty(players)
    for player in range(players):
        without = codes[codes >> player & 1 == 0]
        gains = values[without | (1 << player)] - values[without]
        result[player] = np.sum(weights[sizes[without]] * gains)
    return result


def coalitions_of(players: int) -> Coalitions:
    """bool[2^K, K]: bit i of a row's number says whether player i is in."""
    masks: Coalitions = (np.arange(1 << players)[:, None] >> np.arange(players)) & 1 == 1
    return masks


def sampled_shapley(
    value: Value, players: int, *, seed: bytes, permutations: int
) -> tuple[Floats, Floats]:
    """Estimates and their standard errors, float64[K] each.

    Each drawn permutation is walked forth and back (exact for a quadratic value); the standard
    error is that of the mean over such pairs. At least 2 permutations are drawn.
    """
    pairs = []
    for order in draw_permutations(seed, players, max(2, permutations)):
        forth = _marginals(value, order)
        back = _marginals(value, order[::-1])
        pairs.append(0.5 * (forth + back))
    samples = np.array(pairs)  # [permutations, K]
    errors = np.std(samples, axis=0, ddof=1) / math.sqrt(len(samples))
    return np.mean(samples, axis=0), errors


def draw_permutations(seed: bytes, players: int, count: int) -> Iterator[NDArray[np.int64]]:
    """`count` permutations of 0..players-1 by Fisher-Yates on words of SHAKE-256(seed).

    For i from players-1 down to 1: swap places i and (word mod (i+1)); words are little-endian
    64 bits, used in order through all permutations.
    """
    draws = max(0, players - 1)
    words = np.frombuffer(hashlib.shake_256(seed).digest(8 * draws * count), dtype="<u8")
    for index in range(count):
        order = np.arange(players)
        for step, place in enumerate(range(players - 1, 0, -1)):
            other = int(words[index * draws + step]) % (place + 1)
            order[place], order[other] = order[other], order[place]
        yield order


def _marginals(value: Value, order: NDArray[np.int64]) -> Floats:
    players = len(order)
    # Row k: the first k of the order are in.
    masks = np.zeros((players + 1, players), dtype=np.bool_)
    for place, player in enumerate(order):
        masks[place + 1 :, player] = True
    gains = np.empty(players)
    gains[order] = np.diff(value(masks))
    return gains
