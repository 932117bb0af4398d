# SPDX-License-Identifier: Apache-2.0
"""Public rows judge in mid-task: who harms more than simulated noise does is excluded.

With q_i the effect of contributor i's displacement on the predictions for the public rows, and r0
what the base (nobody's displacement) leaves unexplained there, the value of a coalition is minus
its mean squared error, and i's Shapley value is s_i = (1/n) (2 <r0, q_i> - <q_i, sum_j q_j>).

For a module that is not linear (adam) the displacements are those since the last judgement, and i's
score is the mean of what it adds to the base and to everybody else, by models evaluated in full.

A noise player sends N(0, (sigma C)^2) in every round; its score is the one that it would have
alone on the base, so that no contributor can move it. The floor is `judge_noise_factor` times the
worst noise score (0 where even that one is above 0). While somebody is below it, the one with the
lowest score is excluded and the others are judged again without it: whoever drags the model far
off makes everybody else look bad for as long as it counts.

Scores are float sums and may differ in the last digits between processors, so they are recorded.
A replay must find each within `tolerance_pico`, and the exclusions follow from the recorded ones.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dao.errors import ReplayMismatch
from dao.records import Judgement, RoundRecord, Task
from privacy.mechanism import to_grid
from privacy.noise import public_gaussian
from rounds.coalition import model_values, module_outputs
from rounds.games import CurvedGame, Game, QuadraticGame
from rounds.phases import release_of
from rounds.state import Floats, update_to_float
from rounds.step import Displacement
from valuation.family import Family, JudgeRows

PICO = 1e12
SCORE_STEP_PICO = 1_000
"""Two scores of the same thing differ by at most this much plus 1e-6 of the larger."""
_LARGEST_PICO = 2**53 - 1


@dataclass(frozen=True)
class Verdict:
    """`judgements` of all who were judged, in their order; `out` are those below the floor."""

    judgements: tuple[Judgement, ...]
    floor_pico: int
    out: tuple[str, ...]


def judged_out_in(record: RoundRecord) -> tuple[str, ...]:
    """Whom this round's judge excluded: exactly those with a recorded score below the floor."""
    floor = record.judge_floor_pico
    return tuple(
        each.contributor
        for each in record.judgements
        if floor is not None and each.score_pico < floor
    )


def noise_updates(task: Task, source: str, *, round_number: int) -> Floats:
    """float64[M, d]: what the simulated noise players send in a round, on the update grid.

    Player p's samples are `public_gaussian` of SHA-256(source (32 bytes, given in hex) |
    "covalue.noise-player.v1" | round (8 bytes, big endian) | p (8 bytes, big endian)). The judge's
    source is the task's digest; that of scores follows from the chain (`rounds.seeds`).
    """
    players, release = [], release_of(task, round_number)
    for player in range(task.aggregation.noise_players):
        seed = hashlib.sha256(
            bytes.fromhex(source)
            + b"covalue.noise-player.v1"
            + round_number.to_bytes(8, "big")
            + player.to_bytes(8, "big")
        ).digest()
        samples = release.deviation * public_gaussian(seed, release.length)
        players.append(to_grid(samples, bits=release.grid_bits))
    return update_to_float(release, np.stack(players))


def judge(
    task: Task,
    family: Family,
    rows: JudgeRows,
    *,
    theta: Floats,
    displacements: Mapping[str, Displacement],
    noise: Displacement,
    recorded: tuple[tuple[Judgement, ...], int] | None = None,
    place: str = "",
) -> Verdict:
    """Judge the contributors whose displacements stand in theta (float64[d]).

    With `recorded` (judgements and floor of a record) the recorded integers decide, after each
    was found within the tolerance; else ReplayMismatch, naming `place`.
    """
    addresses = list(displacements)
    phis = np.stack([displacements[address].phi for address in addresses])  # [K, d]
    if task.optimiser.kind == "newton":
        game, alone = _linear_game(family, rows, theta, phis, noise.phi)
    else:
        game, alone = _curved_game(family, rows, theta, phis, noise.phi)
    worst = min(0.0, float(np.min(alone)))
    floor = to_pico(worst * (task.aggregation.judge_noise_factor_micro / 1e6))
    fixed = None
    if recorded is not None:
        fixed = {each.contributor: each.score_pico for each in recorded[0]}
        if list(fixed) != addresses:
            raise ReplayMismatch(
                place=f"{place}judgements", recorded=str(list(fixed)), recomputed=str(addresses)
            )
        check_pico(floor, recorded[1], place=f"{place}judge_floor_pico")
        floor = recorded[1]
    scores, out = _drop_worst(addresses, game, floor, fixed)
    if fixed is not None:
        for index, address in enumerate(addresses):
            check_pico(scores[address], fixed[address], place=f"{place}judgements[{index}]")
        scores = fixed
    return Verdict(
        judgements=tuple(
            Judgement(contributor=address, score_pico=scores[address]) for address in addresses
        ),
        floor_pico=floor,
        out=tuple(address for address in addresses if address in out),
    )


def _linear_game(
    family: Family, rows: JudgeRows, theta: Floats, phis: Floats, noise: Floats
) -> tuple[Game, Floats]:
    """Closed form, and each noise player's value alone."""
    effects = np.stack([family.displacement_effect(rows.inputs, theta, phi) for phi in phis])
    output = module_outputs(family.module(theta), theta[None, :], rows.inputs)[0]
    base_residual = rows.residual - output + np.sum(effects, axis=0)
    hum = np.stack([family.displacement_effect(rows.inputs, theta, phi) for phi in noise])
    alone = np.sum(hum * (2.0 * base_residual - hum), axis=1) / len(rows.residual)
    return QuadraticGame(base_residual, effects), alone


def _curved_game(
    family: Family, rows: JudgeRows, theta: Floats, phis: Floats, noise: Floats
) -> tuple[Game, Floats]:
    """By models that are evaluated in full."""
    module, base = family.module(theta), theta - np.sum(phis, axis=0)

    def values_of(thetas: Floats) -> Floats:
        return model_values(module, thetas, rows)

    values = values_of(np.vstack((base, base + noise)))
    return CurvedGame(values_of, base=base, members=phis), values[1:] - values[0]


def _drop_worst(
    addresses: list[str],
    game: Game,
    floor: int,
    fixed: Mapping[str, int] | None,
) -> tuple[dict[str, int], set[str]]:
    """Each one's score when it was dropped, or at the end; and who was dropped.

    With `fixed` scores those decide who is to be dropped, in the order of the recomputed ones.
    """
    scores: dict[str, int] = {}
    left = list(range(len(addresses)))
    while True:
        values = game.scores()
        for index in left:
            scores[addresses[index]] = to_pico(float(values[index]))
        below = [
            index
            for index in left
            if (scores[addresses[index]] if fixed is None else fixed[addresses[index]]) < floor
        ]
        if not below:
            return scores, set(addresses) - {addresses[i] for i in left}
        worst = min(below, key=lambda index: scores[addresses[index]])
        left.remove(worst)
        game.drop(worst)


def to_pico(value: float) -> int:
    """Nearest integer of 1e-12, held within +-(2^53 - 1); what is no number counts as the worst."""
    if math.isnan(value):
        return -_LARGEST_PICO
    scaled = value * PICO
    return round(max(-float(_LARGEST_PICO), min(float(_LARGEST_PICO), scaled)))


def tolerance_pico(recorded: int) -> int:
    """How far a recomputed score may lie from the recorded one."""
    return SCORE_STEP_PICO + abs(recorded) // 1_000_000


def check_pico(recomputed: int, recorded: int, *, place: str) -> None:
    """ReplayMismatch where a recomputed score is beyond the tolerance."""
    if abs(recomputed - recorded) > tolerance_pico(recorded):
        raise ReplayMismatch(place=place, recorded=str(recorded), recomputed=str(recomputed))
