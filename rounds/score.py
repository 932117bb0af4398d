# SPDX-License-Identifier: Apache-2.0
"""What each contributor's updates were worth, stretch by stretch.

A stretch is the rounds of one checkpoint (`rounds.stretch`). The value of a coalition is minus the
mean squared error in the standardised target. The kernel family has the closed form; other models
are enumerated up to 14 contributors, sampled above. Those who harmed are left out first
(`rounds.harm`), and beside each score stands what noise alone would score in that contributor's
name (`rounds.noise_scores`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dao.records import SeedBlock, StretchScores, Task
from rewards.shapley import (
    EXACT_PLAYERS,
    Coalitions,
    exact_shapley,
    quadratic_shapley,
    sampled_shapley,
)
from rounds.coalition import coalition_values, model_values, module_outputs
from rounds.games import CurvedGame, Game, QuadraticGame
from rounds.harm import Harmless, drop_harmful
from rounds.judge import to_pico
from rounds.noise_scores import NoiseScores, QuadraticValue, linear_noise, simulated_noise
from rounds.phases import kind_of, release_of
from rounds.seeds import NOISE_PLAYERS, NOISE_PROBES, PERMUTATIONS, stretch_seed
from rounds.state import Floats, decode_update, update_to_float
from rounds.stretch import ScoredRound, Stretch, StretchMoves, noise_walk, stretch_moves
from valuation.family import Family, JudgeRows, Prepared

SAMPLED_PERMUTATIONS = 128
"""Permutations drawn above `EXACT_PLAYERS`, each walked both ways."""

JudgedOn = Literal["sealed-rows", "public-rows", "nothing"]


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
    stretch: Stretch,
    rows: JudgeRows | None,
    block: SeedBlock,
    *,
    dropped: Sequence[int] | None = None,
    place: str = "",
) -> StretchScores:
    """Scores of one stretch in roster order; all 0 where no rows judge.

    Args:
        block: what random draws follow from.
        dropped: whom a record left out; a replay follows it.
        place: of the record, for messages.

    Raises:
        ReplayMismatch: as `rounds.harm.drop_harmful`.
    """
    nothing = np.zeros(len(stretch.roster))
    found = _Scores((), nothing, nothing, NoiseScores(nothing, nothing))
    if rows is not None and stretch.training:
        moves = stretch_moves(stretch)
        score = _quadratic if stretch.task.model.family == "kernel" else _curved

        def harmless(game: Game) -> Harmless:
            return drop_harmful(game, len(stretch.roster), recorded=dropped, place=place)

        def seed(label: bytes) -> bytes:
            return stretch_seed(stretch, block, label=label)

        found = score(stretch, moves, rows, harmless, seed)
    return StretchScores(
        first_round=stretch.rounds[0].record.position.round,
        last_round=stretch.rounds[-1].record.position.round,
        seed=block,
        scores_pico=_pico(found.scores),
        standard_errors_pico=_pico(found.standard_errors),
        dropped=found.dropped,
        noise_means_pico=_pico(found.noise.means),
        noise_deviations_pico=_pico(found.noise.deviations),
    )


@dataclass(frozen=True)
class _Scores:
    """Who was dropped; of each contributor its score [K] and the score's standard error [K]; and
    what noise scores."""

    dropped: tuple[int, ...]
    scores: Floats
    standard_errors: Floats
    noise: NoiseScores


def _quadratic(
    stretch: Stretch,
    moves: StretchMoves,
    rows: JudgeRows,
    harmless: Callable[[Game], Harmless],
    seed: Callable[[bytes], bytes],
) -> _Scores:
    """Of a linear model, in closed form."""
    module = stretch.family.module(moves.base)
    residual = rows.residual - module_outputs(module, moves.base[None, :], rows.inputs)[0]
    effects = moves.members @ rows.inputs.T
    found = harmless(QuadraticGame(residual, effects))
    left, scores = list(found.left), found.scores.copy()
    scores[left] = quadratic_shapley(residual, effects[left])
    numbers = [each.record.position.round for each in stretch.training]
    noise = linear_noise(
        stretch.steps,
        QuadraticValue(rows.inputs, residual, np.sum(effects[left], axis=0)),
        contributors=len(effects),
        numbers=numbers,
        deviation=release_of(stretch.task, numbers[0]).deviation,
        seed=seed(NOISE_PROBES),
    )
    return _Scores(found.dropped, scores, np.zeros(len(effects)), noise)


def _curved(
    stretch: Stretch,
    moves: StretchMoves,
    rows: JudgeRows,
    harmless: Callable[[Game], Harmless],
    seed: Callable[[bytes], bytes],
) -> _Scores:
    """Of any other model: coalitions are evaluated, all of them or drawn ones."""
    module = stretch.family.module(moves.base)

    def values_of(thetas: Floats) -> Floats:
        return model_values(module, thetas, rows)

    found = harmless(CurvedGame(values_of, base=moves.base, members=moves.members))
    left, scores, errors = list(found.left), found.scores.copy(), np.zeros(len(moves.members))
    members = moves.members[left]

    def value(coalitions: Coalitions) -> Floats:
        return values_of(moves.base + coalitions.astype(np.float64) @ members)

    if len(left) <= EXACT_PLAYERS:
        scores[left] = exact_shapley(coalition_values(module, moves.base, members, rows))
    else:
        scores[left], errors[left] = sampled_shapley(
            value,
            len(left),
            seed=seed(PERMUTATIONS),
            permutations=SAMPLED_PERMUTATIONS,
        )
    noise = simulated_noise(
        values_of,
        empty=moves.base,
        full=moves.base + np.sum(members, axis=0),
        players=noise_walk(stretch, seed(NOISE_PLAYERS)),
        contributors=len(scores),
    )
    return _Scores(found.dropped, scores, errors, noise)


def _pico(values: Floats) -> tuple[int, ...]:
    return tuple(to_pico(float(value)) for value in values)
