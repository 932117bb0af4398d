# SPDX-License-Identifier: Apache-2.0
"""What attackers send: surveys and training updates, by the papers that name the attacks.

Attackers need not protect anybody, so they add the task's noise only where a copy would be found
without it. A `Send` that takes a parameter is made by a function of that parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np

from bench.attack_market import Floats
from bench.attack_view import Send, View
from rounds.phases import training_round
from valuation.kernel import KernelFamily
from valuation.private_rows import PrivateRows

POWERS = 6
"""Of the power iteration of each round."""

Told = Callable[[View, str], Floats]
"""A `Send` that never sends nothing."""


def nothing(view: View, name: str) -> Floats | None:
    """No answer: in a survey that means a share of N units, everywhere alike."""
    return None


def noise(view: View, name: str) -> Floats:
    """Noise alone."""
    return view.fresh(name, np.zeros(view.release.length))


def times(factor: float) -> Send:
    """One's own sum, multiplied before the noise."""
    return lambda view, name: view.fresh(name, factor * view.own(name))


def times_at_first(factor: float, rounds: int) -> Send:
    """One's own sum, multiplied before the noise in the first training rounds alone."""

    def send(view: View, name: str) -> Floats:
        early = training_round(view.market.task, view.number) <= rounds
        return view.fresh(name, (factor if early else 1.0) * view.own(name))

    return send


def claim(share: float) -> Told:
    """In a survey: so much of what all honest ones together tell, cell by cell."""

    def send(view: View, name: str) -> Floats:
        return view.fresh(name, share * np.sum(list(view.honest.values()), axis=0))

    return send


def claim_rivals(share: float) -> Send:
    """In a survey: one's own units, and so much of what the honest ones tell."""

    def send(view: View, name: str) -> Floats:
        return view.own(name) + claim(share)(view, name)

    return send


def flipped_labels(view: View, name: str) -> Floats:
    """One's own sum with targets of the other sign (standardised: dear is cheap)."""
    return view.fresh(name, view.sum_of(_flipped(view, name)))


def _flipped(view: View, name: str) -> PrivateRows:
    rows = view.seats[name].rows
    assert rows is not None
    training = rows.training
    assert training.residual is not None
    residual = -2.0 * training.offset - training.residual
    return replace(rows, training=replace(training, residual=residual))


def little_is_enough(deviations: float) -> Send:
    """Mean less some standard deviations of the honest updates, coordinate by coordinate: Baruch,
    Baruch and Goldberg, "A Little Is Enough" (2019). Under fresh noise, as all that follows: the
    standard deviations are those of the noise, hence alike in all rounds."""

    def send(view: View, name: str) -> Floats:
        updates = np.stack(list(view.honest.values()))
        return view.fresh(name, np.mean(updates, axis=0) - deviations * np.std(updates, axis=0))

    return send


def inner_product(factor: float) -> Send:
    """The honest mean, negated and multiplied: Xie, Koyejo and Gupta, "Fall of Empires" (2020)."""

    def send(view: View, name: str) -> Floats:
        return view.fresh(name, -factor * np.mean(list(view.honest.values()), axis=0))

    return send


def mimic(view: View, name: str) -> Floats:
    """What one honest contributor sent in the training round before, under fresh noise. Always the
    same one: whose survey lies farthest out along the main direction in which surveys differ
    (Karimireddy, He and Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets", 2022).

    Updates of the same round cannot be had: none leaves its vault before all receipts of its round
    are fixed."""
    if not view.before.any():
        return noise(view, name)
    if "mimicked" not in view.kept:
        surveys = view.earlier[0]
        names = [each for each in surveys if each != "sum" and each not in view.attackers]
        apart = np.stack([surveys[each] for each in names])
        apart = apart - np.mean(apart, axis=0)
        main = np.linalg.svd(apart, full_matrices=False)[2][0]
        view.kept["mimicked"] = names[int(np.argmax(np.abs(apart @ main)))]
    victim = cast(str, view.kept["mimicked"])
    return view.fresh(name, view.earlier[-1].get(victim, np.zeros(view.release.length)))


def copy(victim: str, factor: float = 1.0) -> Send:
    """What a contributor sends in this round, scaled."""
    return lambda view, name: factor * view.honest[victim]


def blurred_copy(victim: str, noise_share: float) -> Send:
    """What a contributor sends in this round under too little noise."""

    def send(view: View, name: str) -> Floats:
        own = view.fresh(name, np.zeros(view.release.length))
        return view.honest[victim] + noise_share * own

    return send


def mixed_copy(*victims: str) -> Send:
    """The mean of what several contributors sent in the training round before."""

    def send(view: View, name: str) -> Floats | None:
        found = [view.earlier[-1][each] for each in victims if each in view.earlier[-1]]
        if len(found[0]) != view.release.length:
            return noise(view, name)
        mixed: Floats = np.mean(found, axis=0)
        return mixed

    return send


def old_copy(victim: str, factor: float = 1.0) -> Send:
    """What a contributor sent in the training round before, scaled."""

    def send(view: View, name: str) -> Floats:
        old = view.earlier[-1][victim]
        if len(old) != view.release.length:
            return noise(view, name)
        return factor * old

    return send


def public_gradient(factor: float) -> Send:
    """What the public rows would send, multiplied, under fresh noise."""

    def send(view: View, name: str) -> Floats:
        rows = replace(_any_rows(view), training=view.market.public)
        return view.fresh(name, factor * view.sum_of(rows))

    return send


def _any_rows(view: View) -> PrivateRows:
    return view.market.rows[0]


def old_sum(factor: float) -> Send:
    """The sum that the training round before published, less one's own, under fresh noise."""

    def send(view: View, name: str) -> Floats:
        own = view.earlier[-1].get(name)
        before = view.before
        if own is not None and len(own) == len(before):
            before = before - own
        return view.fresh(name, factor * before)

    return send


def first_sum(factor: float) -> Send:
    """The sum that the first training round published, in every later one, under fresh noise."""

    def send(view: View, name: str) -> Floats:
        if not view.before.any():
            return noise(view, name)
        first = next(sent["sum"] for sent in view.earlier if len(sent["sum"]) == len(view.before))
        return view.fresh(name, factor * first)

    return send


def unseen(
    length: float, *, of_bound: bool, signs: tuple[float, ...] = (1.0, -1.0), steepest: bool = False
) -> Send:
    """A direction less what the public rows will see of it in any judgement to come, under fresh
    noise. The first attacker sends it with the first sign, the second with the second.

    Args:
        length: in the norm that `max_units` allows, or in medians of the updates of the round
            before.
        steepest: the direction that moves most what the model predicts at synthetic rows all over
            the map; else the sum that the training round before published.
    """

    def send(view: View, name: str) -> Floats:
        task, before = view.market.task, view.before
        if not before.any():
            return noise(view, name)
        if of_bound:
            reach = task.aggregation.max_units * view.release.sensitivity
        else:
            others = [each for who, each in view.earlier[-1].items() if who != "sum"]
            reach = float(np.median([np.linalg.norm(each) for each in others]))
        first = view.attackers[0]
        if ("direction", view.number) not in view.kept:
            found = _steepest(view, first) if steepest else _hidden(view, first, before)
            view.kept["direction", view.number] = found / np.linalg.norm(found)
        direction = cast(Floats, view.kept["direction", view.number])
        towards = signs[view.attackers.index(name)]
        return view.fresh(name, towards * length * reach * direction)

    return send


def _steepest(view: View, name: str) -> Floats:
    """By power iteration from the direction of the round before, or from a drawn one."""
    family, steps = view.market.family, view.steps()
    assert isinstance(family, KernelFamily)
    rows, voice = family.survey_rows()[0], list(view.seats).index(name)
    kept = view.kept.get(("direction", view.number - 1))
    direction = view.fresh(name, np.zeros(view.release.length))
    if kept is not None:
        direction = cast(Floats, kept)
    for _ in range(POWERS):
        weighed = steps.weigh(direction[None, :] / np.linalg.norm(direction), (voice,))
        _, moved = steps.back(weighed, number=view.number)  # J^-1 is symmetric
        _, pulled = steps.back(moved @ rows.T @ rows, number=view.number)
        direction = _hidden(view, name, steps.weigh(pulled, (voice,))[0])
    return direction


def _hidden(view: View, name: str, vector: Floats) -> Floats:
    """A vector less all that can be seen of it in later judgements, in the weight of `name`."""
    if ("seen", view.number) not in view.kept:
        view.kept["seen", view.number] = _basis(view, name)
    basis = cast(Floats, view.kept["seen", view.number])
    for _ in range(2):
        vector = vector - basis.T @ (basis @ vector)
    return vector


def _basis(view: View, name: str) -> Floats:
    """float64[r, d], orthonormal: all that is seen of an update of this round."""
    if "seen" not in view.kept:
        view.kept["seen"] = _seen(view, name)
    later = cast(dict[int, list[Floats]], view.kept["seen"]).pop(view.number, None)
    if later is None:
        return np.zeros((0, view.release.length))
    rows = np.vstack(later)
    values, vectors = np.linalg.eigh(rows @ rows.T)
    felt = values > 1e-14 * values[-1]
    basis: Floats = (vectors[:, felt] / np.sqrt(values[felt])).T @ rows
    return basis


def _seen(view: View, name: str) -> dict[int, list[Floats]]:
    """By training round: covectors of an update that the public rows see in each later judgement,
    several of float64[n, d]."""
    judging, steps = view.market.family.judge_rows(), view.steps()
    assert judging is not None
    voice = list(view.seats).index(name)
    shift = int(view.market.task.policy.survey_noise_micro > 0)
    seen: dict[int, list[Floats]] = {}
    for judged in view.market.task.aggregation.judge_rounds:
        covectors = judging.inputs
        for number in range(judged + shift, shift, -1):
            covectors, sent = steps.back(covectors, number=number)
            seen.setdefault(number, []).append(steps.weigh(sent, [voice] * len(sent)))
    return seen
