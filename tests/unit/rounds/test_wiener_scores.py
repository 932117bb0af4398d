# SPDX-License-Identifier: Apache-2.0
"""Scores of a task of the rule `wiener`, by the long way round: every coalition trained again."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from privacy.engine import clipped_sum
from rewards.shapley import shapley_by_definition
from rounds.judge import noise_updates
from rounds.phases import kind_of
from rounds.rules import noise_voices, steps_of
from rounds.score import ScoredRound, score_stretch, stretch_moves, surveys_of
from rounds.state import theta_of
from rounds.step import PUBLIC
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


def trained_again(
    world: WienerWorld,
    rule: PlainRule,
    rounds: list[ScoredRound],
    members: frozenset[int],
    *,
    noise: int | None = None,
) -> np.ndarray:
    """theta after the stretch had only `members`, the public rows and perhaps one noise player
    sent updates. What public rows send follows from the recorded models."""
    task, family = world.task, world.family
    theta = theta_of(task, rounds[0].base_state)
    rows = family.judge_rows()
    for each in rounds:
        number = each.record.position.round
        if kind_of(task, number) != "train":
            continue
        weighed = rule.public * clipped_sum(
            family.module(theta_of(task, each.base_state)),
            rows.inputs,
            rows.residual,
            np.arange(len(rows.residual)),
            clip_norm=task.policy.clip_norm_nano / 1e9,
            max_rows=1,
            huber=None,
        )
        for place in members:
            if world.addresses[place] in each.updates:
                sent = np.frombuffer(each.updates[world.addresses[place]], "<i8")
                weighed = weighed + rule.weights[place] @ (sent / 2.0**task.model.update_grid_bits)
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


@pytest.mark.parametrize("stretch", STRETCHES, ids=["with the survey", "later"])
def test_scores_are_shapley_values_of_coalitions_trained_again(
    built: Built, world: WienerWorld, rule: PlainRule, stretch: slice
) -> None:
    task, family, roster = world.task, built.family, world.addresses
    rounds, rows = rounds_of(world), sealed(built)
    surveys = surveys_of(task, rounds)
    steps = steps_of(task, family, roster, surveys)
    scored = score_stretch(task, family, steps, roster, rounds[stretch], rows)

    def coalition(members: frozenset[int]) -> float:
        return value(trained_again(world, rule, rounds[stretch], members), rows)

    slow = shapley_by_definition(coalition, CONTRIBUTORS)
    found = [each / 1e12 for each in scored.scores.scores_pico]
    assert found == pytest.approx(slow, abs=1e-8)
    assert max(abs(each) for each in slow) > 1e-4

    nobody, everybody = frozenset[int](), frozenset(range(CONTRIBUTORS))
    for player in range(NOISE_PLAYERS):
        gains = [
            value(trained_again(world, rule, rounds[stretch], members, noise=player), rows)
            - coalition(members)
            for members in (nobody, everybody)
        ]
        got = scored.scores.noise_scores_pico[player] / 1e12
        assert got == pytest.approx(np.mean(gains), abs=1e-8)


def test_everybody_together_is_the_recorded_model_and_the_public_member(
    built: Built, world: WienerWorld, rule: PlainRule
) -> None:
    task, rounds = world.task, rounds_of(world)
    steps = steps_of(task, built.family, world.addresses, surveys_of(task, rounds))
    moves = stretch_moves(task, built.family, steps, world.addresses, rounds[:4])
    everybody = moves.base + moves.members.sum(axis=0)
    again = trained_again(world, rule, rounds[:4], frozenset(range(CONTRIBUTORS)))
    np.testing.assert_allclose(everybody, again, atol=1e-7)
    assert np.abs(everybody - theta_of(task, rounds[3].model)).max() > 1e-4, "the public member"


def test_a_voice_is_heard_by_its_own_weight(
    built: Built, world: WienerWorld, rule: PlainRule
) -> None:
    task = world.task
    steps = steps_of(task, built.family, world.addresses, world.history.surveys)
    update = np.random.default_rng(0).normal(size=task.model.parameters)
    phi = 0.01 * np.random.default_rng(1).normal(size=task.model.parameters)
    for voice in (PUBLIC, *range(CONTRIBUTORS)):
        weighed = rule.public * update if voice == PUBLIC else rule.weights[voice] @ update
        expected = rule.direction(phi, weighed)
        found = steps.rule.direction_of(voice, phi, update)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-10)
    nobody = np.zeros((0, task.model.parameters))
    assert steps.rule.direction_of((), nobody, nobody).shape == nobody.shape


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
            return value(trained_again(world, silent, rounds, members), rows)

        slow = shapley_by_definition(coalition, CONTRIBUTORS)
        found = [each.score_pico / 1e12 for each in record.judgements]
        assert found == pytest.approx(slow, abs=1e-8)
        alone = [
            value(trained_again(world, silent, rounds, frozenset(), noise=player), rows)
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
    without = trained_again(world, silent, rounds_of(world), others)
    np.testing.assert_allclose(theta_of(world.task, world.state), without, atol=4 * 2.0**-30)
    phis = [each.phi for each in world.history.displacements.values()]
    np.testing.assert_allclose(np.sum(phis, axis=0), without, atol=4 * 2.0**-30)
    world.play(2)
    assert [each.reason for each in world.records[-1].exclusions] == ["judged"]
