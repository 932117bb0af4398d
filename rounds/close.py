# SPDX-License-Identifier: Apache-2.0
"""Closing a round: one pure function from what came in to the record and the next model.

The coordinator calls it to make a record, a vault and an auditor call it to check one. The same
input gives the same bytes; only the judge's scores may differ in their last digits, and those are
taken from the record when there is one (`RecordedJudgement`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dao.errors import RecordError
from dao.records import BlobRef, Exclusion, ExclusionReason, Judgement, Position, RoundRecord, Task
from rounds.exclusion import (
    Answer,
    Expected,
    RosterMember,
    VerifyMany,
    check_answers,
    find_copies,
)
from rounds.history import History, PublishedRound
from rounds.judge import Verdict, judge, noise_updates
from rounds.phases import kind_of, release_of, training_round
from rounds.rules import noise_voices, steps_of
from rounds.state import (
    Floats,
    Ints,
    decode_state,
    encode_state,
    state_to_float,
    sum_updates,
    update_to_float,
)
from rounds.step import Displacement, Steps, take_back
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


@dataclass(frozen=True)
class RecordedJudgement:
    """What a record says of the judge, for a replay: `floor_pico` is None where nobody judged."""

    judgements: tuple[Judgement, ...]
    floor_pico: int | None


def close_round(given: CloseInput, *, recorded: RecordedJudgement | None = None) -> Closed:
    """Check every answer, exclude with reasons, add, step, judge; see docs/spec/rounds.md.

    RecordError where the caller's own pieces do not fit together (base bytes, position, history).
    ReplayMismatch where `recorded` scores are beyond the tolerance. What contributors sent never
    raises: it is excluded.
    """
    _check_own_pieces(given)
    task, history = given.task, given.history
    number = given.position.round
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
        trained = _train(given, counted, recorded)
    else:
        trained = _Trained(given.base_state, history, None, {})
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
        judgements=() if verdict is None else verdict.judgements,
        judge_floor_pico=None if verdict is None else verdict.floor_pico,
        model=given.ref(model),
    )
    published = PublishedRound(
        round_number=number,
        addresses=tuple(updates),
        vectors=np.stack([*(each.astype(np.float64) for each in updates.values()), total]),
    )
    after = replace(trained.history, round_number=number, published=(*history.published, published))
    return Closed(record=record, model=model, history=after)


@dataclass(frozen=True)
class _Trained:
    """What a training round did: the next model's bytes, the history with everybody's
    displacement, and why whom the judge took out."""

    model: bytes
    history: History
    verdict: Verdict | None
    judged_out: Mapping[str, str]


def _train(
    given: CloseInput,
    counted: Mapping[str, Ints],
    recorded: RecordedJudgement | None,
) -> _Trained:
    """Step by the counted updates, then let the public rows judge where it is time."""
    task, history, number = given.task, given.history, given.position.round
    roster = [member.address for member in given.roster]
    steps = steps_of(task, given.family, roster, history.surveys)
    state = steps.step(decode_state(task, given.base_state), counted, number=number)
    displacements, to_judge, noise = _advance_all(given, steps, counted, state)
    verdict = _judge(given, state, to_judge, noise, recorded)
    judged_out, reasons = dict(history.judged_out), {}
    if verdict is not None:
        scores = {each.contributor: each.score_pico for each in verdict.judgements}
        for address in verdict.out:
            state = take_back(task, state, displacements.pop(address))
            del to_judge[address]
            judged_out[address] = number
            reasons[address] = f"score {scores[address]} pico, floor {verdict.floor_pico} pico"
        if task.optimiser.kind == "adam":
            start = History.start(task, tuple(displacements))
            to_judge, noise = dict(start.to_judge), start.noise
    after = replace(
        history,
        displacements=displacements,
        to_judge=to_judge,
        noise=noise,
        judged_out=judged_out,
    )
    return _Trained(encode_state(state), after, verdict, reasons)


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


def _advance_all(
    given: CloseInput, steps: Steps, counted: Mapping[str, Ints], state: Ints
) -> tuple[dict[str, Displacement], dict[str, Displacement], Displacement | None]:
    """Everybody's displacement after the round: since round 1, to be judged, of noise players."""
    task, number, history = given.task, given.position.round, given.history
    release = release_of(task, number)
    place = {member.address: index for index, member in enumerate(given.roster)}
    addresses, noise = list(history.displacements), history.noise
    if training_round(task, number) > max(task.aggregation.judge_rounds, default=0):
        noise = None
    sent = np.zeros((len(addresses), task.model.parameters))
    for row, address in enumerate(addresses):
        if address in counted:
            sent[row] = update_to_float(release, counted[address])
    voices = [place[address] for address in addresses]
    if noise is not None:
        hum = noise_updates(task, given.position.task_digest, round_number=number)
        sent, voices = np.vstack((sent, hum)), [*voices, *noise_voices(task, len(place))]
    weighed = steps.weigh(sent, voices)

    def moved(before: Displacement, weighed: Floats) -> Displacement:
        return steps.advance(before, weighed, number=number, state_after=state)

    def everybody(before: Mapping[str, Displacement]) -> dict[str, Displacement]:
        if not addresses:
            return {}
        stacked = Displacement.stacked([before[address] for address in addresses])
        after = moved(stacked, weighed[: len(addresses)])
        return {address: after.row(row) for row, address in enumerate(addresses)}

    since_start = everybody(history.displacements)
    # Newton is judged since the first round as well.
    curved = task.optimiser.kind == "adam"
    to_judge = everybody(history.to_judge) if curved else dict(since_start)
    if noise is None:
        return since_start, to_judge, history.noise
    return since_start, to_judge, moved(noise, weighed[len(addresses) :])


def _judge(
    given: CloseInput,
    state: Ints,
    displacements: Mapping[str, Displacement],
    noise: Displacement | None,
    recorded: RecordedJudgement | None,
) -> Verdict | None:
    task, number = given.task, given.position.round
    if training_round(task, number) not in task.aggregation.judge_rounds:
        return None
    rows = given.family.judge_rows()
    if rows is None or noise is None or not displacements:
        return None
    fixed = None
    if recorded is not None and recorded.floor_pico is not None:
        fixed = (recorded.judgements, recorded.floor_pico)
    return judge(
        task,
        given.family,
        rows,
        theta=state_to_float(task, state[0]),
        displacements=displacements,
        noise=noise,
        recorded=fixed,
        place=f"round {number}, ",
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
