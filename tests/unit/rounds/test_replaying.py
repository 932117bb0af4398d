# SPDX-License-Identifier: Apache-2.0
"""Replay: what was recorded is found again, and any change is named with its place."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from dao.cid import blob_ref
from dao.errors import RecordError, ReplayMismatch
from dao.records import RoundRecord, SignedRoundRecord
from rounds.exclusion import Answer
from rounds.replay import (
    ReplayPoint,
    first_difference,
    replay_round,
    replay_stretch,
)
from rounds.state import decode_state, encode_state
from tests.unit.rounds.round_world import World, make_world


def _forged(answer: Answer) -> Answer:
    receipt = answer.receipt.model_copy(update={"signature": "0x" + "11" * 96})
    return replace(answer, receipt=receipt)


def _eventful(hidden: int = 0) -> World:
    """Six rounds with a flipper, a copier, a missing, a late, a forged and a lost answer."""
    world = make_world(contributors=6, hidden=hidden, judge_rounds=(2, 4), rows=300, public_n=1800)
    inputs, targets = world.rows[world.addresses[3]]
    world.rows[world.addresses[3]] = (inputs, -targets)
    names = world.addresses

    def hook(number, answers):
        if number == 1:
            answers[names[5]] = replace(answers[names[5]], update=None)
            answers[names[2]] = _forged(answers[names[2]])
        if number == 2:
            del answers[names[0]]
        if number == 3:
            answers[names[1]] = world.answer(names[1], 3, answers[names[0]].update)
        if number == 6:
            answers[names[4]] = world.answer(names[4], 6, answers[names[4]].update + b"1234")
        return answers

    world.answer_hook = hook
    return world.play(6)


WORLDS = {"newton": _eventful(), "adam": _eventful(hidden=4)}


@pytest.mark.promise(7)
@pytest.mark.parametrize("kind", WORLDS)
def test_promise_7_every_record_follows_from_published_bytes(kind: str) -> None:
    world = WORLDS[kind]
    reasons = {each.reason for record in world.records for each in record.exclusions}
    assert {"missing", "copy", "bad-signature", "wrong-shape"} <= reasons
    point = replay_stretch(world.replay_input(), world.first_point(), world.signed()[:3])
    point = replay_stretch(world.replay_input(), point, world.signed()[3:])
    assert point.last_record == world.previous
    assert point.model == world.base
    assert point.model_bytes == world.state
    assert point.next_round == 7
    assert point.history.judged_out == world.history.judged_out
    for address, displacement in world.history.displacements.items():
        assert np.array_equal(displacement.phi, point.history.displacements[address].phi)


def test_bytes_of_a_late_answer_are_never_looked_for() -> None:
    """A record that gives a late answer a receipt differs, wherever that receipt leads."""
    world = make_world()
    answers, late = world.honest_answers(1), world.addresses[0]
    closed = world.close(answers, late=frozenset([late]))
    world.content |= {
        hashlib.sha256(each.update).hexdigest(): each.update
        for address, each in answers.items()
        if address != late
    }
    exclusion = closed.record.exclusions[0].model_copy(update={"receipt": answers[late].receipt})
    record = closed.record.model_copy(update={"exclusions": (exclusion,)})
    signed = SignedRoundRecord(record=record, signature="0x00")
    start = ReplayPoint.start(world.task, world.roster, initial_state=world.state)
    with pytest.raises(ReplayMismatch, match=r"round 1, exclusions\[0\]\.receipt"):
        replay_round(world.replay_input(), start, signed)


def test_a_late_answer_replays_as_late() -> None:
    world = make_world()
    closed = world.close(world.honest_answers(1), late=frozenset(world.addresses[:1]))
    world.content |= {
        hashlib.sha256(each.update).hexdigest(): each.update
        for each in world.honest_answers(1).values()
    }
    signed = SignedRoundRecord(record=closed.record, signature="0x00")
    start = ReplayPoint.start(world.task, world.roster, initial_state=world.state)
    assert replay_round(world.replay_input(), start, signed).model == closed.record.model
    # A receipt beside it, its own or another's, would count as an answered round.
    for place in (0, 1):
        receipt = world.honest_answers(1)[world.addresses[place]].receipt
        late = closed.record.exclusions[0].model_copy(update={"receipt": receipt})
        bent = closed.record.model_copy(update={"exclusions": (late,)})
        with pytest.raises(ReplayMismatch, match=r"exclusions\[0\].receipt"):
            replay_round(
                world.replay_input(), start, SignedRoundRecord(record=bent, signature="0x00")
            )


def _leaves(tree: object, path: str = "") -> list[str]:
    if isinstance(tree, dict):
        return [leaf for key, each in tree.items() for leaf in _leaves(each, f"{path}/{key}")]
    if isinstance(tree, list):
        return [leaf for i, each in enumerate(tree) for leaf in _leaves(each, f"{path}/{i}")]
    return [path]


def _changed(record: RoundRecord, path: str) -> RoundRecord | None:
    """The record with one value changed to another valid one, or None where that is impossible."""
    tree = json.loads(record.canonical())
    node = tree
    *way, last = [int(part) if part.isdigit() else part for part in path.split("/")[1:]]
    for part in way:
        node = node[part]
    value = node[last]
    if isinstance(value, bool):
        node[last] = not value
    elif isinstance(value, int):
        node[last] = value + 10_000_000_000
    elif isinstance(value, str):
        swap = {"a": "b", "2": "3", "0": "1"}.get(value[-1:], "a" if value else "x")
        node[last] = value[:-1] + swap
    else:
        return None
    try:
        return RoundRecord.model_validate(tree)
    except ValueError:
        return None


@pytest.mark.promise(7)
def test_promise_7_any_changed_value_of_a_record_is_found_with_its_round() -> None:
    world = WORLDS["newton"]
    point = replay_stretch(world.replay_input(), world.first_point(), world.signed()[:1])
    record = world.records[1]
    tried = 0
    for path in _leaves(json.loads(record.canonical())):
        other = _changed(record, path)
        if other is None:
            continue
        tried += 1
        signed = SignedRoundRecord(record=other, signature="0x00")
        # A digest that names other bytes is already missing from the content.
        with pytest.raises((ReplayMismatch, KeyError)) as caught:
            replay_round(world.replay_input(), point, signed)
        if isinstance(caught.value, ReplayMismatch):
            assert caught.value.place.startswith("round 2, ")
    assert tried > 80


@pytest.mark.promise(7)
@pytest.mark.parametrize("many", [1, 2])
def test_promise_7_forged_receipts_do_not_make_a_quorum(many: int) -> None:
    """Of six, five are needed: with one forged the round stands, with two it does not."""
    world = make_world(contributors=6, rows=300, public_n=1800)

    def hook(number, answers):
        return answers | {who: _forged(answers[who]) for who in world.addresses[:many]}

    world.answer_hook = hook
    world.play(1)
    assert [each.reason for each in world.records[0].exclusions] == ["bad-signature"] * many
    if many == 1:
        assert world.replayed().next_round == 2
    else:
        with pytest.raises(ReplayMismatch, match=r"recorded 4 receipts .* at least 5"):
            world.replayed()


def test_places_are_named() -> None:
    world = WORLDS["newton"]
    record = world.records[0]

    def place_of(changed: RoundRecord, **given: object) -> str:
        signed = SignedRoundRecord(record=changed, signature="0x00")
        with pytest.raises(ReplayMismatch) as caught:
            replay_round(world.replay_input(**given), world.first_point(), signed)
        return caught.value.place

    forged = record.receipts[3].model_copy(update={"signature": "0x" + "00" * 96})
    receipts = (*record.receipts[:3], forged, *record.receipts[4:])
    assert place_of(record.model_copy(update={"receipts": receipts})) == (
        "round 1, receipts[3].signature"
    )
    assert place_of(record.model_copy(update={"previous_record": "0" * 64})) == (
        "round 1, previous_record"
    )
    fewer = record.model_copy(update={"receipts": record.receipts[:-1]})
    assert place_of(fewer).startswith("round 1, ")
    swapped = record.model_copy(update={"receipts": record.receipts[::-1]})
    assert place_of(swapped).startswith("round 1, receipts[0]")
    assert place_of(record, coordinator_signed=lambda signed: False) == "round 1, signature"


def _with_model(world: World, shift: int) -> tuple[RoundRecord, dict[str, bytes]]:
    state = decode_state(world.task, world.states[1])
    state[0, 5] += shift
    data = encode_state(state)
    record = world.records[0].model_copy(update={"model": blob_ref(data)})
    return record, world.content | {hashlib.sha256(data).hexdigest(): data}


@pytest.mark.promise(6)
@pytest.mark.parametrize("kind", WORLDS)
def test_promise_6_every_coordinate_lies_within_one_step_of_the_grid(kind: str) -> None:
    world = WORLDS[kind]
    for shift in (-1, 1):
        record, content = _with_model(world, shift)
        signed = SignedRoundRecord(record=record, signature="0x00")
        point = replay_round(world.replay_input(content=content), world.first_point(), signed)
        # The next round starts from what was recorded, not from what was recomputed.
        assert point.model == record.model
        assert blob_ref(point.model_bytes) == record.model
    for shift in (-2, 2, 10**9):
        record, content = _with_model(world, shift)
        signed = SignedRoundRecord(record=record, signature="0x00")
        with pytest.raises(ReplayMismatch, match=r"round 1, model\[0\]\[5\]"):
            replay_round(world.replay_input(content=content), world.first_point(), signed)


def test_changed_bytes_of_updates_and_models_are_found() -> None:
    world = WORLDS["newton"]
    update = world.records[0].receipts[1].body.update
    bad = bytearray(world.content[update.sha256])
    bad[3] ^= 1
    content = world.content | {update.sha256: bytes(bad)}
    with pytest.raises(ReplayMismatch, match=r"round 1, receipts\[1\].body.update"):
        replay_round(world.replay_input(content=content), world.first_point(), world.signed()[0])
    record, content = _with_model(world, 1)
    content[record.model.sha256] = content[record.model.sha256][:-1] + b"\x01"
    signed = SignedRoundRecord(record=record, signature="0x00")
    with pytest.raises(ReplayMismatch, match="round 1, model"):
        replay_round(world.replay_input(content=content), world.first_point(), signed)


def test_the_start_must_be_the_tasks_own() -> None:
    world = WORLDS["newton"]
    with pytest.raises(RecordError, match="initial model"):
        ReplayPoint.start(world.task, world.roster, initial_state=world.states[1])


def test_first_difference_names_the_path() -> None:
    was = {"a": [1, {"b": 2}], "c": 3}
    assert first_difference(was, {"a": [1, {"b": 2}], "c": 3}) is None
    assert first_difference(was, {"a": [1, {"b": 9}], "c": 3}) == ("a[1].b", "2", "9")
    assert first_difference(was, {"a": [1], "c": 3}) == ("a", "2 entries", "1 entries")
    assert first_difference(was, {"a": [1, {"b": 2}], "c": 3, "d": 0}) == ("d", "None", "0")
