# SPDX-License-Identifier: Apache-2.0
"""An update is heard no longer than the others make plausible for its sender's size."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dao.errors import ReplayMismatch
from dao.records import NormClip
from rounds.exclusion import Answer
from rounds.norm_clips import clipped_updates, norm_clips
from rounds.phases import release_of
from tests.unit.rounds.round_world import World, make_world
from tests.unit.rounds.wiener_world import build, world_of

LOUD, TIMES = 2, 9


def _world(**aggregation: object) -> World:
    return make_world(contributors=5, rows=400, public_n=2000, judge_rounds=(2,), **aggregation)


def _multiplied(world: World, times: int = TIMES) -> World:
    """One contributor's updates are several times what it should send."""
    name = world.addresses[LOUD]

    def hook(number: int, answers: dict[str, Answer]) -> dict[str, Answer]:
        numbers = np.frombuffer(answers[name].update, "<i8") * times
        answers[name] = world.answer(name, number, numbers.astype("<i8").tobytes())
        return answers

    world.answer_hook = hook
    return world


def _expected_micro(world: World, updates: dict[str, bytes], factor: float) -> dict[str, int]:
    """The formula of docs/spec/rounds.md §2a, in exact integers up to the roots."""
    release = release_of(world.task, 1)
    s = release.deviation * 2.0**release.grid_bits
    squares = {
        name: sum(int(each) ** 2 for each in np.frombuffer(data, "<i8"))
        for name, data in updates.items()
    }
    q = s * s * math.sqrt(2 * release.length)
    noise = s * s * release.length
    lengths = sorted(math.sqrt(max(0.0, each - noise + q)) for each in squares.values())
    most = math.sqrt(noise + 6 * q + (factor * lengths[(len(lengths) - 1) // 2]) ** 2)
    return {
        name: math.floor(10**6 * most / math.sqrt(each))
        for name, each in squares.items()
        if most < math.sqrt(each)
    }


def test_who_sends_too_much_is_heard_at_the_length_that_others_make_plausible() -> None:
    world = _multiplied(_world(median_norm_factor_micro=2_000_000)).play(2)
    for record, updates in zip(world.records, world.updates, strict=True):
        said = {each.contributor: each.kept_micro for each in record.norm_clips}
        expected = _expected_micro(world, updates, 2.0)
        assert said.keys() == expected.keys() == {world.addresses[LOUD]}
        for name, kept in said.items():
            assert abs(kept - expected[name]) <= 1


def test_the_step_the_judge_and_displacements_take_what_is_heard() -> None:
    clipped = _multiplied(_world(median_norm_factor_micro=2_000_000)).play(2)
    # The same contributor, in a task without clips, sends what was heard of it.
    plain, name = _world(), clipped.addresses[LOUD]

    def hook(number: int, answers: dict[str, Answer]) -> dict[str, Answer]:
        sent = np.frombuffer(clipped.updates[number - 1][name], "<i8").astype(np.float64)
        kept = clipped.records[number - 1].norm_clips[0].kept_micro / 1e6
        answers[name] = plain.answer(name, number, np.rint(sent * kept).astype("<i8").tobytes())
        return answers

    plain.answer_hook = hook
    plain.play(2)
    assert [each.model for each in plain.records] == [each.model for each in clipped.records]
    judged = [each.judgements for each in clipped.records]
    assert any(judged)
    assert judged == [each.judgements for each in plain.records]
    for address, moved in clipped.history.displacements.items():
        np.testing.assert_array_equal(moved.phi, plain.history.displacements[address].phi)


def test_honest_updates_stand_as_they_were_sent() -> None:
    town = build()
    assert town.task.aggregation.median_norm_factor_micro == 3_000_000
    world = world_of(town).play(town.task.total_rounds)
    assert not any(each.norm_clips for each in world.records)


def test_a_replay_finds_what_was_kept_and_any_other_figure() -> None:
    world = _multiplied(_world(median_norm_factor_micro=2_000_000)).play(1)
    (record,) = world.records
    world.replayed()
    (clip,) = record.norm_clips
    other = world.addresses[0]
    for said in (
        (),
        (clip.model_copy(update={"kept_micro": clip.kept_micro + 2}),),
        (clip.model_copy(update={"kept_micro": clip.kept_micro - 2}),),
        (NormClip(contributor=other, kept_micro=500_000), clip),
        (clip, NormClip(contributor="0x" + "ee" * 20, kept_micro=5)),
        (clip, clip),
    ):
        changed = record.model_copy(update={"norm_clips": said})
        with pytest.raises(ReplayMismatch, match="round 1, norm_clips"):
            world.replayed([changed])


@pytest.mark.parametrize("claimed", [100.0, 400.0])
def test_a_survey_allows_so_many_times_the_median_of_a_unit(claimed: float) -> None:
    world = _world(median_norm_factor_micro=3_000_000)
    release = release_of(world.task, 1)
    names = world.addresses
    along = np.zeros(release.length)
    along[0] = 2.0**release.grid_bits
    lengths = dict.fromkeys(names[:4], 0.2 * release.sensitivity * 1000.0)
    lengths[names[4]] = 1e4 * release.sensitivity
    counted = {name: np.rint(length * along).astype(np.int64) for name, length in lengths.items()}
    sizes = dict.fromkeys(names[:4], 1000.0) | {names[4]: claimed}
    (clip,) = norm_clips(world.task, 1, counted, sizes)
    assert clip.contributor == names[4]
    heard = clipped_updates(counted, (clip,))[names[4]] * 2.0**-release.grid_bits
    noise = release.deviation**2 * (release.length + 6 * math.sqrt(2 * release.length))
    # The noise that others' updates here lack makes their median a little less than .2.
    per_unit = math.sqrt(np.linalg.norm(heard) ** 2 - noise) / claimed
    assert per_unit == pytest.approx(3 * 0.2 * release.sensitivity, rel=0.01)
    # However far the others go, a unit cannot add more than its clip.
    loud = {name: 10 * each for name, each in counted.items()}
    clips = norm_clips(world.task, 1, loud, sizes)
    assert [each.contributor for each in clips] == names
    heard = clipped_updates(loud, clips)[names[4]] * 2.0**-release.grid_bits
    per_unit = math.sqrt(np.linalg.norm(heard) ** 2 - noise) / claimed
    assert per_unit == pytest.approx(release.sensitivity, rel=0.01)
