# SPDX-License-Identifier: Apache-2.0
"""What of an update only its sender could know: against the plain least squares of the verifier
that was written from docs/spec/rewards.md; and what others could send as well pays nobody."""

from __future__ import annotations

import numpy as np
import pytest

from privacy.mechanism import private_update
from privacy.noise import SeededNoise
from rounds.exclusion import Answer
from rounds.own_parts import stretches_of
from rounds.phases import release_of
from rounds.score import score_stretch
from rounds.state import decode_update, update_to_float
from rounds.stretch import Stretch, public_gradient
from tests.independent.own_parts import Known
from tests.unit.rounds.round_world import BLOCK, World, make_world
from tests.unit.rounds.test_scoring import scored_rounds
from valuation.family import JudgeRows


def _stretches(world: World, *lengths: int) -> list[Stretch]:
    rounds, parts = scored_rounds(world), []
    for length in lengths:
        parts.append(rounds[:length])
        rounds = rounds[length:]
    return list(stretches_of(world.task, world.family, world.steps(), world.addresses, parts))


def _updates(world: World, number: int) -> dict[int, np.ndarray]:
    release = release_of(world.task, number)
    return {
        world.addresses.index(receipt.body.contributor): update_to_float(
            release,
            decode_update(release, world.updates[number - 1][receipt.body.contributor]),
        )
        for receipt in world.records[number - 1].receipts
    }


ABSENT = {2: 1, 5: 3}


# Directions that fit: none, the public gradient and the mean alone, all sums, single ones too.
@pytest.mark.parametrize("width", [8, 24, 120, 200])
@pytest.mark.parametrize("judged", [True, False])
def test_own_parts_are_what_least_squares_leave(width: int, judged: bool) -> None:
    world = make_world(contributors=5, width=width, judged=judged, judge_rounds=())

    def absent(number: int, answers: dict[str, Answer]) -> dict[str, Answer]:
        gone = {2: 1, 5: 3}.get(number)
        return {
            a: each for a, each in answers.items() if a != world.addresses[gone or 0] or not gone
        }

    world.answer_hook = absent
    world.play(6)
    known = Known(5, width)
    own = [part for stretch in _stretches(world, 3, 3) for part in stretch.own]
    assert len(own) == 6
    for number, found in enumerate(own, start=1):
        updates = _updates(world, number)
        assert len(updates) == (4 if number in ABSENT else 5)
        base, public = scored_rounds(world)[number - 1].base_state, None
        if judged:
            theta = np.frombuffer(base, "<i8") * 2.0**-world.task.model.model_grid_bits
            public = public_gradient(world.task, world.family, world.family.judge, theta)
        np.testing.assert_allclose(found, known.own(updates, public), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("what", ["sum", "sum before", "one", "mean of sums", "public"])
def test_what_others_could_send_as_well_is_not_ones_own(what: str) -> None:
    """From the third round on less than half of its length is left of it, and earns nothing."""
    world = make_world(contributors=6, width=480, rows=900, public_n=4500, judge_rounds=())
    rider, sent = world.addresses[-1], {}

    def honest_sum(number: int) -> np.ndarray:
        return np.sum([u for place, u in _updates(world, number).items() if place < 5], axis=0)

    def hook(number: int, answers: dict[str, Answer]) -> dict[str, Answer]:
        release = release_of(world.task, number)
        sent[number] = np.zeros(release.length)
        if what == "public":
            theta = np.frombuffer(world.state, "<i8") * 2.0**-world.task.model.model_grid_bits
            rows = world.family.judge
            sent[number] = 20.0 * public_gradient(world.task, world.family, rows, theta)
        elif number > 2:
            sent[number] = {
                "sum": lambda: honest_sum(number - 1),
                "sum before": lambda: honest_sum(number - 2),
                "one": lambda: 5.0 * _updates(world, number - 1)[1],
                "mean of sums": lambda: np.mean([honest_sum(n) for n in range(1, number)], axis=0),
            }[what]()
        noise = SeededNoise(f"rider {number}".encode())
        update = private_update(sent[number], release, noise=noise)
        answers[rider] = world.answer(rider, number, update)
        return answers

    world.answer_hook = hook
    world.play(6)
    (stretch,) = _stretches(world, 6)
    noise = release_of(world.task, 1).deviation * np.sqrt(480)
    for number in range(3, 7):
        assert np.linalg.norm(sent[number]) > 3.0 * noise, "there was something to take out"
        own = stretch.own[number - 1]
        more = np.linalg.norm(own[5]) ** 2 - noise**2
        assert more < 0.25 * np.linalg.norm(sent[number]) ** 2
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(200, 480))
    truth = np.linalg.lstsq(*world.rows[world.addresses[0]], rcond=None)[0]
    rows = JudgeRows(inputs, np.zeros(200), inputs @ truth)
    scores = score_stretch(stretch, rows, BLOCK)
    honest = np.median(scores.scores_pico[:5])
    assert honest > 0
    assert scores.scores_pico[5] < 0.1 * honest
