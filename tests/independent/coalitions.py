# SPDX-License-Identifier: Apache-2.0
"""Scores of an mlp task by all coalitions or by drawn permutations, docs/spec/rewards.md §2 and §3,
and the gradients of its public member, docs/spec/privacy.md §2."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from tests.independent.families import JudgingRows, layers, outputs
from tests.independent.rows import Array

MOST_EXACT, PAIRS = 14, 128


def clipped_sum(task: Any, theta: Array, rows: JudgingRows, clip: float) -> Array:
    """The sum over rows of clipped gradients of half the squared error; every row is a unit."""
    every = layers(task, theta, rows.inputs.shape[1])
    reads = [rows.inputs]
    for weight, bias in every[:-1]:
        reads.append(np.tanh(reads[-1] @ weight.T + bias))
    residual = outputs(task, theta, rows.inputs) - rows.residuals
    huber = task["model"]["huber_micro"] / 1e6
    if huber:
        residual = np.clip(residual, -huber, huber)
    slopes = [np.full((len(residual), 1), 0.25)]
    for at in range(len(every) - 1, 0, -1):
        slopes.insert(0, (slopes[0] @ every[at][0]) * (1 - reads[at] ** 2))
    squares = sum(
        (slope**2).sum(axis=1) * ((read**2).sum(axis=1) + 1)
        for slope, read in zip(slopes, reads, strict=True)
    )
    norms = np.abs(residual) * np.sqrt(squares)
    pulled = residual * np.minimum(1.0, clip / np.where(norms > 0, norms, 1.0))
    parts = []
    for slope, read in zip(slopes, reads, strict=True):
        weighted = slope * pulled[:, None]
        parts += [(weighted.T @ read).ravel(), weighted.sum(axis=0)]
    found: Array = np.concatenate(parts)
    return found


def value(task: Any, rows: JudgingRows, theta: Array) -> float:
    """v of the coalition whose model is theta."""
    return -float(((rows.residuals - outputs(task, theta, rows.inputs)) ** 2).mean())


def shapley(task: Any, rows: JudgingRows, base: Array, phis: Array) -> list[float]:
    """Shapley values of K <= 14 members by all 2^K coalitions."""
    count = len(phis)
    assert count <= MOST_EXACT
    members = range(count)
    worth = {
        each: value(task, rows, base + phis[list(each)].sum(axis=0))
        for size in range(count + 1)
        for each in combinations(members, size)
    }
    found = []
    for own in members:
        total = 0.0
        for without, alone in worth.items():
            if own not in without:
                orders = math.factorial(len(without)) * math.factorial(count - 1 - len(without))
                share = orders / math.factorial(count)
                total += share * (worth[tuple(sorted((*without, own)))] - alone)
        found.append(total)
    return found


def sampled(
    worth: Callable[[list[int]], float], count: int, seed: bytes, pairs: int = PAIRS
) -> tuple[list[float], list[float]]:
    """Estimates and standard errors of count > 14 members; `worth` of some of them, rising."""
    known: dict[frozenset[int], float] = {}

    def of(members: list[int]) -> float:
        found = frozenset(members)
        if found not in known:
            known[found] = worth(sorted(found))
        return known[found]

    words = hashlib.shake_256(seed).digest(8 * pairs * (count - 1))
    used, walked = 0, []
    for _ in range(pairs):
        order = list(range(count))
        for i in range(count - 1, 0, -1):
            j = int.from_bytes(words[used : used + 8], "little") % (i + 1)
            order[i], order[j] = order[j], order[i]
            used += 8
        gains = [0.0] * count
        for way in (order, order[::-1]):
            for at, member in enumerate(way):
                gains[member] += (of(way[: at + 1]) - of(way[:at])) / 2
        walked.append(gains)
    every = np.array(walked)
    errors = every.std(axis=0, ddof=1) / math.sqrt(pairs)
    return every.mean(axis=0).tolist(), errors.tolist()


def noise_moments(
    task: Any, rows: JudgingRows, base: Array, full: Array, players: list[Array]
) -> tuple[float, float]:
    """Mean and deviation of what noise players add, on the mean, to nobody and to all."""
    nobody, everybody = value(task, rows, base), value(task, rows, full)
    added = np.array(
        [
            (value(task, rows, base + phi) - nobody + value(task, rows, full + phi) - everybody) / 2
            for phi in players
        ]
    )
    return float(added.mean()), float(added.std(ddof=1))
