# SPDX-License-Identifier: Apache-2.0
"""Replaying recorded rounds: the same `close_round`, compared field by field.

Each round starts from the model that was recorded, so nothing builds up: a recomputed coordinate
must lie within one step of the grid of the recorded one (promise 6); everything else must be equal.
What published bytes cannot show is taken from the record: that an answer, or its update, was late
or missing. The contributor concerned sees it and does not co-sign.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dao.errors import RecordError, ReplayMismatch
from dao.records import BlobRef, Exclusion, Position, RoundRecord, SignedRoundRecord, Task
from rounds.close import CloseInput, Verify, close_round
from rounds.exclusion import Answer, RosterMember, VerifyMany
from rounds.history import History
from rounds.phases import kind_of
from rounds.state import decode_state
from rounds.training import RecordedFigures
from valuation.family import Family

_FIELD_OF_REASON = {
    "bad-signature": "signature",
    "wrong-position": "body.position",
    "wrong-base": "body.base_model_sha256",
    "wrong-event": "body.event",
    "seeded-noise": "body.event.seeded",
}
_NOT_SEEN = ("late", "missing", "bad-signature")
"""Whose update nobody saw: what bears no good signature is nobody's."""
_WITHOUT_BYTES = ("wrong-shape", "missing", "late")


@dataclass(frozen=True)
class ReplayPoint:
    """Where a task stands: before round 1, or after a round that was replayed."""

    history: History
    model: BlobRef
    model_bytes: bytes
    last_record: str

    @classmethod
    def start(
        cls, task: Task, roster: Sequence[RosterMember], *, initial_state: bytes
    ) -> ReplayPoint:
        """Before round 1: the task's initial model. RecordError where the bytes are not it."""
        if hashlib.sha256(initial_state).hexdigest() != task.model.initial.sha256:
            raise RecordError("the initial model's bytes do not hash to the task's digest")
        return cls(
            history=History.start(task, tuple(member.address for member in roster)),
            model=task.model.initial,
            model_bytes=initial_state,
            last_record=task.digest(),
        )

    @property
    def next_round(self) -> int:
        """The round that comes next, from 1."""
        return self.history.round_number + 1


@dataclass(frozen=True)
class ReplayInput:
    """What is the same for all rounds of a task.

    Attributes:
        place: chain id, ledger, task id and task digest; its round is not read.
        content: bytes by SHA-256 (hex): every update that a receipt names and every model. A lazy
            mapping will do; a missing key is an error of whoever supplies the bytes.
        coordinator_signed: whether a signed record bears the coordinator's signature.
        allow_seeded: as the coordinator ran it; True only for simulation and tests.
    """

    task: Task
    place: Position
    roster: tuple[RosterMember, ...]
    family: Family
    content: Mapping[str, bytes]
    verify: Verify
    ref: Callable[[bytes], BlobRef]
    coordinator_signed: Callable[[SignedRoundRecord], bool]
    verify_many: VerifyMany | None = None
    allow_seeded: bool = False


def replay_stretch(
    given: ReplayInput, start: ReplayPoint, records: Sequence[SignedRoundRecord]
) -> ReplayPoint:
    """Replay consecutive rounds; the point after the last. ReplayMismatch names the place."""
    point = start
    for signed in records:
        point = replay_round(given, point, signed)
    return point


def replay_round(given: ReplayInput, point: ReplayPoint, signed: SignedRoundRecord) -> ReplayPoint:
    """Replay one round from what was recorded before it.

    ReplayMismatch(place="round 7, receipts[3].signature", ...) where anything differs.
    """
    record, number = signed.record, point.next_round
    place = f"round {number}, "
    if not given.coordinator_signed(signed):
        raise ReplayMismatch(
            place=f"{place}signature",
            recorded=signed.signature,
            recomputed="a signature of the task's coordinator",
        )
    inputs = CloseInput(
        task=given.task,
        position=given.place.model_copy(update={"round": number}),
        roster=given.roster,
        base_model=point.model,
        base_state=point.model_bytes,
        previous_record=point.last_record,
        answers=_answers(given, record),
        late=frozenset(each.contributor for each in record.exclusions if _was_late(each)),
        history=point.history,
        family=given.family,
        verify=given.verify,
        verify_many=given.verify_many,
        ref=given.ref,
        allow_seeded=given.allow_seeded,
    )
    try:
        closed = close_round(inputs, recorded=RecordedFigures.of(record))
    except ReplayMismatch:
        # figures that differ may follow from a receipt that should not count: it comes first
        _check_receipts(record, close_round(inputs).record, place, but=("judged",))
        raise
    _check_receipts(record, closed.record, place)
    model_bytes = _recorded_model(given, record, closed.model, place)
    if kind_of(given.task, number) != "train" and record.model != point.model:
        raise ReplayMismatch(
            place=f"{place}model", recorded=record.model.sha256, recomputed=point.model.sha256
        )
    recomputed = closed.record.model_copy(update={"model": record.model})
    difference = first_difference(
        record.model_dump(mode="json"), recomputed.model_dump(mode="json")
    )
    if difference is not None:
        where, was, now = difference
        raise ReplayMismatch(place=f"{place}{where}", recorded=was, recomputed=now)
    _check_quorum(given, point, record, place)
    return replace(
        point,
        history=closed.history,
        model=record.model,
        model_bytes=model_bytes,
        last_record=record.digest(),
    )


def _check_quorum(given: ReplayInput, point: ReplayPoint, record: RoundRecord, place: str) -> None:
    """Lateness and silence are the coordinator's word, which must leave a quorum of receipts, and
    of those listed more than two thirds with their updates, or all but a third at the most."""
    asked = len(given.roster) - len(point.history.judged_out)
    unseen = [each for each in record.exclusions if each.reason in _NOT_SEEN]
    forged = sum(each.reason == "bad-signature" for each in unseen)
    listed = asked - forged - sum(each.receipt is None for each in unseen)
    revealed = asked - len(unseen)
    quorum = -(-given.task.terms.quorum_bps * len(given.roster) // 10_000)
    needed = min(quorum, asked)
    if listed < needed or revealed < least_revealed(listed):
        raise ReplayMismatch(
            place=f"{place}exclusions",
            recorded=f"{listed} receipts and {revealed} updates of {asked} asked",
            recomputed=f"at least {needed}, the quorum of the task, and all but a third of those",
        )


def least_revealed(listed: int) -> int:
    """Of so many listed receipts, how many updates make a round: all but a third, so that nobody
    who is listed and then falls silent stops the task for good."""
    return listed - listed // 3


def first_difference(recorded: Any, recomputed: Any) -> tuple[str, str, str] | None:
    """(place, recorded, recomputed) of the first value in which two JSON trees differ, or None."""
    if isinstance(recorded, dict) and isinstance(recomputed, dict):
        for key in [*recorded, *(key for key in recomputed if key not in recorded)]:
            found = first_difference(recorded.get(key), recomputed.get(key))
            if found is not None:
                separator = "" if found[0].startswith("[") or not found[0] else "."
                return f"{key}{separator}{found[0]}", found[1], found[2]
        return None
    if isinstance(recorded, list) and isinstance(recomputed, list):
        for index, (was, now) in enumerate(zip(recorded, recomputed, strict=False)):
            found = first_difference(was, now)
            if found is not None:
                separator = "" if found[0].startswith("[") or not found[0] else "."
                return f"[{index}]{separator}{found[0]}", found[1], found[2]
        if len(recorded) != len(recomputed):
            return "", f"{len(recorded)} entries", f"{len(recomputed)} entries"
        return None
    return None if recorded == recomputed else ("", str(recorded), str(recomputed))


def _answers(given: ReplayInput, record: RoundRecord) -> dict[str, Answer]:
    receipts = [(receipt, None) for receipt in record.receipts]
    excluded = [(each.receipt, each) for each in record.exclusions if each.receipt is not None]
    answers = {}
    for receipt, exclusion in [*receipts, *excluded]:
        owner = receipt.body.contributor if exclusion is None else exclusion.contributor
        if exclusion is not None and decided_without_bytes(exclusion):
            answers[owner] = Answer(receipt=receipt, update=None)
        else:
            answers[owner] = Answer(receipt, given.content[receipt.body.update.sha256])
    return answers


def decided_without_bytes(exclusion: Exclusion) -> bool:
    """Whether the receipt alone decided, or there are no bytes to be had. What such a receipt says
    of its update was never verified: its CID may lead anywhere, or stand beside another's digest.
    """
    return exclusion.reason in _FIELD_OF_REASON or exclusion.reason in _WITHOUT_BYTES


def _was_late(exclusion: Exclusion) -> bool:
    return exclusion.reason == "late"


def _check_receipts(
    record: RoundRecord, recomputed: RoundRecord, place: str, *, but: Sequence[str] = ()
) -> None:
    """A receipt that should not count, for a reason other than those in `but`, named by its place
    in the record."""
    excluded = {each.contributor: each for each in recomputed.exclusions if each.reason not in but}
    for index, receipt in enumerate(record.receipts):
        problem = excluded.get(receipt.body.contributor)
        if problem is not None:
            field = _FIELD_OF_REASON.get(problem.reason, "body.update")
            raise ReplayMismatch(
                place=f"{place}receipts[{index}].{field}",
                recorded="counted",
                recomputed=f"excluded: {problem.reason} ({problem.detail})",
            )


def _recorded_model(
    given: ReplayInput, record: RoundRecord, recomputed: bytes, place: str
) -> bytes:
    """The recorded model's bytes, each coordinate within one step of the recomputed one."""
    if given.ref(recomputed) == record.model:
        return recomputed
    data = given.content[record.model.sha256]
    if given.ref(data) != record.model:
        raise ReplayMismatch(
            place=f"{place}model",
            recorded=record.model.sha256,
            recomputed=hashlib.sha256(data).hexdigest(),
        )
    try:
        was = decode_state(given.task, data)
    except RecordError as error:
        raise ReplayMismatch(
            place=f"{place}model", recorded=error.message, recomputed="a model state"
        ) from error
    now = decode_state(given.task, recomputed)
    apart = np.argwhere(np.abs(was - now) > 1)
    if len(apart):
        vector, coordinate = (int(each) for each in apart[0])
        raise ReplayMismatch(
            place=f"{place}model[{vector}][{coordinate}]",
            recorded=str(int(was[vector, coordinate])),
            recomputed=str(int(now[vector, coordinate])),
        )
    return data
