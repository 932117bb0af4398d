# SPDX-License-Identifier: Apache-2.0
"""What a training round does with the updates that count: clip, step, judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dao.records import Judgement, NormClip, RoundRecord, Task
from rounds.history import History
from rounds.judge import Verdict, judge, noise_updates
from rounds.norm_clips import clipped_updates, norm_clips
from rounds.phases import release_of, training_round
from rounds.rules import noise_voices, steps_of
from rounds.state import Floats, Ints, decode_state, encode_state, state_to_float, update_to_float
from rounds.step import Displacement, Steps, take_back
from valuation.family import Family


@dataclass(frozen=True)
class TrainingInput:
    """Where a training round starts: the roster's addresses in the order that the chain froze, the
    base state's bytes, the task up to the round before, and the round's number."""

    task: Task
    family: Family
    roster: tuple[str, ...]
    base_state: bytes
    history: History
    number: int


@dataclass(frozen=True)
class RecordedFigures:
    """What a record says where processors may differ in the last digits, for a replay: what was
    kept of which update; and of the judge, `floor_pico` being None where nobody judged."""

    norm_clips: tuple[NormClip, ...]
    judgements: tuple[Judgement, ...]
    floor_pico: int | None

    @classmethod
    def of(cls, record: RoundRecord) -> RecordedFigures:
        """Those of one record."""
        return cls(record.norm_clips, record.judgements, record.judge_floor_pico)


@dataclass(frozen=True)
class Trained:
    """What a training round did: the next model's bytes, the history with everybody's
    displacement, what was kept of which update, the verdict, and why whom the judge took out."""

    model: bytes
    history: History
    norm_clips: tuple[NormClip, ...] = ()
    verdict: Verdict | None = None
    judged_out: Mapping[str, str] = field(default_factory=dict)


def train(
    given: TrainingInput, counted: Mapping[str, Ints], recorded: RecordedFigures | None
) -> Trained:
    """Step by the counted updates (int64[d] by address, in roster order), none longer than others
    make plausible, then let the public rows judge where it is time.

    Raises:
        ReplayMismatch: `recorded` figures are beyond their tolerance.
    """
    task, history, number = given.task, given.history, given.number
    steps = steps_of(task, given.family, given.roster, history.surveys)
    clips = norm_clips(
        task,
        number,
        counted,
        steps.sizes(),
        recorded=None if recorded is None else recorded.norm_clips,
    )
    counted = steps.hear(clipped_updates(counted, clips))
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
    return Trained(encode_state(state), after, clips, verdict, reasons)


def _advance_all(
    given: TrainingInput, steps: Steps, counted: Mapping[str, Ints], state: Ints
) -> tuple[dict[str, Displacement], dict[str, Displacement], Displacement | None]:
    """Everybody's displacement after the round: since round 1, to be judged, of noise players."""
    task, number, history = given.task, given.number, given.history
    release = release_of(task, number)
    place = {address: index for index, address in enumerate(given.roster)}
    addresses, noise = list(history.displacements), history.noise
    if training_round(task, number) > max(task.aggregation.judge_rounds, default=0):
        noise = None
    sent = np.zeros((len(addresses), task.model.parameters))
    for row, address in enumerate(addresses):
        if address in counted:
            sent[row] = update_to_float(release, counted[address])
    voices = [place[address] for address in addresses]
    if noise is not None:
        hum = noise_updates(task, task.digest(), round_number=number)
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
    given: TrainingInput,
    state: Ints,
    displacements: Mapping[str, Displacement],
    noise: Displacement | None,
    recorded: RecordedFigures | None,
) -> Verdict | None:
    task, number = given.task, given.number
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
