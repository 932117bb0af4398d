# SPDX-License-Identifier: Apache-2.0
"""What a contributor's score would be if it had sent noise alone: mean and standard deviation.

Only noise of one's own loudness tells: a rule that weighs contributors lets one's noise move the
model ten times as far as another's. Who joins in contributor k's name with N(0, (sigma C)^2) in
every training round of a stretch scores the mean of what it adds to the empty coalition and to the
full one.

kernel  The step is linear and the value quadratic, so with r what the empty coalition leaves
        unexplained on the n judging rows X, Q what everybody adds to the predictions there, and
        q = X phi of the noise alone, the score is (1/n) (<q, 2 r - Q> - |q|^2). phi is Gaussian of
        covariance S = (sigma C)^2 sum_t B_t W^2 B_t^T, B_t being how round t's weighed update moves
        phi at the stretch's end. So with H = X S X^T / n, exactly

            mean     -tr H
            variance |Sigma^(1/2) X^T (2 r - Q) / n|^2 + 2 tr H^2

        All of it follows from covectors that are taken back through the steps (`Steps.back`), one
        way for all contributors, and weighed by each one's weight at the end. The traces are
        estimated with vectors of random signs (Hutchinson, 1990): g^T H g has the mean tr H, and
        (g^T H h)^2 the mean tr H^2.
others  `noise_players` simulated players, whose models are evaluated in full; every update weighs
        the same, so they speak for all contributors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rounds.state import Floats
from rounds.step import Steps

FEW_CONTRIBUTORS, PROBES, FEWER_PROBES = 100, 16, 4
"""Vectors of random signs up to so many contributors, and above: they cost as many products with
every contributor's weight."""


@dataclass(frozen=True)
class NoiseScores:
    """Mean and standard deviation of the score of noise in each contributor's name, float64[K]."""

    means: Floats
    deviations: Floats


@dataclass(frozen=True)
class QuadraticValue:
    """A coalition's value where the model is linear: `inputs` X float64[n, d], `residual` r and
    `together` Q float64[n]."""

    inputs: Floats
    residual: Floats
    together: Floats


def linear_noise(
    steps: Steps,
    value: QuadraticValue,
    *,
    contributors: int,
    numbers: Sequence[int],
    deviation: float,
    seed: bytes,
) -> NoiseScores:
    """Of a linear model, in closed form.

    Args:
        numbers: the stretch's training rounds, rising.
        deviation: sigma C of one update.
        seed: 32 bytes that the random signs follow from.
    """
    count = len(value.residual)
    probes = PROBES if contributors <= FEW_CONTRIBUTORS else FEWER_PROBES
    signs = random_signs(seed, probes, count) / np.sqrt(count)
    pulls = np.vstack(((2.0 * value.residual - value.together) / count, signs))
    covectors, weighed = pulls @ value.inputs, []
    for number in reversed(numbers):
        covectors, sent = steps.back(covectors, number=number)
        weighed.append(deviation * sent)
    felt = np.concatenate(weighed)  # [T * (1 + probes), d]
    means, deviations = np.zeros(contributors), np.zeros(contributors)
    others = ~np.eye(probes, dtype=bool)
    alike = np.array(steps.alike(contributors))
    for voice in np.unique(alike).tolist():
        loud = steps.weigh(felt, (voice,) * len(felt)).reshape(len(numbers), 1 + probes, -1)
        products = np.matmul(loud, loud.transpose(0, 2, 1)).sum(axis=0)
        traces = products[1:, 1:]
        means[alike == voice] = -np.trace(traces) / probes
        variance = products[0, 0] + 2.0 * np.mean(traces[others] ** 2)
        deviations[alike == voice] = np.sqrt(variance)
    return NoiseScores(means=means, deviations=deviations)


def simulated_noise(
    values_of: Callable[[Floats], Floats],
    *,
    empty: Floats,
    full: Floats,
    players: Floats,
    contributors: int,
) -> NoiseScores:
    """Of a model that is not linear.

    Args:
        values_of: models float64[B, d] to their values float64[B].
        empty, full: float64[d], the models of nobody and of everybody.
        players: float64[M, d], displacements of simulated players.
    """
    ends = values_of(np.stack((empty, full)))
    first = values_of(empty + players) - ends[0]
    last = values_of(full + players) - ends[1]
    scores = 0.5 * (first + last)
    deviation = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    return NoiseScores(
        means=np.full(contributors, float(np.mean(scores))),
        deviations=np.full(contributors, deviation),
    )


def random_signs(seed: bytes, rows: int, columns: int) -> Floats:
    """float64[rows, columns] of +1 and -1: bits of SHAKE-256(seed), the lowest of each byte first,
    row after row; a set bit is +1."""
    count = rows * columns
    data = np.frombuffer(hashlib.shake_256(seed).digest(-(-count // 8)), dtype=np.uint8)
    bits = np.unpackbits(data, count=count, bitorder="little").reshape(rows, columns)
    return 2.0 * bits.astype(np.float64) - 1.0
