# SPDX-License-Identifier: Apache-2.0
"""A forecast's rounds and payouts against plain arithmetic, from the formulas of docs/spec."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from typing import Any

import numpy as np
import pytest

from dao.records import SeedBlock
from demo.forecast import (
    forecast_noise,
    made_up_account,
    surveyed_steps,
    train_in_process,
    train_rounds,
)
from demo.forecast_payouts import Payouts, Scoring, by_size, told_draws
from privacy.noise import SeededNoise
from rounds.seeds import simulated_block
from tests.plain_scores import plain_scores
from tests.unit.rounds.round_world import World, make_world
from valuation.family import Prepared
from valuation.private_rows import PrivateRows

ROUNDS, LENGTH = 7, 3
"""Training rounds, and the length of a checkpoint in this world."""


def contributors_of(world: World) -> list[PrivateRows]:
    prepared = [
        Prepared(inputs, np.zeros(len(target)), target, np.arange(len(target)))
        for inputs, target in world.rows.values()
    ]
    return [PrivateRows(training=each, survey=None, calibration=None) for each in prepared]


def rounds_of(world: World, seed: str = "s") -> list:
    noise = forecast_noise(seed, task_digest=world.task.digest())
    task, family, rows = world.task, world.family, contributors_of(world)
    steps = surveyed_steps(task, family, rows, noise)
    return list(train_rounds(task, family, world.state, rows, noise, steps=steps))


def plain_rounds(world: World, seed: str) -> list[tuple[list[list[int]], list[int]]]:
    """Updates and model of every round: one row after the other, integers of any size."""
    task, policy = world.task, world.task.policy
    clip, sigma = policy.clip_norm_nano / 1e9, policy.noise_multiplier_micro / 1e6
    gain, ridge = (world.family.optimiser_vectors()[name] for name in ("gain", "ridge"))
    model = [0] * task.model.parameters
    found = []
    for number in range(1, policy.rounds + 1):
        theta = np.array([each / 2**task.model.model_grid_bits for each in model])
        updates = []
        for place, (inputs, target) in enumerate(world.rows.values()):
            total = np.zeros(len(theta))
            for x, y in zip(inputs, target, strict=True):
                gradient = min(max(x @ theta - y, -1.0), 1.0) * x
                total += gradient * min(1.0, clip / math.sqrt(gradient @ gradient))
            key = f"{seed}/{made_up_account(place)}/forecast/{number}".encode()
            noisy = total + sigma * clip * SeededNoise(key).gaussian(len(theta))
            updates.append([round(each * 2**task.model.update_grid_bits) for each in noisy])
        total = np.array(
            [sum(column) / 2**task.model.update_grid_bits for column in zip(*updates, strict=True)]
        )
        eta = task.optimiser.eta_micro[number - 1] / 1e6
        direction = -(total / (policy.public_n * gain)) - ridge * theta
        theta = theta + (eta * direction) / (1.0 + ridge)
        model = [round(each * 2**task.model.model_grid_bits) for each in theta.tolist()]
        found.append((updates, model))
    return found


def test_every_update_and_model_follows_the_formulas() -> None:
    world = make_world(contributors=3, width=6, rows=40, rounds=ROUNDS, clip=0.7)
    for found, (updates, model) in zip(rounds_of(world), plain_rounds(world, "s"), strict=True):
        assert [np.frombuffer(each, "<i8").tolist() for each in found.updates] == updates
        assert np.abs(np.frombuffer(found.model, "<i8") - model).max() <= 1


@pytest.mark.parametrize("hidden", [0, 3])
def test_a_rehearsal_in_pieces_is_the_whole(hidden: int) -> None:
    """Training in one go is the rounds one by one."""
    world = make_world(contributors=3, width=5, rows=30, hidden=hidden, rounds=ROUNDS)
    heard: list[int] = []
    theta = train_in_process(
        world.task,
        world.family,
        world.state,
        contributors_of(world),
        seed="s",
        on_round=lambda number, _theta: heard.append(number),
    )
    rounds = rounds_of(world)
    assert heard == [each.number for each in rounds] == list(range(1, ROUNDS + 1))
    last = np.frombuffer(rounds[-1].model, "<i8")[: len(theta)]
    assert np.array_equal(theta, last / 2**world.task.model.model_grid_bits)
    assert [each.base for each in rounds[1:]] == [each.model for each in rounds[:-1]]


def test_compared_settings_meet_the_same_noise_and_vaults_their_own() -> None:
    one, other = (make_world(rounds=rounds).task.digest() for rounds in (3, 4))
    accounts = [made_up_account(place) for place in range(2)]

    def draw(digest: str, accounts: list[str], place: int = 0, number: int = 1) -> list[float]:
        return (
            forecast_noise(7, accounts=accounts, task_digest=digest)(place, number)
            .gaussian(5)
            .tolist()
        )

    assert draw(one, []) == draw(other, [])
    assert draw(one, accounts) != draw(other, accounts)
    key = f"7/{accounts[1]}/{one}/2".encode()
    assert draw(one, accounts, 1, 2) == SeededNoise(key).gaussian(5).tolist()
    assert (
        len({tuple(draw(one, [], place, number)) for place in range(3) for number in range(3)}) == 9
    )


def plain_totals(world: World, rounds: list, judging: Prepared) -> list[float]:
    """Scores by the definition, added up over stretches: a coalition's model is the recorded one
    without what the others moved it by, as docs/spec/rewards.md says."""
    task = world.task
    gain, ridge = (world.family.optimiser_vectors()[name] for name in ("gain", "ridge"))
    scores = [0.0] * len(world.rows)
    for first in range(0, len(rounds), LENGTH):
        stretch = rounds[first : first + LENGTH]
        moved = [np.zeros(task.model.parameters) for _ in world.rows]
        for each in stretch:
            eta = task.optimiser.eta_micro[each.number - 1] / 1e6
            for place, update in enumerate(each.updates):
                sent = np.frombuffer(update, "<i8") / 2**task.model.update_grid_bits
                turn = -(sent / (task.policy.public_n * gain)) - ridge * moved[place]
                moved[place] = moved[place] + eta * turn / (1.0 + ridge)
        end = np.frombuffer(stretch[-1].model, "<i8") / 2**task.model.model_grid_bits

        def value(members: frozenset[int], moved=moved, end=end) -> float:
            out = [phi for place, phi in enumerate(moved) if place not in members]
            theta = end - np.sum(out, axis=0) if out else end
            return -float(np.mean((judging.residual - judging.inputs @ theta) ** 2))

        for place, score in enumerate(plain_scores(value, len(moved))[0]):
            scores[place] += score
    return scores


def test_scores_are_shapley_values_over_the_checkpoints_stretches() -> None:
    world = make_world(contributors=4, width=5, rows=50, rounds=ROUNDS, judged=False)
    assert world.task.terms.checkpoint_length == LENGTH
    judging = contributors_of(make_world(contributors=1, width=5, rows=80, seed=3))[0].training
    steps = world.steps()
    scoring = Scoring(world.task, world.family, steps, contributors=4, judging=judging)
    rounds = rounds_of(world)
    for each in rounds:
        scoring.add(each)
    found = scoring.settle(np.full(4, 50))
    expected = plain_totals(world, rounds, judging)
    assert np.allclose(np.array(found.scores_pico) / 1e12, expected, rtol=1e-6, atol=1e-9)
    paid = [
        score if score > threshold else 0
        for score, threshold in zip(found.scores_pico, found.thresholds_pico, strict=True)
    ]
    assert any(paid)
    budget = world.task.terms.budget_wei
    assert found.payouts_wei == tuple(budget * each // max(sum(paid), 1) for each in paid)
    assert found.total_wei <= budget


def test_a_forecast_says_what_its_draws_follow_from_and_how_far_they_may_be_off() -> None:
    exact = Payouts(
        units=np.array([1, 2]),
        scores_pico=(-10, 200),
        standard_errors_pico=(0, 0),
        payouts_wei=(0, 1),
        thresholds_pico=(9, 9),
        budget_wei=1,
        stake_wei=1,
    )
    assert "simulated blocks" in told_draws(exact)
    assert "standard error" not in told_draws(exact)
    drawn = dataclasses.replace(exact, standard_errors_pico=(3, 1))
    assert told_draws(drawn).endswith("standard error at most 1.50% of the largest score")


def test_draws_of_a_forecast_follow_from_the_blocks_that_it_is_given() -> None:
    world = make_world(contributors=4, width=5, rows=50, rounds=ROUNDS, judged=False)
    judging = contributors_of(make_world(contributors=1, width=5, rows=80, seed=3))[0].training
    rounds, asked = rounds_of(world), list[int]()

    def block_of(index: int) -> SeedBlock:
        asked.append(index)
        return simulated_block(world.task, index)

    def settled(**given: Any) -> Payouts:
        scoring = Scoring(
            world.task, world.family, world.steps(), contributors=4, judging=judging, **given
        )
        for each in rounds:
            scoring.add(each)
        return scoring.settle(np.full(4, 50))

    simulated = settled()
    assert settled(block_of=block_of).thresholds_pico == simulated.thresholds_pico
    assert asked == list(range(-(-ROUNDS // LENGTH)))
    other = settled(block_of=lambda index: SeedBlock(number=1, hash="ab" * 32))
    assert other.scores_pico == simulated.scores_pico, "of a linear model they are exact"
    assert other.thresholds_pico != simulated.thresholds_pico
    digest, index = bytes.fromhex(world.task.digest()), (1).to_bytes(8, "big")
    of_text = hashlib.sha256(b"covalue.simulated-block.v1" + digest + index).hexdigest()
    assert simulated_block(world.task, 1) == SeedBlock(number=2, hash=of_text)


def test_size_classes_hold_everybody_once_from_the_smallest_up() -> None:
    units = np.array([30, 2, 11, 5, 70, 9, 40])
    payouts = Payouts(
        units=units,
        scores_pico=tuple(units.tolist()),
        payouts_wei=tuple(10 * each if each > 9 else 0 for each in units.tolist()),
        standard_errors_pico=(0,) * 7,
        thresholds_pico=(9,) * 7,
        budget_wei=10_000,
        stake_wei=1,
    )
    classes = by_size(payouts, classes=3)
    assert [(each.least_units, each.most_units) for each in classes] == [(2, 9), (11, 30), (40, 70)]
    assert [each.contributors for each in classes] == [3, 2, 2]
    assert [each.paid for each in classes] == [0, 2, 2]
    assert [each.mean_payout_wei for each in classes] == [0, 205, 550]
    assert payouts.paid == 4
    assert sum(each.paid for each in by_size(payouts, classes=20)) == 4
