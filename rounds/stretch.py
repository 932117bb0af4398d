# SPDX-License-Identifier: Apache-2.0
"""Who moved the model how far, over the rounds of one checkpoint.

At a stretch's start every displacement is 0 again. A coalition's model is what the recorded model
would be had only its members sent updates: the recorded model at the stretch's end, minus
everybody's displacement, plus the members'. So what was published before (ridge and momentum of it
included) is in every coalition. So is the public member: in each round it moves by its exact
clipped gradient sum on the public rows at the round's base, without noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dao.records import Receipt, RoundRecord, Task
from privacy.engine import clipped_sum
from privacy.mechanism import clip_norm
from rounds.judge import judged_out_in, noise_updates
from rounds.phases import gradient_scale, kind_of
from rounds.state import Floats, decode_state, state_to_float
from rounds.step import PUBLIC, Displacement, Steps
from valuation.family import Family, JudgeRows

_NUMBERS_AT_ONCE = 4_000_000
"""Of updates that are weighed together: 32 MB."""


@dataclass(frozen=True)
class ScoredRound:
    """A recorded round with bytes: its base, its model, and by address the updates that were heard
    in its step."""

    record: RoundRecord
    base_state: bytes
    model: bytes
    updates: Mapping[str, bytes]

    @classmethod
    def read(cls, record: RoundRecord, content: Mapping[str, bytes]) -> ScoredRound:
        """From published bytes by SHA-256."""
        return cls(
            record=record,
            base_state=content[record.base_model.sha256],
            model=content[record.model.sha256],
            updates={
                receipt.body.contributor: content[receipt.body.update.sha256]
                for receipt in heard_receipts(record)
            },
        )


@dataclass(frozen=True)
class Stretch:
    """The recorded rounds of one checkpoint, and what moves their model.

    `roster` is in the order that the chain froze; `steps` are those of `rounds.rules.steps_of`,
    with the surveys of the task (`surveys_of`); `own` are the contributors' own parts in the rounds
    of `training`, float64[K, d] each (`rounds.own_parts.stretches_of`).
    """

    task: Task
    family: Family
    steps: Steps
    roster: Sequence[str]
    rounds: Sequence[ScoredRound]
    own: Sequence[Floats]

    @property
    def training(self) -> list[ScoredRound]:
        """The rounds that moved the model."""
        return [
            each
            for each in self.rounds
            if kind_of(self.task, each.record.position.round) == "train"
        ]


@dataclass(frozen=True)
class StretchMoves:
    """Displacements of theta over one stretch.

    `base` float64[d] is the empty coalition's model, public member included; `members` [K, d] is
    what contributors (roster order) add.
    """

    base: Floats
    members: Floats


def stretch_moves(stretch: Stretch) -> StretchMoves:
    """How far everybody moved theta over consecutive rounds, by the steps as they were taken."""
    task, roster = stretch.task, stretch.roster
    members = np.zeros((len(roster), task.model.parameters))
    many = max(1, _NUMBERS_AT_ONCE // (task.model.parameters * max(1, len(stretch.training))))
    for first in range(0, len(roster), many):
        places = range(first, min(first + many, len(roster)))
        members[first : first + many] = _walked(stretch, places)
    public = _public_walk(stretch)
    end = state_to_float(task, decode_state(task, stretch.rounds[-1].model)[0])
    return StretchMoves(base=end - np.sum(members, axis=0) + public, members=members)


def _walked(stretch: Stretch, places: range) -> Floats:
    """float64[k, d]: how far some contributors, by their places in the roster, moved theta."""
    task, steps, training = stretch.task, stretch.steps, stretch.training
    place_of = {stretch.roster[place]: row for row, place in enumerate(places)}
    sent = np.stack([own[places.start : places.stop] for own in stretch.own])
    flat = sent.reshape(-1, task.model.parameters)
    weighed = steps.weigh(flat, [*places] * len(training)).reshape(sent.shape)
    moved = Displacement.zero(task, many=len(places))
    for row, each in enumerate(training):
        moved = _advanced(stretch, moved, weighed[row], each)
        for address in judged_out_in(each.record):
            if address in place_of:
                moved.forget(place_of[address])
    return moved.phi


def heard_receipts(record: RoundRecord) -> list[Receipt]:
    """Of those who count, and of whom the round's own judge took out after the step."""
    judged = [each.receipt for each in record.exclusions if each.reason == "judged"]
    return [*record.receipts, *(receipt for receipt in judged if receipt is not None)]


def _public_walk(stretch: Stretch) -> Floats:
    """float64[d]: how far the public rows would have moved theta."""
    task, rows = stretch.task, stretch.family.judge_rows()
    moved = Displacement.zero(task, many=1)
    if rows is None:
        return np.zeros(task.model.parameters)
    for each in stretch.training:
        base = state_to_float(task, decode_state(task, each.base_state)[0])
        gradient = public_gradient(task, stretch.family, rows, base)
        weighed = stretch.steps.weigh(gradient[None, :], (PUBLIC,))
        moved = _advanced(stretch, moved, weighed, each)
    walked: Floats = moved.phi[0]
    return walked


def _advanced(
    stretch: Stretch, moved: Displacement, weighed: Floats, each: ScoredRound
) -> Displacement:
    """Displacements after one more recorded round."""
    return stretch.steps.advance(
        moved,
        weighed,
        number=each.record.position.round,
        state_after=decode_state(stretch.task, each.model),
    )


def noise_walk(stretch: Stretch, seed: bytes) -> Floats:
    """float64[M, d]: how far noise players simulated from a seed (32 bytes) move theta, each update
    weighed alike."""
    task = stretch.task
    moved = Displacement.zero(task, many=task.aggregation.noise_players)
    for each in stretch.training:
        number = each.record.position.round
        sent = noise_updates(task, seed.hex(), round_number=number)
        moved = _advanced(stretch, moved, sent, each)
    return moved.phi


def public_gradient(task: Task, family: Family, rows: JudgeRows, theta: Floats) -> Floats:
    """float64[d]: what the public rows would send in a round without noise, each row a unit of its
    own: the sum of clipped gradients, times how often a unit is expected in the round's samples."""
    often = gradient_scale(task) / task.policy.public_n
    return often * clipped_sum(
        family.module(theta),
        rows.inputs,
        rows.residual,
        np.arange(len(rows.residual)),
        clip_norm=clip_norm(task.policy),
        max_rows=1,
        huber=task.model.huber_micro / 1e6 or None,
    )
