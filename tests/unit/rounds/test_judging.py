# SPDX-License-Identifier: Apache-2.0
"""The judge: harm is found and taken back, honest contributors and noise stay."""

from __future__ import annotations

import numpy as np
import pytest

from dao.errors import ReplayMismatch
from dao.records import Judgement
from privacy.mechanism import noise_deviation
from rewards.shapley import shapley_by_definition
from rounds.judge import (
    check_pico,
    judge,
    judged_out_in,
    noise_updates,
    to_pico,
    tolerance_pico,
)
from rounds.state import decode_state, state_to_float
from tests.unit.rounds.round_world import World, make_world


def _flipped(**options: object) -> World:
    world = make_world(contributors=6, judge_rounds=(2, 4), rows=300, public_n=1800, **options)
    inputs, targets = world.rows[world.addresses[3]]
    world.rows[world.addresses[3]] = (inputs, -targets)
    return world


@pytest.mark.parametrize("hidden", [0, 4], ids=["newton", "adam"])
def test_a_label_flipper_is_excluded_early_and_honest_ones_never(hidden: int) -> None:
    world = _flipped(hidden=hidden, judge_noise_factor_micro=2_000_000, noise_players=16).play(6)
    flipper = world.addresses[3]
    out = [(record.position.round, judged_out_in(record)) for record in world.records]
    assert [who for _, each in out for who in each] == [flipper]
    first = next(number for number, each in out if each)
    assert first == (2 if not hidden else first) <= 4
    for record in world.records[first - 1 :]:
        only = [each for each in record.exclusions if each.contributor == flipper]
        assert [each.reason for each in only] == ["judged"]
    assert world.records[first - 1].exclusions[0].receipt is not None
    assert world.records[first].exclusions[0].receipt is None


def test_what_the_excluded_one_did_is_taken_back_from_the_model() -> None:
    with_it = _flipped().play(2)
    flipper = with_it.addresses[3]
    assert flipper in with_it.history.judged_out
    assert flipper not in with_it.history.displacements
    # The others answered on the same bases, so the model is what their answers alone lead to.
    alone = _flipped()
    alone.answer_hook = lambda number, _: {
        address: alone.answer(address, number, update)
        for address, update in with_it.updates[number - 1].items()
        if address != flipper
    }
    alone.play(2)
    ours, theirs = (
        state_to_float(world.task, decode_state(world.task, world.state))
        for world in (with_it, alone)
    )
    assert np.allclose(ours, theirs, atol=20 * 2.0**-40)


def test_one_who_drags_the_model_away_does_not_pull_others_down() -> None:
    world = _flipped()
    flipper = world.addresses[3]

    def louder(number, answers):
        inputs, targets = world.rows[flipper]
        world.rows[flipper] = (inputs, 30 * targets)
        answers[flipper] = world.answer(flipper, number, world.update_of(flipper, number))
        return answers

    world.answer_hook = louder
    world.play(2)
    assert judged_out_in(world.records[1]) == (flipper,)


def test_pure_noise_is_not_excluded_by_the_judge() -> None:
    for seed in range(4):
        world = make_world(contributors=5, judge_rounds=(2, 4, 6), seed=seed)
        inputs, targets = world.rows[world.addresses[0]]
        world.rows[world.addresses[0]] = (np.zeros_like(inputs), np.zeros_like(targets))
        world.play(6)
        assert not world.history.judged_out


def test_scores_are_the_shapley_values_of_the_mean_squared_error() -> None:
    world = make_world(judge_rounds=(3,)).play(3)
    rows, record = world.family.judge, world.records[2]
    theta = state_to_float(world.task, decode_state(world.task, world.state))[0]
    phis = [world.history.displacements[address].phi for address in world.addresses]
    base = theta - sum(phis)

    def value(members: frozenset[int]) -> float:
        model = base + sum(phis[i] for i in members)
        return -float(np.mean((rows.residual - rows.inputs @ model) ** 2))

    slow = shapley_by_definition(value, 4)
    assert [each.score_pico for each in record.judgements] == pytest.approx(
        [1e12 * each for each in slow], rel=1e-9, abs=1000
    )


def test_noise_players_send_what_the_specification_says() -> None:
    task = make_world(noise_players=400).task
    digest = task.digest()
    sent = noise_updates(task, digest, round_number=3)
    assert sent.shape == (400, 24)
    assert sent.std() == pytest.approx(noise_deviation(task.policy), rel=0.03)
    grid = sent * 2.0**task.model.update_grid_bits
    assert np.array_equal(grid, np.round(grid))
    assert np.array_equal(sent, noise_updates(task, digest, round_number=3))
    assert not np.array_equal(sent, noise_updates(task, digest, round_number=4))
    assert not np.array_equal(sent, noise_updates(task, "00" * 32, round_number=3))


def test_recorded_scores_decide_within_the_tolerance_and_fail_beyond_it() -> None:
    world = make_world(judge_rounds=(2,)).play(2)
    record = world.records[1]
    theta = state_to_float(world.task, decode_state(world.task, world.state))[0]

    def again(judgements: tuple[Judgement, ...], floor: int):
        return judge(
            world.task,
            world.family,
            world.family.judge,
            theta=theta,
            displacements=world.history.displacements,
            noise=world.history.noise,
            recorded=(judgements, floor),
            place="round 2, ",
        )

    first, *rest = record.judgements
    near = first.model_copy(update={"score_pico": first.score_pico + 500})
    verdict = again((near, *rest), record.judge_floor_pico)
    assert verdict.judgements[0] == near
    far = first.model_copy(update={"score_pico": 2 * first.score_pico + 10_000})
    with pytest.raises(ReplayMismatch, match=r"round 2, judgements\[0\]"):
        again((far, *rest), record.judge_floor_pico)
    with pytest.raises(ReplayMismatch, match="round 2, judge_floor_pico"):
        again(record.judgements, record.judge_floor_pico * 2)
    with pytest.raises(ReplayMismatch, match="round 2, judgements"):
        again(tuple(rest), record.judge_floor_pico)


def test_nobody_is_judged_without_public_rows() -> None:
    world = make_world(judged=False, judge_rounds=(2,)).play(2)
    assert world.records[1].judgements == ()
    assert world.records[1].judge_floor_pico is None


def test_pico_scores_are_bounded_integers() -> None:
    assert to_pico(1.5e-12) == 2
    assert to_pico(-1e300) == -(2**53 - 1)
    assert to_pico(float("nan")) == -(2**53 - 1)
    assert tolerance_pico(5_000_000_000) == 1_000 + 5_000
    check_pico(1_000, 0, place="here")
    with pytest.raises(ReplayMismatch, match="here"):
        check_pico(1_001, 0, place="here")
