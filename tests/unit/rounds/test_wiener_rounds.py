# SPDX-License-Identifier: Apache-2.0
"""A task of the rule `wiener` round by round, with a real set-up, against plain matrices."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from dao.cid import blob_ref
from dao.errors import ReplayMismatch
from dao.records import RoundRecord
from rounds.phases import kind_of
from rounds.replay import replay_stretch
from rounds.state import theta_of
from tests.unit.rounds.wiener_world import (
    CELLS,
    CONTRIBUTORS,
    GRID,
    ROUNDS,
    Built,
    PlainRule,
    WienerWorld,
    build,
    world_of,
)


@pytest.fixture(scope="module")
def built() -> Built:
    return build()


@pytest.fixture(scope="module")
def world(built: Built) -> WienerWorld:
    """Everybody honest, to the end."""
    found = world_of(built)
    return found.play(found.task.total_rounds)


@pytest.fixture(scope="module")
def unheard(built: Built) -> WienerWorld:
    """The first contributor misses the survey, the second one's is thrown out; both train."""
    found = world_of(built)
    first, second, *_ = found.addresses

    def hook(number, answers):
        if number == 1:
            del answers[first]
            loud = np.full(CELLS, 2**40).astype("<i8").tobytes()
            answers[second] = found.answer(second, 1, loud)
        if number == 4:
            del answers[second]
        return answers

    found.answer_hook = hook
    return found.play(found.task.total_rounds)


def models_of(world: WienerWorld) -> list[np.ndarray]:
    """theta after each round."""
    return [theta_of(world.task, state) for state in [*world.states[1:], world.state]]


def counted(world: WienerWorld, record: RoundRecord) -> dict[int, bytes]:
    """Updates that the record counts, by place in the roster."""
    sent = world.updates[record.position.round - 1]
    return {
        world.addresses.index(each.body.contributor): sent[each.body.contributor]
        for each in record.receipts
    }


def gradients(world: WienerWorld, record: RoundRecord) -> dict[int, np.ndarray]:
    bits = world.task.model.update_grid_bits
    return {
        place: np.frombuffer(sent, "<i8") / 2.0**bits
        for place, sent in counted(world, record).items()
    }


def check_every_step(built: Built, world: WienerWorld, rule: PlainRule) -> None:
    """Each recorded model is the step from the one before it, to one step of the grid."""
    theta, models = theta_of(world.task, built.initial), models_of(world)
    for record, model in zip(world.records, models, strict=True):
        number = record.position.round
        if kind_of(world.task, number) != "train":
            assert record.model == record.base_model
            assert np.array_equal(model, theta)
            continue
        weighed = sum(rule.weights[place] @ g for place, g in gradients(world, record).items())
        eta = world.task.optimiser.eta_micro[number - 2] / 1e6
        expected = theta + eta * rule.direction(theta, weighed)
        assert np.abs(model - theta).max() > 1e4 * GRID
        assert np.abs(model - expected).max() <= GRID
        theta = model


def test_a_task_is_a_survey_and_then_training(world: WienerWorld) -> None:
    """So few units calibrate nothing; tests/unit/rounds/test_contributions.py has a task that
    does."""
    kinds = [kind_of(world.task, record.position.round) for record in world.records]
    assert kinds == ["survey"] + ["train"] * ROUNDS
    assert not [each for record in world.records for each in record.exclusions]
    judged = [record.position.round for record in world.records if record.judgements]
    assert judged == [3, 5], "after training rounds 2 and 4"


@pytest.mark.promise(6)
def test_promise_6_every_model_is_the_step_written_out_with_plain_matrices(
    built: Built, world: WienerWorld
) -> None:
    rule = PlainRule.of(built, counted(world, world.records[0]))
    weights = rule.weights
    assert np.abs(weights[0] - weights[1]).max() > 0.1 * np.abs(weights[0]).max()
    check_every_step(built, world, rule)


def test_displacements_add_up_to_the_way_of_theta(built: Built, world: WienerWorld) -> None:
    """theta started at 0; each round rounds theta, and not the displacements."""
    assert not theta_of(world.task, built.initial).any()
    phis = [each.phi for each in world.history.displacements.values()]
    assert len(phis) == CONTRIBUTORS
    theta = models_of(world)[-1]
    assert np.abs(np.sum(phis, axis=0) - theta).max() <= ROUNDS * GRID
    assert min(np.abs(phi).max() for phi in phis) > 1e4 * GRID


def test_a_displacement_is_the_recursion_of_its_own_updates(
    built: Built, world: WienerWorld
) -> None:
    rule = PlainRule.of(built, counted(world, world.records[0]))
    for place, address in enumerate(world.addresses):
        phi = np.zeros(world.task.model.parameters)
        for record in world.records[1 : ROUNDS + 1]:
            sent = gradients(world, record)[place]
            eta = world.task.optimiser.eta_micro[record.position.round - 2] / 1e6
            phi = phi + eta * rule.direction(phi, rule.weights[place] @ sent)
        assert np.abs(world.history.displacements[address].phi - phi).max() <= GRID


def test_who_is_missing_or_excluded_in_the_survey_trains_as_one_that_told_nothing(
    built: Built, unheard: WienerWorld
) -> None:
    survey = unheard.records[0]
    found = {each.contributor: each.reason for each in survey.exclusions}
    assert found == {unheard.addresses[0]: "missing", unheard.addresses[1]: "norm"}
    assert list(unheard.history.surveys) == unheard.addresses[2:]
    assert [len(record.receipts) for record in unheard.records] == [2, 4, 4, 3, 4, 4]
    rule = PlainRule.of(built, counted(unheard, survey))
    assert np.array_equal(rule.weights[0], rule.weights[1])
    assert not np.allclose(rule.weights[0], rule.weights[2])
    check_every_step(built, unheard, rule)


@pytest.mark.promise(7)
@pytest.mark.parametrize("name", ["world", "unheard"])
def test_promise_7_every_record_follows_from_published_bytes(
    name: str, request: pytest.FixtureRequest
) -> None:
    world: WienerWorld = request.getfixturevalue(name)
    point = replay_stretch(world.replay_input(), world.first_point(), world.signed())
    assert point.model == world.base
    assert point.model_bytes == world.state
    assert point.last_record == world.previous
    assert list(point.history.surveys) == list(world.history.surveys)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x08]) + data[at + 1 :]


@pytest.mark.promise(7)
@pytest.mark.parametrize("number", range(1, ROUNDS + 2))
def test_promise_7_a_flipped_byte_of_an_update_is_found_in_its_round(
    world: WienerWorld, number: int
) -> None:
    """Of the survey and of training; the bytes are found under the old name. The receipt is named,
    also where its round was judged."""
    for place, address in enumerate(world.addresses):
        sent = world.updates[number - 1][address]
        name = hashlib.sha256(sent).hexdigest()
        content = world.content | {name: flipped(sent, 8 * place + 1)}
        with pytest.raises(ReplayMismatch) as caught:
            replay_stretch(world.replay_input(content=content), world.first_point(), world.signed())
        assert caught.value.place.startswith(f"round {number}, receipts[{place}].body.update")


@pytest.mark.promise(6)
@pytest.mark.parametrize("number", range(1, ROUNDS + 2))
def test_promise_6_a_flipped_byte_of_a_model_is_found_in_its_round(
    world: WienerWorld, number: int
) -> None:
    """The record names the false bytes; after a survey no coordinate may differ at all."""
    state = [*world.states[1:], world.state][number - 1]
    false = flipped(state, 8 * 3)
    records = world.signed()
    lie = records[number - 1].record.model_copy(update={"model": blob_ref(false)})
    records[number - 1] = records[number - 1].model_copy(update={"record": lie})
    content = world.content | {hashlib.sha256(false).hexdigest(): false}
    with pytest.raises(ReplayMismatch) as caught:
        replay_stretch(world.replay_input(content=content), world.first_point(), records[:number])
    assert caught.value.place == f"round {number}, model[0][3]"


@pytest.mark.promise(6)
def test_promise_6_a_model_one_step_of_the_grid_beside_passes_and_two_do_not(
    world: WienerWorld,
) -> None:
    """Another processor's matrix products may end so; the next round starts from what was
    recorded. A survey leaves the model as it is: there not even one step is allowed."""
    for number, steps, passes in ((2, 1, True), (2, -1, True), (2, 2, False), (1, 1, False)):
        beside = np.frombuffer(world.states[number], "<i8").copy()
        beside[5] += steps
        false = beside.tobytes()
        records = world.signed()[:number]
        lie = records[-1].record.model_copy(update={"model": blob_ref(false)})
        records[-1] = records[-1].model_copy(update={"record": lie})
        content = world.content | {hashlib.sha256(false).hexdigest(): false}
        if passes:
            point = replay_stretch(
                world.replay_input(content=content), world.first_point(), records
            )
            assert point.model_bytes == false
        else:
            with pytest.raises(ReplayMismatch, match=f"round {number}, model"):
                replay_stretch(world.replay_input(content=content), world.first_point(), records)


@pytest.mark.promise(7)
def test_promise_7_a_survey_that_is_hidden_or_another_s_is_found(
    built: Built, world: WienerWorld
) -> None:
    """Either would give its sender other weights."""
    fresh, true, (first, second, *_) = world_of(built), world.records[0], world.addresses
    answers = fresh.honest_answers(1)
    answers[second] = fresh.answer(second, 1, world.updates[0][first])
    (excluded,) = fresh.close(answers).record.exclusions
    assert (excluded.contributor, excluded.reason) == (second, "copy")
    copied = (true.receipts[0], excluded.receipt, *true.receipts[2:])
    for receipts, where in (
        (true.receipts[1:], "round 1, exclusions"),
        (copied, "round 1, receipts.1..body.update"),
    ):
        records = world.signed()
        lie = true.model_copy(update={"receipts": receipts})
        records[0] = records[0].model_copy(update={"record": lie})
        with pytest.raises(ReplayMismatch, match=where):
            replay_stretch(world.replay_input(), world.first_point(), records)
