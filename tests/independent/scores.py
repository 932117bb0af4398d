# SPDX-License-Identifier: Apache-2.0
"""Scores of a kernel task and of noise in each one's name, docs/spec/rewards.md §1 to §3."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.independent.facts import must
from tests.independent.families import JudgingRows
from tests.independent.records import RoundDone, Walk
from tests.independent.rows import Array
from tests.independent.steps import Adam, Walked
from tests.independent.terms import near


@dataclass(frozen=True)
class Stretched:
    """What a stretch comes to: r - what is left at its base, and q of each contributor."""

    rest: Array
    q: Array


def _public_gradient(walk: Walk, rows: JudgingRows, done: RoundDone) -> Array:
    """The exact clipped gradient sum of public rows at a round's base; every row is a unit."""
    theta = done.base[0].astype(float) * walk.terms.step
    residual = rows.inputs @ theta - rows.residuals
    huber = walk.terms.record["model"]["huber_micro"] / 1e6
    if huber:
        residual = np.clip(residual, -huber, huber)
    norms = np.abs(residual) * np.sqrt((rows.inputs**2).sum(axis=1))
    factor = np.minimum(1.0, walk.terms.clip / np.where(norms > 0, norms, 1.0))
    found: Array = (residual * factor) @ rows.inputs
    return found


def walk_stretch(
    walk: Walk, rounds: list[RoundDone], judging: JudgingRows, public: JudgingRows | None
) -> Stretched:
    """Displacements of a stretch, on the rows that judge."""
    size, count = walk.terms.record["model"]["parameters"], len(walk.accounts)
    walked = [Walked.zero(size) for _ in range(count)]
    of_public = Walked.zero(size)
    for done in rounds:
        bits = walk.terms.kind(done.number).bits
        for place in range(count):
            own = np.array(done.updates.get(place, [0] * size), dtype=float) * 2.0**-bits
            walked[place] = walk.rule.advance(done.number, walked[place], own, done.after, place)
            if walk.accounts[place] in done.fallen:
                walked[place] = Walked.zero(size)
        if public is not None:
            own = _public_gradient(walk, public, done)
            of_public = walk.rule.advance(done.number, of_public, own, done.after, None)
    theta = rounds[-1].after[0].astype(float) * walk.terms.step
    phis = np.array([each.phi for each in walked])
    base = theta - phis.sum(axis=0) + of_public.phi
    return Stretched(judging.residuals - judging.inputs @ base, judging.inputs @ phis.T)


def shapley(stretched: Stretched) -> Array:
    """Closed form, one score for each contributor."""
    all_q = stretched.q.sum(axis=1)
    found: Array = stretched.q.T @ (2 * stretched.rest - all_q) / len(stretched.rest)
    return found


def _probes(walk: Walk, first: int, n: int) -> Array:
    """m x n random signs that anyone can draw."""
    m = 16 if len(walk.accounts) <= 100 else 4
    seed = hashlib.sha256(
        bytes.fromhex(walk.chain.task) + b"covalue.noise-probes.v1" + first.to_bytes(8, "big")
    ).digest()
    drawn = hashlib.shake_256(seed).digest(-(-m * n // 8))
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8), bitorder="little")[: m * n]
    found: Array = np.where(bits == 1, 1.0, -1.0).reshape(m, n)
    return found


def noise_moments(
    walk: Walk, rounds: list[RoundDone], judging: JudgingRows, stretched: Stretched, first: int
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of what noise alone scores in each contributor's name;
    `first` is the first round of the checkpoint, be it a survey."""
    rule = walk.rule
    assert not isinstance(rule, Adam)
    X, n = judging.inputs, len(judging.residuals)
    taken, onward = [], np.eye(X.shape[1])
    for done in reversed(rounds):
        kept, entering = rule.linear(done.number)
        taken.append(onward @ entering)
        onward = onward @ kept
    probes = _probes(walk, first, n)
    m = len(probes)
    c = X.T @ (2 * stretched.rest - stretched.q.sum(axis=1)) / n
    noise = (walk.terms.sigma * walk.terms.clip) ** 2
    means, deviations = [], []
    for place in range(len(walk.accounts)):
        W = rule.weight(place)
        S = noise * sum(B @ W @ (B @ W).T for B in taken)
        products = probes @ (X @ S @ X.T / n) @ probes.T
        squares = (products**2).sum() - (products.diagonal() ** 2).sum()
        means.append(-float(products.diagonal().mean()))
        deviations.append(float(np.sqrt(c @ S @ c + 2 * squares / (m * (m - 1)))))
    return means, deviations


def hold_stretches(
    walk: Walk, recorded: list[Any], judging: JudgingRows, public: JudgingRows | None
) -> None:
    """Hold the recorded stretches against scores recomputed from the rounds."""
    for stretch in recorded:
        place = f"score report, rounds {stretch['first_round']} to {stretch['last_round']}"
        ends = range(stretch["first_round"], stretch["last_round"] + 1)
        training = [each for each in walk.done if each.number > walk.terms.surveys]
        rounds = [each for each in training if each.number in ends]
        must(bool(rounds), place, "stretches without training are beyond this verifier")
        stretched = walk_stretch(walk, rounds, judging, public)
        means, deviations = noise_moments(walk, rounds, judging, stretched, ends[0])
        for name, values in (
            ("scores_pico", shapley(stretched)),
            ("noise_means_pico", means),
            ("noise_deviations_pico", deviations),
        ):
            must(len(stretch[name]) == len(walk.accounts), place, f"{name}: not one for each")
            for at, value in enumerate(values):
                near(value, stretch[name][at], f"{place}, {name}[{at}]")
