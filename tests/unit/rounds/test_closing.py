# SPDX-License-Identifier: Apache-2.0
"""Closing a round: what counts, what is excluded and why, and that the function is pure."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from dao.cid import blob_ref
from dao.errors import RecordError
from dao.records import DpEvent, RoundRecord
from privacy.mechanism import private_update
from privacy.noise import SeededNoise
from rounds.exclusion import NO_BYTES, Answer, copy_bound, norm_bound
from rounds.phases import release_of
from rounds.state import decode_state, decode_update, state_to_float
from rounds.step import SumSteps
from tests.unit.rounds.round_world import World, make_world, sign


@pytest.fixture
def world() -> World:
    return make_world(rounds=6)


def _only_exclusion(record: RoundRecord) -> tuple[str, str, str]:
    assert len(record.exclusions) == 1, record.exclusions
    one = record.exclusions[0]
    return one.contributor, one.reason, one.detail


def test_an_honest_round_counts_everybody_and_takes_the_step(world: World) -> None:
    answers = world.honest_answers(1)
    closed = world.close(answers)
    assert not closed.record.exclusions
    assert [each.body.contributor for each in closed.record.receipts] == world.addresses
    counted = {
        address: decode_update(release_of(world.task, 1), each.update)
        for address, each in answers.items()
    }
    state = decode_state(world.task, world.state)
    steps = SumSteps(world.task, world.family.optimiser_vectors())
    expected = steps.step(state, counted, number=1)
    assert np.array_equal(decode_state(world.task, closed.model), expected)
    assert closed.record.model == blob_ref(closed.model)
    assert closed.record.previous_record == world.task.digest()
    assert RoundRecord.parse(closed.record.canonical()) == closed.record


def test_the_same_input_gives_the_same_bytes_whatever_the_order_of_answers(world: World) -> None:
    world.play(2)
    answers = world.honest_answers(3)
    before = copy.deepcopy(world.history)
    one = world.close(answers)
    two = world.close(dict(reversed(answers.items())))
    assert one.record.canonical() == two.record.canonical()
    assert one.model == two.model
    # and nothing that went in was changed
    for address, displacement in before.displacements.items():
        assert np.array_equal(displacement.phi, world.history.displacements[address].phi)


def _forged(world: World, answer: Answer) -> Answer:
    wrong = sign(b"another key".ljust(48, b"x"), answer.receipt.body.signing_digest())
    return replace(
        answer, receipt=answer.receipt.model_copy(update={"signature": "0x" + wrong.hex()})
    )


def _event(world: World, **changes: object) -> DpEvent:
    policy = world.task.policy
    return DpEvent(
        **{
            "mechanism": "gaussian-full-batch",
            "clip_norm_nano": policy.clip_norm_nano,
            "noise_multiplier_micro": policy.noise_multiplier_micro,
            "sampling": None,
            "seeded": False,
        }
        | changes
    )


def _moved(world: World, **changes: object) -> dict:
    return {"position": world.position(1).model_copy(update=changes)}


def _ints(world: World, values: np.ndarray) -> bytes:
    return values.astype("<i8").tobytes()


BAD = {
    "wrong signature": (
        lambda w, a, u: _forged(w, w.answer(a, 1, u)),
        "bad-signature",
        "registered key",
    ),
    "another contributor's receipt": (
        lambda w, a, u: w.answer(w.addresses[0], 1, w.update_of(w.addresses[0], 1)),
        "bad-signature",
        "registered key",
    ),
    "wrong chain": (
        lambda w, a, u: w.answer(a, 1, u, **_moved(w, chain_id=1)),
        "wrong-position",
        "chain_id 1",
    ),
    "wrong contract": (
        lambda w, a, u: w.answer(a, 1, u, **_moved(w, ledger="0x" + "00" * 20)),
        "wrong-position",
        "ledger 0x00",
    ),
    "wrong task": (
        lambda w, a, u: w.answer(a, 1, u, **_moved(w, task_id=9)),
        "wrong-position",
        "task_id 9",
    ),
    "wrong round": (
        lambda w, a, u: w.answer(a, 1, u, **_moved(w, round=2)),
        "wrong-position",
        "round 2",
    ),
    "wrong base": (
        lambda w, a, u: w.answer(a, 1, u, base_model_sha256="ab" * 32),
        "wrong-base",
        "abab",
    ),
    "less noise": (
        lambda w, a, u: w.answer(a, 1, u, event=_event(w, noise_multiplier_micro=1)),
        "wrong-event",
        "noise_multiplier_micro 1",
    ),
    "another clip norm": (
        lambda w, a, u: w.answer(a, 1, u, event=_event(w, clip_norm_nano=7)),
        "wrong-event",
        "clip_norm_nano 7",
    ),
    "seeded noise": (
        lambda w, a, u: w.answer(a, 1, u, event=_event(w, seeded=True)),
        "seeded-noise",
        "seed",
    ),
    "too short": (lambda w, a, u: w.answer(a, 1, u[:-8]), "wrong-shape", "expected 192"),
    "off the grid (no int64s)": (
        lambda w, a, u: w.answer(a, 1, u + b"\x01"),
        "wrong-shape",
        "193 bytes",
    ),
    "off the grid (floats in place of integers)": (
        lambda w, a, u: w.answer(a, 1, np.linspace(0.1, 1.5, 24).astype("<f8").tobytes()),
        "norm",
        "steps of the update grid",
    ),
    "other bytes than the receipt says": (
        lambda w, a, u: replace(w.answer(a, 1, u), update=bytes(len(u))),
        "missing",
        NO_BYTES,
    ),
    "bytes that never came": (
        lambda w, a, u: replace(w.answer(a, 1, u), update=None),
        "missing",
        NO_BYTES,
    ),
    "another content identifier": (
        lambda w, a, u: w.answer(
            a, 1, u, update=blob_ref(u).model_copy(update={"cid": blob_ref(b"other").cid})
        ),
        "missing",
        NO_BYTES,
    ),
    "out of range": (
        lambda w, a, u: w.answer(a, 1, _ints(w, np.full(24, 2**62))),
        "out-of-range",
        "2^62",
    ),
    "too long": (
        lambda w, a, u: w.answer(a, 1, _ints(w, np.full(24, 2**40))),
        "norm",
        "steps of the update grid",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_is_excluded_with_its_reason_and_the_rest_counts(
    world: World, name: str
) -> None:
    make, reason, words = BAD[name]
    answers = world.honest_answers(1)
    victim = world.addresses[2]
    answers[victim] = make(world, victim, answers[victim].update)
    closed = world.close(answers)
    who, why, detail = _only_exclusion(closed.record)
    assert (who, why) == (victim, reason)
    assert words in detail
    assert closed.record.exclusions[0].receipt == answers[victim].receipt
    del answers[victim]
    assert world.close(answers).model == closed.model


@pytest.mark.promise(12)
@pytest.mark.parametrize("field", ["chain_id", "ledger", "task_id", "task_digest", "round"])
def test_promise_12_a_receipt_is_good_for_one_position_only(world: World, field: str) -> None:
    position = world.position(1)
    other = {
        "chain_id": 1,
        "ledger": "0x" + "77" * 20,
        "task_id": 2,
        "task_digest": "11" * 32,
        "round": 2,
    }[field]
    answers = world.honest_answers(1)
    first = world.addresses[0]
    elsewhere = world.answer(
        first, 1, answers[first].update, position=position.model_copy(update={field: other})
    )
    # Signed for another position: refused here. Moved here: the signature no longer fits.
    moved = elsewhere.receipt.model_copy(update={"body": answers[first].receipt.body})
    for answer, reason in (
        (elsewhere, "wrong-position"),
        (replace(elsewhere, receipt=moved), "bad-signature"),
    ):
        record = world.close(answers | {first: answer}).record
        assert _only_exclusion(record)[:2] == (first, reason)


def test_missing_and_late_answers_are_named(world: World) -> None:
    answers = world.honest_answers(1)
    first, second = world.addresses[:2]
    del answers[first]
    record = world.close(answers, late=frozenset({second})).record
    assert [(each.contributor, each.reason) for each in record.exclusions] == [
        (first, "missing"),
        (second, "late"),
    ]
    # Nobody looked at a late one: with it, anybody's would count as the late one's own.
    assert record.exclusions[1].receipt is None


def test_a_round_without_any_answer_still_closes(world: World) -> None:
    closed = world.close({})
    assert len(closed.record.exclusions) == 4
    theta = state_to_float(world.task, decode_state(world.task, closed.model))
    assert np.array_equal(theta, np.zeros_like(theta))


@pytest.mark.parametrize("scale", [1, 2, -1])
def test_copies_and_scaled_copies_are_found(world: World, scale: int) -> None:
    answers = world.honest_answers(1)
    first, _, third, _ = world.addresses
    update = scale * decode_update(release_of(world.task, 1), answers[first].update)
    answers[third] = world.answer(third, 1, _ints(world, update))
    who, why, detail = _only_exclusion(world.close(answers).record)
    assert (who, why) == (third, "copy")
    assert first in detail


def test_copies_of_earlier_rounds_and_of_their_sum_are_found(world: World) -> None:
    world.play(2)
    answers = world.honest_answers(3)
    first, second, third, fourth = world.addresses
    answers[first] = world.answer(first, 3, world.updates[0][fourth])
    total = sum(
        decode_update(release_of(world.task, 1), each) for each in world.updates[1].values()
    )
    answers[second] = world.answer(second, 3, _ints(world, total // 4))
    answers[third] = world.answer(third, 3, world.updates[1][third])
    found = {each.contributor: each.detail for each in world.close(answers).record.exclusions}
    assert found == {
        first: f"copy of the update of {fourth} of round 1",
        second: "copy of the sum of round 2",
        third: f"copy of the update of {third} of round 2",
    }


def test_a_copy_with_part_of_the_noise_is_found_and_honest_twins_pass(world: World) -> None:
    """Two with the very same rows differ by their noise alone, and that is enough."""
    first, second = world.addresses[:2]
    world.rows[second] = world.rows[first]
    world.play(3)
    assert not [each for record in world.records for each in record.exclusions]
    answers = world.honest_answers(4)
    copied = decode_update(release_of(world.task, 1), answers[first].update)
    fresh = np.frombuffer(
        private_update(
            np.zeros(24),
            release_of(world.task, 4),
            noise=SeededNoise(b"fresh"),
        ),
        dtype="<i8",
    )
    answers[second] = world.answer(second, 4, _ints(world, copied + fresh // 8))
    assert _only_exclusion(world.close(answers).record)[:2] == (second, "copy")


def test_the_bounds_let_honest_noise_pass_at_any_length() -> None:
    for parameters in (1, 4, 24, 300, 5000):
        world = make_world(width=parameters, rows=3)
        release = release_of(world.task, 1)
        deviation = world.task.policy.noise_multiplier_micro / 1e6
        grid = 2.0**world.task.model.update_grid_bits
        rng = np.random.default_rng(parameters)
        for _ in range(200):
            noise = np.linalg.norm(rng.normal(size=parameters)) * deviation * grid
            assert noise < norm_bound(world.task, release)
            assert noise**2 > copy_bound(world.task, release) * (parameters > 1)


def test_signatures_are_checked_in_one_batch_where_that_is_given(world: World) -> None:
    calls = []

    def verify_many(triples):
        calls.append(len(triples))
        return [index != 1 for index in range(len(triples))]

    record = world.close(world.honest_answers(1), verify_many=verify_many).record
    assert calls == [4]
    assert _only_exclusion(record)[:2] == (world.addresses[1], "bad-signature")


def test_seeded_noise_counts_where_it_is_allowed(world: World) -> None:
    first = world.addresses[0]
    answers = world.honest_answers(1)
    answers[first] = world.answer(first, 1, answers[first].update, event=_event(world, seeded=True))
    assert not world.close(answers, allow_seeded=True).record.exclusions


def test_pieces_of_the_caller_that_do_not_fit_are_errors(world: World) -> None:
    with pytest.raises(RecordError, match="history ends with round 0"):
        world.close(position=world.position(2))
    with pytest.raises(RecordError, match="do not hash"):
        world.close(base_state=bytes(len(world.state) - 1) + b"\x01")
    other = world.position(1).model_copy(update={"task_digest": "00" * 32})
    with pytest.raises(RecordError, match="position names task"):
        world.close(position=other)
