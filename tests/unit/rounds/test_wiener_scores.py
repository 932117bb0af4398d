# SPDX-License-Identifier: Apache-2.0
"""Scores of a task of the rule `wiener`, by the long way round: every coalition trained again."""

from __future__ import annotations

import hashlib
import math
from types import SimpleNamespace

import numpy as np
import pytest

import rounds.stretch
from privacy.engine import clipped_sum
from rewards.shapley import shapley_by_definition
from rounds.judge import noise_updates
from rounds.own_parts import stretches_of
from rounds.phases import kind_of
from rounds.rules import noise_voices, steps_of
from rounds.score import score_stretch, surveys_of
from rounds.state import theta_of
from rounds.step import PUBLIC, Displacement
from rounds.stretch import ScoredRound, Stretch, stretch_moves
from tests.independent.own_parts import Known
from tests.plain_scores import plain_scores
from tests.unit.rounds.round_world import BLOCK
from tests.unit.rounds.wiener_world import (
    CONTRIBUTORS,
    Built,
    PlainRule,
    WienerWorld,
    build,
    sealed,
    world_of,
)
from valuation.family import Prepared

NOISE_PLAYERS = 5


@pytest.fixture(scope="module")
def built() -> Built:
    return build()


@pytest.fixture(scope="module")
def world(built: Built) -> WienerWorld:
    """Everybody honest; in round 4 the second contributor is not heard."""
    found = world_of(built)

    def hook(number, answers):
        if number == 4:
            del answers[found.addresses[1]]
        return answers

    found.answer_hook = hook
    return found.play(found.task.total_rounds)


@pytest.fixture(scope="module")
def rule(built: Built, world: WienerWorld) -> PlainRule:
    return PlainRule.of(built, dict(enumerate(world.updates[0].values())))


def rounds_of(world: WienerWorld) -> list[ScoredRound]:
    states = [*world.states, world.state]
    return [
        ScoredRound(record=record, base_state=base, model=model, updates=updates)
        for record, base, model, updates in zip(
            world.records, states, states[1:], world.updates, strict=False
        )
    ]


def stretch_of(world: WienerWorld, part: slice) -> Stretch:
    task, rounds = world.task, rounds_of(world)
    steps = steps_of(task, world.family, world.addresses, surveys_of(task, rounds))
    parts = (rounds[: part.start], rounds[part])
    return [*stretches_of(task, world.family, steps, world.addresses, parts)][1]


def own_parts(world: WienerWorld) -> dict[int, list[np.ndarray]]:
    """What of everybody's updates only its sender could know, by training round."""
    task, known = world.task, Known(CONTRIBUTORS, world.task.model.parameters)
    found = {}
    for each in rounds_of(world):
        number = each.record.position.round
        if kind_of(task, number) == "train":
            sent = {
                place: np.frombuffer(each.updates[name], "<i8") / 2.0**task.model.update_grid_bits
                for place, name in enumerate(world.addresses)
                if name in each.updates
            }
            found[number] = known.own(sent, public_gradient(world, each))
    return found


def public_gradient(world: WienerWorld, each: ScoredRound) -> np.ndarray:
    rows = world.family.judge_rows()
    return clipped_sum(
        world.family.module(theta_of(world.task, each.base_state)),
        rows.inputs,
        rows.residual,
        np.arange(len(rows.residual)),
        clip_norm=world.task.policy.clip_norm_nano / 1e9,
        max_rows=1,
        huber=None,
    )


def trained_again(
    world: WienerWorld,
    rule: PlainRule,
    rounds: list[ScoredRound],
    members: frozenset[int],
    *,
    noise: int | None = None,
    known_stays: bool = True,
) -> np.ndarray:
    """theta after the stretch had only `members`, the public rows and perhaps one noise player
    sent updates. What public rows send follows from the recorded models; what everybody could know
    of the others' updates stays, unless they are to be as if they had never sent anything."""
    task, parts = world.task, own_parts(world) if known_stays else {}
    theta = theta_of(task, rounds[0].base_state)
    for each in rounds:
        number = each.record.position.round
        if kind_of(task, number) != "train":
            continue
        weighed = rule.public * public_gradient(world, each)
        for place, name in enumerate(world.addresses):
            if name in each.updates:
                sent = np.frombuffer(each.updates[name], "<i8") / 2.0**task.model.update_grid_bits
                if place not in members:
                    sent = sent - parts[number][place] if known_stays else 0.0 * sent
                weighed = weighed + rule.weights[place] @ sent
        if noise is not None:
            hum = noise_updates(task, task.digest(), round_number=number)[noise]
            weighed = weighed + rule.weights[noise % CONTRIBUTORS] @ hum
        eta = task.optimiser.eta_micro[number - 2] / 1e6
        theta = theta + eta * rule.direction(theta, weighed)
    return theta


def value(theta: np.ndarray, rows: Prepared) -> float:
    return -float(np.mean((rows.residual - rows.inputs @ theta) ** 2))


STRETCHES = [slice(0, 4), slice(4, 6)]
"""The task's checkpoints: the survey and three rounds, then two from a model already moved."""


@pytest.mark.parametrize("part", STRETCHES, ids=["with the survey", "later"])
def test_scores_are_shapley_values_of_coalitions_trained_again(
    built: Built, world: WienerWorld, rule: PlainRule, part: slice
) -> None:
    rounds, rows = rounds_of(world)[part], sealed(built)
    scored = score_stretch(stretch_of(world, part), rows, BLOCK)

    def coalition(members: frozenset[int]) -> float:
        return value(trained_again(world, rule, rounds, members), rows)

    slow, dropped = plain_scores(coalition, CONTRIBUTORS)
    found = [each / 1e12 for each in scored.scores_pico]
    assert found == pytest.approx(slow, abs=1e-8)
    assert scored.dropped == tuple(dropped)
    assert max(abs(each) for each in slow) > 1e-4


def noise_covariance(world: WienerWorld, rule: PlainRule, part: slice, place: int) -> np.ndarray:
    """Of the displacement at the stretch's end of one who sends noise alone, float64[d, d]."""
    task, d = world.task, world.task.model.parameters
    sigma = task.policy.noise_multiplier_micro / 1e6 * task.policy.clip_norm_nano / 1e9
    inverse = np.linalg.inv(rule.j)
    covariance = np.zeros((d, d))
    for record in world.records[part]:
        number = record.position.round
        if kind_of(task, number) == "train":
            eta = task.optimiser.eta_micro[number - 2] / 1e6
            pull = np.eye(d) - eta * inverse / rule.prior
            push = eta * sigma * inverse @ rule.weights[place]
            covariance = pull @ covariance @ pull.T + push @ push.T
    return covariance


@pytest.mark.parametrize("part", STRETCHES, ids=["with the survey", "later"])
def test_noise_in_each_name_has_the_moments_of_its_gaussian(
    built: Built, world: WienerWorld, rule: PlainRule, part: slice
) -> None:
    """Its score is (1/n) (<q, 2 r - Q> - |q|^2) with q = X phi, phi Gaussian: mean and deviation by
    full matrices. The product's traces are estimates from 16 vectors of random signs, here drawn
    again from the specification."""
    rounds, rows = rounds_of(world)[part], sealed(built)
    scored = score_stretch(stretch_of(world, part), rows, BLOCK)
    count, left = len(rows.residual), frozenset(range(CONTRIBUTORS)) - {*scored.dropped}
    nobody = trained_again(world, rule, rounds, frozenset())
    everybody = trained_again(world, rule, rounds, left)
    middle = 2.0 * (rows.residual - rows.inputs @ nobody) - rows.inputs @ (everybody - nobody)
    seed = bytes.fromhex(world.task.digest()) + b"covalue.noise-probes.v2"
    seed += rounds[0].record.position.round.to_bytes(8, "big") + bytes.fromhex(BLOCK.hash)
    seed = hashlib.sha256(seed).digest()
    drawn = hashlib.shake_256(seed).digest(2 * count)
    bits = [drawn[i // 8] >> (i % 8) & 1 for i in range(16 * count)]
    signs = np.where(np.array(bits).reshape(16, count) == 1, 1.0, -1.0)
    loudest = 0.0
    for place in range(CONTRIBUTORS):
        covariance = noise_covariance(world, rule, part, place)
        pull = rows.inputs.T @ middle / count
        linear = float(pull @ covariance @ pull)
        h = rows.inputs @ covariance @ rows.inputs.T / count
        gram = signs @ h @ signs.T
        mean, square = -np.trace(gram) / 16, np.mean(gram[~np.eye(16, dtype=bool)] ** 2)
        got = scored.noise_means_pico[place] / 1e12, scored.noise_deviations_pico[place] / 1e12
        assert got[0] == pytest.approx(mean, rel=1e-4)
        assert got[1] == pytest.approx(math.sqrt(linear + 2.0 * square), rel=1e-4)
        # And the estimates are good.
        assert got[0] == pytest.approx(-np.trace(h), rel=0.1)
        exact = math.sqrt(linear + 2.0 * np.trace(h @ h))
        assert got[1] == pytest.approx(exact, rel=0.05)
        # As noise drawn from the Gaussian scores.
        random = np.random.default_rng(place)
        factor = np.linalg.cholesky(covariance + 1e-18 * np.eye(len(covariance)))
        effects = random.normal(size=(4_000, len(factor))) @ (rows.inputs @ factor).T
        scores = (effects @ middle - np.sum(effects**2, axis=1)) / count
        assert np.mean(scores) == pytest.approx(-np.trace(h), abs=4 * exact / math.sqrt(4_000))
        assert np.std(scores) == pytest.approx(exact, rel=0.06)
        loudest = max(loudest, exact)
    assert loudest > 1.1 * min(scored.noise_deviations_pico) / 1e12, "names differ in loudness"


def test_noise_players_of_the_rule_score_as_noise_in_their_name_is_expected_to(
    built: Built, world: WienerWorld, rule: PlainRule
) -> None:
    """The judge's own players, trained in every round: none is far out of the moments."""
    part = STRETCHES[0]
    rounds, rows = rounds_of(world)[part], sealed(built)
    scored = score_stretch(stretch_of(world, part), rows, BLOCK)
    nobody, everybody = frozenset[int](), frozenset(range(CONTRIBUTORS)) - {*scored.dropped}
    ends = [value(trained_again(world, rule, rounds, who), rows) for who in (nobody, everybody)]
    for player in range(NOISE_PLAYERS):
        with_it = [
            value(trained_again(world, rule, rounds, who, noise=player), rows)
            for who in (nobody, everybody)
        ]
        score, voice = float(np.mean(np.subtract(with_it, ends))), player % CONTRIBUTORS
        mean, deviation = scored.noise_means_pico[voice], scored.noise_deviations_pico[voice]
        assert abs(score - mean / 1e12) < 4 * deviation / 1e12


def test_everybody_together_is_the_recorded_model_and_the_public_member(
    world: WienerWorld, rule: PlainRule
) -> None:
    rounds = rounds_of(world)
    moves = stretch_moves(stretch_of(world, slice(0, 4)))
    everybody = moves.base + moves.members.sum(axis=0)
    again = trained_again(world, rule, rounds[:4], frozenset(range(CONTRIBUTORS)))
    np.testing.assert_allclose(everybody, again, atol=1e-7)
    assert np.abs(everybody - theta_of(world.task, rounds[3].model)).max() > 1e-4, "public member"


def test_contributors_weighed_in_blocks_move_as_all_at_once(
    world: WienerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little fits in memory."""
    stretch = stretch_of(world, slice(0, 4))
    at_once = stretch_moves(stretch)
    monkeypatch.setattr(rounds.stretch, "_NUMBERS_AT_ONCE", 1)
    one_by_one = stretch_moves(stretch)
    np.testing.assert_allclose(one_by_one.members, at_once.members, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(one_by_one.base, at_once.base, rtol=1e-9, atol=1e-14)


def test_a_voice_is_heard_by_its_own_weight(
    built: Built, world: WienerWorld, rule: PlainRule
) -> None:
    task = world.task
    steps = steps_of(task, built.family, world.addresses, world.history.surveys)
    voices = (PUBLIC, *range(CONTRIBUTORS))
    update = np.random.default_rng(0).normal(size=(len(voices), task.model.parameters))
    phi = 0.01 * np.random.default_rng(1).normal(size=update.shape)
    found = steps.rule.direction(phi, steps.weigh(update, voices))
    for row, voice in enumerate(voices):
        weight = rule.public if voice == PUBLIC else rule.weights[voice]
        expected = rule.direction(phi[row], np.dot(weight, update[row]))
        np.testing.assert_allclose(found[row], expected, rtol=1e-6, atol=1e-10)


def test_going_back_is_the_transpose_of_advancing(world: WienerWorld) -> None:
    """<c, advance(phi, u)> = <before, phi> + <weighed c, u> for any c, phi, u."""
    steps, d = stretch_of(world, slice(0, 4)).steps, world.task.model.parameters
    covectors, phi, sent = np.random.default_rng(2).normal(size=(3, 2, d))
    nothing = np.zeros((1, d), dtype=np.int64)
    weighed = steps.weigh(sent, (1, 1))
    moved = steps.advance(Displacement(phi, None), weighed, number=3, state_after=nothing)
    before, felt = steps.back(covectors, number=3)
    expected = before @ phi.T + steps.weigh(felt, (1, 1)) @ sent.T
    np.testing.assert_allclose(covectors @ moved.phi.T, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("players", "contributors"), [(5, 4), (64, 10), (3, 7), (0, 2)])
def test_noise_players_speak_for_everybody_in_turn(players: int, contributors: int) -> None:
    task = SimpleNamespace(aggregation=SimpleNamespace(noise_players=players))
    voices = noise_voices(task, contributors)
    assert len(voices) == players
    counts = [voices.count(place) for place in range(contributors)]
    assert sum(counts) == players
    assert max(counts) - min(counts) <= 1


def test_the_judge_s_scores_are_those_of_models_without_a_contributor(
    world: WienerWorld, rule: PlainRule
) -> None:
    """After training rounds 2 and 4, on the public rows, since the first round; without the public
    member, which is not in the recorded model. Noise players are judged alone on the base."""
    task, rows = world.task, world.family.judge_rows()
    judged = [record for record in world.records if record.judgements]
    assert [record.position.round for record in judged] == [3, 5]
    silent = PlainRule(rule.j, rule.weights, 0.0, rule.prior)
    for record in judged:
        number = record.position.round
        rounds = rounds_of(world)[:number]

        def coalition(members: frozenset[int], rounds=rounds) -> float:
            return value(trained_again(world, silent, rounds, members, known_stays=False), rows)

        slow = shapley_by_definition(coalition, CONTRIBUTORS)
        found = [each.score_pico / 1e12 for each in record.judgements]
        assert found == pytest.approx(slow, abs=1e-8)
        alone = [
            value(
                trained_again(world, silent, rounds, frozenset(), noise=player, known_stays=False),
                rows,
            )
            - coalition(frozenset())
            for player in range(NOISE_PLAYERS)
        ]
        factor = task.aggregation.judge_noise_factor_micro / 1e6
        assert record.judge_floor_pico / 1e12 == pytest.approx(
            min(0, min(alone)) * factor, abs=1e-8
        )


def test_who_is_judged_out_is_taken_back_as_if_it_had_never_sent_anything(
    built: Built, rule: PlainRule
) -> None:
    """One that always sends the contrary of what it should, four times over."""
    world = world_of(built)
    enemy, release = world.addresses[2], 2.0**built.task.model.update_grid_bits

    def hook(number, answers):
        if enemy in answers and number > 1:
            sent = np.frombuffer(answers[enemy].update, "<i8") / release
            harm = np.rint(-4.0 * sent * release).astype("<i8").tobytes()
            answers[enemy] = world.answer(enemy, number, harm)
        return answers

    world.answer_hook = hook
    world.play(3)
    assert world.history.judged_out == {enemy: 3}
    others = frozenset(range(CONTRIBUTORS)) - {2}
    silent = PlainRule(rule.j, rule.weights, 0.0, rule.prior)
    without = trained_again(world, silent, rounds_of(world), others, known_stays=False)
    np.testing.assert_allclose(theta_of(world.task, world.state), without, atol=4 * 2.0**-30)
    phis = [each.phi for each in world.history.displacements.values()]
    np.testing.assert_allclose(np.sum(phis, axis=0), without, atol=4 * 2.0**-30)
    world.play(2)
    assert [each.reason for each in world.records[-1].exclusions] == ["judged"]
