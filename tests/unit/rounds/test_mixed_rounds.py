# SPDX-License-Identifier: Apache-2.0
"""Rounds of a task that names the rule `nnm-trimmed-mean`: step, displacements, scores, replay."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from dao.cid import blob_ref
from dao.errors import ReplayMismatch
from dao.records import Aggregation
from rounds.exclusion import Answer
from rounds.mixing import nnm_trimmed_mean
from rounds.phases import release_of
from rounds.rules import MixedSteps, steps_of
from rounds.state import decode_state, decode_update, encode_state, state_to_float
from rounds.step import SumSteps
from rounds.stretch import ScoredRound, Stretch, stretch_moves
from tests.unit.rounds.round_world import World, make_world

HARMFUL, TOLERATED = 3, 2


def _world(*, harmful: tuple[int, ...] = (HARMFUL,), times: int = 6, **changes: object) -> World:
    """Seven contributors, of which some send their updates the wrong way round, and longer."""
    task = {"contributors": 7, "rows": 300, "public_n": 2100, "tolerated": TOLERATED} | changes
    world = make_world(**task)

    def hook(number: int, answers: dict[str, Answer]) -> dict[str, Answer]:
        for name in (world.addresses[place] for place in harmful):
            update = -times * np.frombuffer(answers[name].update, "<i8")
            answers[name] = world.answer(name, number, update.astype("<i8").tobytes())
        return answers

    world.answer_hook = hook
    return world


def _sent(world: World, number: int) -> np.ndarray:
    release, updates = release_of(world.task, number), world.updates[number - 1]
    return np.stack([decode_update(release, updates[name]) for name in world.addresses])


def _heard(world: World, number: int) -> np.ndarray:
    """float64[K, d]: what the step took, of who was not judged out before."""
    release = release_of(world.task, number)
    gone = {
        each.contributor
        for record in world.records[: number - 1]
        for each in record.exclusions
        if each.reason == "judged"
    }
    sent = dict(zip(world.addresses, _sent(world, number), strict=True))
    heard = world.steps().hear({name: u for name, u in sent.items() if name not in gone})
    found = np.zeros((len(sent), release.length))
    for name, update in heard.items():
        found[world.addresses.index(name)] = update * 2.0**-release.grid_bits
    return found


def _theta(world: World, state: bytes) -> np.ndarray:
    return state_to_float(world.task, decode_state(world.task, state)[0])


def test_a_round_steps_by_the_trimmed_mean_of_the_mixed_updates() -> None:
    world = _world().play(1)
    sent, release = _sent(world, 1), release_of(world.task, 1)
    mean = nnm_trimmed_mean(sent.astype(np.float64), tolerated=TOLERATED)
    vectors, eta = world.family.optimiser_vectors(), world.task.optimiser.eta_micro[0] / 1e6
    theta, scale = _theta(world, world.states[0]), world.task.policy.public_n * vectors["gain"]

    def stepped(total: np.ndarray) -> np.ndarray:
        total = total * 2.0**-release.grid_bits
        return theta + eta * (-total / scale - vectors["ridge"] * theta) / (1 + vectors["ridge"])

    # Each of seven is rounded onto the grid.
    rounding = 3.5 * 2.0**-release.grid_bits / float(scale.min())
    found = _theta(world, world.state)
    np.testing.assert_allclose(found, stepped(7 * mean), rtol=0, atol=rounding)
    assert np.abs(found - stepped(sent.sum(axis=0))).max() > 100 * rounding


def test_with_attackers_the_model_ends_nearer_to_that_of_honest_ones_alone() -> None:
    mixed = _world(judged=False).play(5)
    summed = _world(judged=False)
    summed.task = summed.task.model_copy(
        update={"aggregation": Aggregation(**_of_sum(mixed.task.aggregation))}
    )
    summed.play(5)
    honest = _world(judged=False)
    honest.answer_hook = lambda number, answers: {
        name: each for name, each in answers.items() if name != honest.addresses[HARMFUL]
    }
    honest.play(5)
    aim = _theta(honest, honest.state)
    apart = [np.linalg.norm(_theta(each, each.state) - aim) for each in (mixed, summed)]
    assert apart[0] < 0.5 * apart[1]


def _of_sum(aggregation: Aggregation) -> dict[str, object]:
    return aggregation.model_dump() | {"rule": "sum", "tolerated": 0}


@pytest.mark.parametrize("hidden", [0, 3], ids=["newton", "adam"])
def test_scores_follow_the_steps_as_they_were_taken(hidden: int) -> None:
    """From the first round on everybody's move is the displacement that the rounds kept, also where
    the judge took some out whose updates were mixed with theirs: more than are tolerated. Whole
    updates are taken for their senders' own here."""
    judged = {"judge_rounds": (2,), "judge_noise_factor_micro": 10**6, "noise_players": 4}
    sizes = {"hidden": hidden, "width": 6, "rows": 600, "public_n": 4200}
    world = _world(harmful=(1, 3), times=2, tolerated=1, **sizes, **judged).play(3)
    assert not world.records[0].exclusions
    fallen = [each.contributor for each in world.records[1].exclusions if each.reason == "judged"]
    assert fallen == [world.addresses[1], world.addresses[3]]
    own = [_heard(world, number) for number in (1, 2, 3)]
    rounds = _scored(world)
    stretch = Stretch(world.task, world.family, world.steps(), world.addresses, rounds, own)
    moves = stretch_moves(stretch)
    for name, moved in zip(world.addresses, moves.members, strict=True):
        kept = world.history.displacements.get(name)
        expected = np.zeros_like(moved) if kept is None else kept.phi
        np.testing.assert_array_equal(moved, expected)
    assert np.count_nonzero(np.abs(moves.members).max(axis=1)) >= 3


def _scored(world: World) -> list[ScoredRound]:
    """From published bytes: who is named by a receipt, and no more."""
    return [ScoredRound.read(record, world.content) for record in world.records]


def test_a_replay_agrees_and_names_a_model_that_was_summed() -> None:
    world = _world().play(2)
    world.replayed()
    counted = dict(zip(world.addresses, _sent(world, 1), strict=True))
    base = decode_state(world.task, world.states[0])
    plain = SumSteps(world.task, world.family.optimiser_vectors())
    summed = encode_state(plain.step(base, counted, number=1))
    world.content[hashlib.sha256(summed).hexdigest()] = summed
    record = world.records[0].model_copy(update={"model": blob_ref(summed)})
    with pytest.raises(ReplayMismatch, match="round 1, model"):
        world.replayed([record])


def test_one_or_two_are_heard_as_they_are_and_of_three_one_is_tolerated() -> None:
    world = _world().play(1)
    steps = steps_of(world.task, world.family, world.addresses, {})
    assert isinstance(steps, MixedSteps)
    counted = dict(zip(world.addresses, _sent(world, 1), strict=True))
    for many in range(4):
        some = dict(list(counted.items())[:many])
        heard = steps.hear(some)
        assert list(heard) == list(some)
        same = all((heard[name] == some[name]).all() for name in some)
        assert same == (many < 3)
    sent = np.stack([each.astype(np.float64) for each in some.values()])
    total = np.sum(np.stack(list(heard.values())), axis=0)
    assert np.abs(total - 3 * nnm_trimmed_mean(sent, tolerated=1)).max() <= 1.5
