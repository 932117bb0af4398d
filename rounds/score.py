# SPDX-License-Identifier: Apache-2.0
"""What each contributor's updates were worth, stretch by stretch.

A stretch is the rounds of one checkpoint. At its start every displacement is 0 again. A coalition's
model is what the recorded model would be had only its members sent updates: the recorded model at
the stretch's end, minus everybody's displacement, plus the members'. So what was published before
(ridge and momentum of it included) is in every coalition. So is the public member: in each round it
moves by its exact clipped gradient sum on the public rows at the round's base, without noise.

The value of a coalition is minus the mean squared error in the standardised target. The kernel
family has the closed form; other models are enumerated up to 14 contributors, sampled above.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dao.records import RoundRecord, StretchScores, Task
from privacy.engine import clipped_sum
from privacy.mechanism import clip_norm
from rewards.shapley import (
    EXACT_PLAYERS,
    Coalitions,
    exact_shapley,
    quadratic_joiners,
    quadratic_shapley,
    sampled_shapley,
)
from rounds.coalition import model_values, module_outputs
from rounds.judge import judged_out_in, noise_updates, to_pico
from rounds.phases import gradient_scale, kind_of, release_of
from rounds.rules import noise_voices
from rounds.state import Floats, decode_state, decode_update, state_to_float, update_to_float
from rounds.step import PUBLIC, Displacement, Moving, Steps, advance_together
from valuation.family import Family, JudgeRows, Prepared

SAMPLED_PERMUTATIONS = 128
"""Permutations drawn above `EXACT_PLAYERS`, each walked both ways."""

JudgedOn = Literal["sealed-rows", "public-rows", "nothing"]


@dataclass(frozen=True)
class ScoredRound:
    """A recorded round with bytes: its base, its model, and the counted updates by address."""

    record: RoundRecord
    base_state: bytes
    model: bytes
    updates: Mapping[str, bytes]


@dataclass(frozen=True)
class StretchMoves:
    """Displacements of theta over one stretch.

    `base` float64[d] is the empty coalition's model, public member included; `members` [K, d] and
    `noise` [M, d] are what contributors (roster order) and noise players add.
    """

    base: Floats
    members: Floats
    noise: Floats


@dataclass(frozen=True)
class ScoredStretch:
    """Scores of a stretch, and their standard errors (all 0 unless sampled), float64[K]."""

    scores: StretchScores
    standard_errors: Floats


def surveys_of(task: Task, rounds: Sequence[ScoredRound]) -> dict[str, Floats]:
    """Counts of the surveys that were counted, by address; none in a task without a survey."""
    found = {}
    for each in rounds:
        number = each.record.position.round
        if kind_of(task, number) == "survey":
            release = release_of(task, number)
            for address in (receipt.body.contributor for receipt in each.record.receipts):
                update = decode_update(release, each.updates[address])
                found[address] = update_to_float(release, update)
    return found


def judging_rows(family: Family, sealed: Prepared | None) -> tuple[JudgedOn, JudgeRows | None]:
    """The rows that decide: opened sealed rows, else public rows, else nothing."""
    if sealed is not None and sealed.residual is not None and len(sealed.residual) > 0:
        return "sealed-rows", JudgeRows(
            inputs=sealed.inputs, offset=sealed.offset, residual=sealed.residual
        )
    rows = family.judge_rows()
    return ("nothing", None) if rows is None else ("public-rows", rows)


def score_stretch(
    task: Task,
    family: Family,
    steps: Steps,
    roster: Sequence[str],
    rounds: Sequence[ScoredRound],
    rows: JudgeRows | None,
) -> ScoredStretch:
    """Scores of one stretch in roster order; all 0 where no rows judge. `steps` as of
    `rounds.rules.steps_of`, with the surveys of the task (`surveys_of`)."""
    players = task.aggregation.noise_players
    if rows is None:
        values, errors, noise = np.zeros(len(roster)), np.zeros(len(roster)), np.zeros(players)
    else:
        moves = stretch_moves(task, family, steps, roster, rounds)
        values, errors, noise = _values(task, family, moves, rows, rounds[0].record)
    return ScoredStretch(
        scores=StretchScores(
            first_round=rounds[0].record.position.round,
            last_round=rounds[-1].record.position.round,
            scores_pico=tuple(to_pico(float(value)) for value in values),
            noise_scores_pico=tuple(to_pico(float(value)) for value in noise),
        ),
        standard_errors=errors,
    )


def stretch_moves(
    task: Task,
    family: Family,
    steps: Steps,
    roster: Sequence[str],
    rounds: Sequence[ScoredRound],
) -> StretchMoves:
    """How far everybody moved theta over consecutive rounds, by the steps as they were taken."""
    members = Displacement.zero(task, many=len(roster))
    noise = Displacement.zero(task, many=task.aggregation.noise_players)
    public, voices = Displacement.zero(task, many=1), noise_voices(task, len(roster))
    public_rows = family.judge_rows()
    for each in rounds:
        number, digest = each.record.position.round, each.record.position.task_digest
        if kind_of(task, number) != "train":
            continue
        release = release_of(task, number)
        state_after = decode_state(task, each.model)
        sent = np.zeros((len(roster), task.model.parameters))
        for receipt in each.record.receipts:
            address = receipt.body.contributor
            update = decode_update(release, each.updates[address])
            sent[roster.index(address)] = update_to_float(release, update)
        gradient = np.zeros(task.model.parameters)
        if public_rows is not None:
            base = state_to_float(task, decode_state(task, each.base_state)[0])
            gradient = _public_gradient(task, family, public_rows, base)
        groups = (
            Moving(members, sent, range(len(roster))),
            Moving(noise, noise_updates(task, digest, round_number=number), voices),
            Moving(public, gradient[None, :], (PUBLIC,)),
        )
        members, noise, public = advance_together(
            steps, groups, number=number, state_after=state_after
        )
        for address in judged_out_in(each.record):
            _forget(members, roster.index(address))
    end = state_to_float(task, decode_state(task, rounds[-1].model)[0])
    base = end - np.sum(members.phi, axis=0) + public.phi[0]
    return StretchMoves(base=base, members=members.phi, noise=noise.phi)


def _values(
    task: Task, family: Family, moves: StretchMoves, rows: JudgeRows, first: RoundRecord
) -> tuple[Floats, Floats, Floats]:
    """Scores [K], their standard errors [K], noise scores [M]."""
    module = family.module(moves.base)
    players = len(moves.members)
    if task.model.family == "kernel":
        residual = rows.residual - module_outputs(module, moves.base[None, :], rows.inputs)[0]
        effects = moves.members @ rows.inputs.T
        noise = quadratic_joiners(residual, effects, moves.noise @ rows.inputs.T)
        return quadratic_shapley(residual, effects), np.zeros(players), noise

    def value(coalitions: Coalitions) -> Floats:
        return values_of(moves.base + coalitions.astype(np.float64) @ moves.members)

    def values_of(thetas: Floats) -> Floats:
        return model_values(module, thetas, rows)

    if players <= EXACT_PLAYERS:
        scores, standard_errors = exact_shapley(value, players), np.zeros(players)
    else:
        seed = hashlib.sha256(
            bytes.fromhex(first.position.task_digest)
            + b"covalue.permutations.v1"
            + first.position.round.to_bytes(8, "big")
        ).digest()
        scores, standard_errors = sampled_shapley(
            value, players, seed=seed, permutations=SAMPLED_PERMUTATIONS
        )
    everybody = moves.base + np.sum(moves.members, axis=0)
    ends = values_of(np.stack((moves.base, everybody)))
    alone = values_of(moves.base + moves.noise) - ends[0]
    last = values_of(everybody + moves.noise) - ends[1]
    return scores, standard_errors, 0.5 * (alone + last)


def _public_gradient(task: Task, family: Family, rows: JudgeRows, theta: Floats) -> Floats:
    """What the public rows would send in a round without noise, each row a unit of its own: the sum
    of clipped gradients, times how often a unit is expected in the round's samples."""
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


def _forget(displacement: Displacement, index: int) -> None:
    """Start one player again from 0: what it did is taken back, or belongs to everybody."""
    displacement.phi[index] = 0.0
    if displacement.momentum is not None:
        displacement.momentum[index] = 0.0
