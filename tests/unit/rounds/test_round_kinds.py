# SPDX-License-Identifier: Apache-2.0
"""Survey and calibration rounds: histograms that go the way of updates and leave the model be."""

from __future__ import annotations

import numpy as np
import pytest

from dao.errors import ReplayMismatch, TaskError
from dao.records import Calibration
from rounds.own_parts import stretches_of
from rounds.phases import event_of, kind_of, release_of, training_round
from rounds.score import score_stretch
from rounds.settle import settle
from rounds.stretch import ScoredRound
from tests.unit.rounds.round_world import BLOCK, World, blob_ref, make_world

CALIBRATION = Calibration(
    share_micro=100_000, groups=3, edges_micro=(-(10**6), 0, 10**6), level_micro=900_000
)
ROUNDS = 4


def _world() -> World:
    return make_world(
        rounds=ROUNDS, survey_cells=7, calibration=CALIBRATION, judge_rounds=(2,)
    ).play(ROUNDS + 2)


def test_the_rounds_of_a_task_stand_in_order() -> None:
    task = _world().task
    kinds = [kind_of(task, number) for number in range(1, task.total_rounds + 1)]
    assert kinds == ["survey", *["train"] * ROUNDS, "calibrate"]
    assert [training_round(task, number) for number in (2, 5)] == [1, 4]
    for number in (0, 7):
        with pytest.raises(TaskError, match="the task has 6 rounds"):
            kind_of(task, number)


def test_a_histogram_is_released_with_its_own_noise_and_one_unit_counts_at_most_one() -> None:
    task = _world().task
    survey, calibration = release_of(task, 1), release_of(task, 6)
    assert (survey.length, calibration.length) == (7, 3 * 4)
    assert survey.deviation == task.policy.survey_noise_micro / 1e6
    assert calibration.deviation == task.policy.calibration_noise_micro / 1e6
    assert survey.sensitivity == calibration.sensitivity == 1.0
    event = event_of(task, 6, seeded=True)
    assert (event.mechanism, event.clip_norm_nano) == ("gaussian-histogram", 10**9)
    assert event.noise_multiplier_micro == task.policy.calibration_noise_micro


def test_histograms_leave_the_model_and_are_replayed() -> None:
    world = _world()
    digests = [record.model.sha256 for record in world.records]
    assert digests[0] == world.task.model.initial.sha256
    assert digests[-1] == digests[-2]
    assert len(set(digests)) == ROUNDS + 1
    assert all(len(record.receipts) == 4 for record in world.records)
    assert [bool(record.judgements) for record in world.records] == [False, False, True] + [
        False
    ] * 3
    point = world.replayed()
    assert point.model == world.base


def test_a_model_that_moves_in_a_histogram_round_is_found() -> None:
    world = _world()
    last = world.records[-1]
    moved = np.frombuffer(world.state, dtype="<i8") + 2
    data = moved.astype("<i8").tobytes()
    world.content[blob_ref(data).sha256] = data
    world.records[-1] = last.model_copy(update={"model": blob_ref(data)})
    with pytest.raises(ReplayMismatch, match="round 6, model"):
        world.replayed()


def test_an_update_of_another_kind_or_event_is_excluded() -> None:
    world = make_world(rounds=ROUNDS, calibration=CALIBRATION).play(ROUNDS)
    number = ROUNDS + 1
    answers = world.honest_answers(number)
    first, second, third, _ = world.addresses
    answers[first] = world.answer(first, number, bytes(8 * world.task.model.parameters))
    answers[second] = world.answer(
        second,
        number,
        world.update_of(second, number),
        event=event_of(world.task, ROUNDS, seeded=False),
    )
    many = np.full(12, 10**6 * 2.0 ** release_of(world.task, number).grid_bits)
    answers[third] = world.answer(third, number, many.astype("<i8").tobytes())
    found = {each.contributor: each.reason for each in world.close(answers).record.exclusions}
    assert found == {first: "wrong-shape", second: "wrong-event", third: "norm"}


def test_a_copied_histogram_is_found_and_a_gradient_is_no_copy_of_one() -> None:
    world = make_world(rounds=ROUNDS, calibration=CALIBRATION, width=12).play(ROUNDS)
    number = ROUNDS + 1
    answers = world.honest_answers(number)
    first, second, third, _ = world.addresses
    copied = answers[first]
    assert copied.update is not None
    answers[second] = world.answer(second, number, copied.update)
    earlier = world.updates[-1][third]
    answers[third] = world.answer(third, number, earlier)
    found = {each.contributor: each.reason for each in world.close(answers).record.exclusions}
    assert found[second] == "copy"
    assert found.get(third) != "copy"


def test_histogram_rounds_score_nothing_and_cost_nothing_on_top_of_training() -> None:
    world = _world()
    stretch = [
        ScoredRound(record, base, world.content[record.model.sha256], updates)
        for record, base, updates in zip(world.records, world.states, world.updates, strict=True)
    ]
    rows = world.family.judge_rows()

    def scores(part: list[ScoredRound]) -> tuple[int, ...]:
        steps = world.steps()
        (of_part,) = stretches_of(world.task, world.family, steps, world.addresses, [part])
        return score_stretch(of_part, rows, BLOCK).scores_pico

    assert scores(stretch) == scores(stretch[1:-1])
    assert set(scores(stretch[:1])) == set(scores(stretch[-1:])) == {0}
    whole = settle(
        world.task, task_id=1, roster=world.addresses, records=world.records, stretches=[]
    )
    without = settle(
        world.task, task_id=1, roster=world.addresses, records=world.records[:-1], stretches=[]
    )
    assert [each.epsilon_micro for each in whole.results] == [world.task.policy.epsilon_micro] * 4
    # calibration units are others than those of training, and together they pay once
    assert whole.results[0].epsilon_micro - without.results[0].epsilon_micro in (0, 1)
