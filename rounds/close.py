# SPDX-License-Identifier: Apache-2.0
"""Closing a round: one pure function from what came in to the record and the next model.

The coordinator calls it to make a record, a vault and an auditor call it to check one. The same
input gives the same bytes; only scores and what is kept of an update may differ in their last
digits, and those are taken from the record when there is one (`rounds.training.RecordedFigures`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from dao.errors import RecordError
from dao.records import BlobRef, Exclusion, ExclusionReason, Position, RoundRecord, Task
from rounds.exclusion import (
    Answer,
    Expected,
    RosterMember,
    VerifyMany,
    check_answers,
    find_copies,
)
from rounds.history import History, PublishedRound
from rounds.phases import kind_of, release_of
from rounds.state import sum_updates, update_to_float
from rounds.training import RecordedFigures, Trained, TrainingInput, train
from valuation.family import Family

Verify = Callable[[bytes, bytes, bytes], bool]
"""(public key 48 B, message 32 B, signature 96 B) to a verdict."""


@dataclass(frozen=True)
class CloseInput:
    """All that a round's record follows from.

    Attributes:
        task: the task; `position.task_digest` is its digest.
        position: of this round.
        roster: in the order that the chain froze.
        base_model, base_state: the state that the round started from, and its bytes.
        previous_record: digest of the record before (of the task in round 1).
        answers: by address; those fixed in the journal. Who is in `history.judged_out` is not asked
            and, should it answer all the same, not read.
        late: who answered after that, or whose answer is not to count for its lateness.
        history: the task up to the round before.
        family: of the task, with its public set-up.
        verify: checks one signature; `verify_many` checks all at once where it is given.
        ref: content identifier and digest of bytes (`dao.cid.blob_ref`).
        allow_seeded: whether noise from a seed counts (simulation and tests only).
    """

    task: Task
    position: Position
    roster: tuple[RosterMember, ...]
    base_model: BlobRef
    base_state: bytes
    previous_record: str
    answers: Mapping[str, Answer]
    history: History
    family: Family
    verify: Verify
    ref: Callable[[bytes], BlobRef]
    late: frozenset[str] = frozenset()
    verify_many: VerifyMany | None = None
    allow_seeded: bool = False


@dataclass(frozen=True)
class Closed:
    """A closed round: its record, the next model's bytes and the history for the next round."""

    record: RoundRecord
    model: bytes
    history: History = field(repr=False)


def close_round(given: CloseInput, *, recorded: RecordedFigures | None = None) -> Closed:
    """Check every answer, exclude with reasons, add, step, judge; see docs/spec/rounds.md.

    RecordError where the caller's own pieces do not fit together (base bytes, position, history).
    ReplayMismatch where `recorded` scores are beyond the tolerance. What contributors sent never
    raises: it is excluded.
    """
    _check_own_pieces(given)
    task, history = given.task, given.history
    number = given.position.round
    roster = tuple(member.address for member in given.roster)
    updates, excluded = check_answers(
        Expected(
            task=task,
            position=given.position,
            base_model_sha256=given.base_model.sha256,
            allow_seeded=given.allow_seeded,
        ),
        [member for member in given.roster if member.address not in history.judged_out],
        given.answers,
        given.late,
        verify_many=given.verify_many or _one_by_one(given.verify),
        ref=given.ref,
    )
    for address, detail in find_copies(task, number, updates, history.published).items():
        excluded[address] = _excluded(given, address, "copy", detail)
    for address, judged_in in history.judged_out.items():
        excluded[address] = Exclusion(
            contributor=address,
            reason="judged",
            detail=f"judged in round {judged_in}; not asked any more",
            receipt=None,
        )

    counted = {address: each for address, each in updates.items() if address not in excluded}
    release, kind = release_of(task, number), kind_of(task, number)
    total = sum_updates(list(counted.values()), length=release.length)
    if kind == "train":
        trained = train(
            TrainingInput(task, given.family, roster, given.base_state, history, number),
            counted,
            recorded,
        )
    else:
        trained = Trained(given.base_state, history)
    if kind == "survey":
        surveys = {address: update_to_float(release, each) for address, each in counted.items()}
        trained = replace(trained, history=replace(history, surveys=surveys))
    for address, detail in trained.judged_out.items():
        excluded.setdefault(address, _excluded(given, address, "judged", detail))

    model, verdict = trained.model, trained.verdict
    record = RoundRecord(
        kind="covalue.round/1",
        position=given.position,
        previous_record=given.previous_record,
        base_model=given.base_model,
        receipts=tuple(
            given.answers[member.address].receipt
            for member in given.roster
            if member.address not in excluded
        ),
        exclusions=tuple(
            excluded[member.address] for member in given.roster if member.address in excluded
        ),
        norm_clips=trained.norm_clips,
        judgements=() if verdict is None else verdict.judgements,
        judge_floor_pico=None if verdict is None else verdict.floor_pico,
        model=given.ref(model),
    )
    published = PublishedRound.of(number, updates, total)
    after = replace(trained.history, round_number=number, published=(*history.published, published))
    return Closed(record=record, model=model, history=after)


def _check_own_pieces(given: CloseInput) -> None:
    digest = given.task.digest()
    if given.position.task_digest != digest:
        raise RecordError(
            f"position names task {given.position.task_digest}, the task's digest is {digest}"
        )
    if hashlib.sha256(given.base_state).hexdigest() != given.base_model.sha256:
        raise RecordError("the base model's bytes do not hash to the digest of its reference")
    if given.history.round_number != given.position.round - 1:
        raise RecordError(
            f"history ends with round {given.history.round_number},"
            f" expected {given.position.round - 1}"
        )


def _excluded(given: CloseInput, address: str, reason: ExclusionReason, detail: str) -> Exclusion:
    answer = given.answers.get(address)
    return Exclusion(
        contributor=address,
        reason=reason,
        detail=detail,
        receipt=None if answer is None else answer.receipt,
    )


def _one_by_one(verify: Verify) -> VerifyMany:
    return lambda triples: [verify(key, message, signed) for key, message, signed in triples]
