# SPDX-License-Identifier: Apache-2.0
"""Scores of stretches and of noise in each one's name, docs/spec/rewards.md §2 and §3."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.independent import coalitions
from tests.independent.facts import must
from tests.independent.families import JudgingRows
from tests.independent.judging import player_update
from tests.independent.own_parts import Known
from tests.independent.records import RoundDone, Walk
from tests.independent.rows import Array
from tests.independent.steps import Adam, Walked
from tests.independent.terms import fixed, near, slack


@dataclass(frozen=True)
class Stretched:
    """What a stretch comes to: theta_base, phi of each contributor (K x d) and of noise players."""

    base: Array
    phis: Array
    players: list[Array]


def _public_gradient(walk: Walk, rows: JudgingRows, done: RoundDone) -> Array:
    """The exact clipped gradient sum of public rows at a round's base; every row is a unit."""
    theta = done.base[0].astype(float) * walk.terms.step
    if walk.terms.adam:
        return coalitions.clipped_sum(walk.terms.record, theta, rows, walk.terms.clip)
    residual = rows.inputs @ theta - rows.residuals
    huber = walk.terms.record["model"]["huber_micro"] / 1e6
    if huber:
        residual = np.clip(residual, -huber, huber)
    norms = np.abs(residual) * np.sqrt((rows.inputs**2).sum(axis=1))
    factor = np.minimum(1.0, walk.terms.clip / np.where(norms > 0, norms, 1.0))
    found: Array = (residual * factor) @ rows.inputs
    return found


def own_parts(walk: Walk, public: JudgingRows | None) -> dict[int, list[Array]]:
    """What of everybody's updates only its sender could know, by training round."""
    known = Known(len(walk.accounts), walk.terms.record["model"]["parameters"])
    found = {}
    for done in walk.done:
        if done.number > walk.terms.surveys:
            scale = 2.0 ** -walk.terms.kind(done.number).bits
            sent = {at: np.array(each, dtype=float) * scale for at, each in done.updates.items()}
            counted = {
                at: each for at, each in sent.items() if walk.accounts[at] not in done.fallen
            }
            gradient = None if public is None else _public_gradient(walk, public, done)
            found[done.number] = known.own(counted, gradient)
    return found


def seed_of(walk: Walk, recorded: Any, label: bytes) -> bytes:
    """What a stretch's draws of one kind follow from."""
    first, after = recorded["first_round"], bytes.fromhex(recorded["seed"]["hash"])
    task = bytes.fromhex(walk.chain.task)
    return hashlib.sha256(task + label + first.to_bytes(8, "big") + after).digest()


def walk_stretch(
    walk: Walk,
    rounds: list[RoundDone],
    public: JudgingRows | None,
    parts: dict[int, list[Array]],
    recorded: Any,
) -> Stretched:
    """Displacements of a stretch."""
    source = seed_of(walk, recorded, b"covalue.noise-players.v2").hex()
    rule, terms = walk.rule, walk.terms
    size, count = terms.record["model"]["parameters"], len(walk.accounts)
    walked = [Walked.zero(size) for _ in range(count)]
    of_public = Walked.zero(size)
    players = [Walked.zero(size)] * (terms.record["aggregation"]["noise_players"] * terms.adam)
    for done in rounds:
        kind = terms.kind(done.number)
        for place in range(count):
            own = parts[done.number][place]
            walked[place] = rule.advance(done.number, walked[place], own, done.after, place)
            if walk.accounts[place] in done.fallen:
                walked[place] = Walked.zero(size)
        for player, each in enumerate(players):
            own = player_update(source, kind, done.number, player)
            players[player] = rule.advance(done.number, each, own, done.after, None)
        if public is not None:
            own = _public_gradient(walk, public, done)
            of_public = rule.advance(done.number, of_public, own, done.after, None)
    theta = rounds[-1].after[0].astype(float) * terms.step
    phis = np.array([each.phi for each in walked])
    base = theta - phis.sum(axis=0) + of_public.phi
    return Stretched(base, phis, [each.phi for each in players])


@dataclass(frozen=True)
class Game:
    """The values of coalitions on the rows that judge; players are places in the roster."""

    walk: Walk
    judging: JudgingRows
    stretched: Stretched

    def _q(self, players: list[int]) -> Array:
        found: Array = self.judging.inputs @ self.stretched.phis[players].T
        return found

    def pull(self, left: list[int]) -> Array:
        """2 r - sum of q of those left, for the kernel family."""
        rest = self.judging.residuals - self.judging.inputs @ self.stretched.base
        found: Array = 2 * rest - self._q(left).sum(axis=1)
        return found

    def harms(self, left: list[int]) -> dict[int, float]:
        """h of each of those left."""
        if not self.walk.terms.adam:
            found = self._q(left).T @ self.pull(left) / len(self.judging.residuals)
            return dict(zip(left, found.tolist(), strict=True))
        base, phis = self.stretched.base, self.stretched.phis
        full = base + phis[left].sum(axis=0)
        nobody, everybody = self._value(base), self._value(full)
        return {
            i: (self._value(base + phis[i]) - nobody + everybody - self._value(full - phis[i])) / 2
            for i in left
        }

    def _value(self, theta: Array) -> float:
        return coalitions.value(self.walk.terms.record, self.judging, theta)

    def shapley(self, left: list[int], recorded: Any) -> dict[int, tuple[float, float]]:
        """Shapley value of each of those left, and its standard error."""
        if not self.walk.terms.adam:
            return {own: (value, 0.0) for own, value in self.harms(left).items()}
        task, base, phis = self.walk.terms.record, self.stretched.base, self.stretched.phis[left]
        if len(left) <= coalitions.MOST_EXACT:
            found = coalitions.shapley(task, self.judging, base, phis)
            return {own: (value, 0.0) for own, value in zip(left, found, strict=True)}
        seed = seed_of(self.walk, recorded, b"covalue.permutations.v2")
        values, errors = coalitions.sampled(
            lambda some: self._value(base + phis[some].sum(axis=0)), len(left), seed
        )
        return dict(zip(left, zip(values, errors, strict=True), strict=True))

    def noise(self, left: list[int], rounds: list[RoundDone], recorded: Any) -> Any:
        """Means and deviations of noise, beside those left."""
        if not self.walk.terms.adam:
            return noise_moments(self.walk, rounds, self.judging, self.pull(left), recorded)
        task, base, count = self.walk.terms.record, self.stretched.base, len(self.walk.accounts)
        full = base + self.stretched.phis[left].sum(axis=0)
        found = coalitions.noise_moments(task, self.judging, base, full, self.stretched.players)
        return [found[0]] * count, [found[1]] * count

    def play(self, recorded: Any, place: str) -> tuple[list[tuple[float, float]], list[int]]:
        """Scores of all with their standard errors, dropping whom the record dropped, and who is
        left."""
        scores: dict[int, tuple[float, float]] = {}
        left = list(range(len(self.walk.accounts)))
        for own in recorded["dropped"]:
            must(own in left, place, "dropped: not one that is left")
            harms = self.harms(left)
            lowest, harm = fixed(min(harms.values())), fixed(harms[own])
            most = lowest + 2 * slack(recorded["scores_pico"][own])
            must(harm <= 1000 and harm <= most, place, f"dropped: {own} harms by {harm} pico")
            scores[own] = harms[own], 0.0
            left.remove(own)
        lowest = fixed(min(self.harms(left).values(), default=0.0))
        must(lowest >= -1000, place, f"dropped: one that is left harms by {lowest} pico")
        scores |= self.shapley(left, recorded)
        return [scores[at] for at in range(len(scores))], left


def _probes(walk: Walk, recorded: Any, n: int) -> Array:
    """m x n random signs that anyone can draw."""
    m = 16 if len(walk.accounts) <= 100 else 4
    seed = seed_of(walk, recorded, b"covalue.noise-probes.v2")
    drawn = hashlib.shake_256(seed).digest(-(-m * n // 8))
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8), bitorder="little")[: m * n]
    found: Array = np.where(bits == 1, 1.0, -1.0).reshape(m, n)
    return found


def noise_moments(
    walk: Walk, rounds: list[RoundDone], judging: JudgingRows, pull: Array, recorded: Any
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of what noise alone scores in each contributor's name."""
    rule = walk.rule
    assert not isinstance(rule, Adam)
    X, n = judging.inputs, len(judging.residuals)
    taken, onward = [], np.eye(X.shape[1])
    for done in reversed(rounds):
        kept, entering = rule.linear(done.number)
        taken.append(onward @ entering)
        onward = onward @ kept
    probes = _probes(walk, recorded, n)
    m = len(probes)
    c = X.T @ pull / n
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
    parts = own_parts(walk, public)
    for stretch in recorded:
        place = f"score report, rounds {stretch['first_round']} to {stretch['last_round']}"
        ends = range(stretch["first_round"], stretch["last_round"] + 1)
        training = [each for each in walk.done if each.number > walk.terms.surveys]
        rounds = [each for each in training if each.number in ends]
        must(bool(rounds), place, "stretches without training are beyond this verifier")
        game = Game(walk, judging, walk_stretch(walk, rounds, public, parts, stretch))
        scores, left = game.play(stretch, place)
        errors = [error for _, error in scores]
        means, deviations = game.noise(left, rounds, stretch)
        for name, values in (
            ("scores_pico", [score for score, _ in scores]),
            ("standard_errors_pico", errors),
            ("noise_means_pico", means),
            ("noise_deviations_pico", deviations),
        ):
            must(len(stretch[name]) == len(walk.accounts), place, f"{name}: not one for each")
            for at, value in enumerate(values):
                near(value, stretch[name][at], f"{place}, {name}[{at}]")
        if not any(errors):
            sampled = any(stretch["standard_errors_pico"])
            must(not sampled, place, "standard_errors_pico: nothing is sampled")
