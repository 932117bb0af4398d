# SPDX-License-Identifier: Apache-2.0
"""How much of an update is heard: no more than what the others' lengths make plausible.

The bound that excludes an update (`rounds.exclusion`) knows only how many units anybody may bring,
so it lies some hundred times above what honest updates need: gradients of a unit point in many
directions and fade as the model learns, while an attacker's need not. What honest contributors send
beyond their noise is, per unit, much alike. So in every training round, with u_k what contributor k
sent, s^2 d the noise expected in it and n_k how many units its survey claims (1 where a task has no
survey),

    x_k = |u_k|^2 - s^2 d               what is left without the noise
    q   = s^2 sqrt(2 d)                 a deviation of |noise|^2
    m   = the lower median over the counted of sqrt(max(0, x_k + q)) / n_k
    most_k = s^2 d + 6 q + (n_k min(f m, D))^2

f being the task's `median_norm_factor`, D what one unit can add (no bound without a survey, where
n_k is no number of units). An update longer than sqrt(most_k) is shortened to that length: clipped
to the median norm, by size. How much of it is kept is recorded in millionths, so the step follows
from integers; a replay must come within one millionth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from dao.errors import ReplayMismatch
from dao.records import NormClip, Task
from rounds.phases import release_of
from rounds.state import Floats, Ints, update_to_float

WHOLE_MICRO = 1_000_000
STEP_MICRO = 1
"""Two figures for what is kept of the same update differ by at most this much."""
_QUANTILE = 6.0
"""Deviations by which the noise of an update may be longer than expected (below 1e-8)."""


def norm_clips(
    task: Task,
    number: int,
    counted: Mapping[str, Ints],
    sizes: Mapping[str, float] | None,
    *,
    recorded: tuple[NormClip, ...] | None = None,
) -> tuple[NormClip, ...]:
    """Whose updates are shortened in a training round, in the order of `counted`.

    Args:
        counted: int64[d] by address, in steps of the round's grid.
        sizes: units that each contributor may have, by address; None without a survey.
        recorded: what a record says; it is returned where it agrees.

    Raises:
        ReplayMismatch: a recorded share is off by more than one millionth, or `recorded` names who
            does not count, or not in the order of `counted`.
    """
    kept = _kept_micro(task, number, counted, sizes)
    if recorded is None:
        return tuple(
            NormClip(contributor=address, kept_micro=micro)
            for address, micro in kept.items()
            if micro < WHOLE_MICRO
        )
    said = {each.contributor: each.kept_micro for each in recorded}
    place = f"round {number}, norm_clips"
    named, order = [each.contributor for each in recorded], [each for each in kept if each in said]
    if named != order:
        raise ReplayMismatch(place=place, recorded=str(named), recomputed=str(order))
    for address, micro in kept.items():
        if abs(said.get(address, WHOLE_MICRO) - micro) > STEP_MICRO:
            raise ReplayMismatch(
                place=f"{place} of {address}",
                recorded=f"{said.get(address, WHOLE_MICRO)} millionths kept",
                recomputed=f"{micro} millionths kept",
            )
    return recorded


def clipped_updates(counted: Mapping[str, Ints], clips: tuple[NormClip, ...]) -> dict[str, Ints]:
    """int64[d] by address: updates as the step hears them, rint(u * (kept_micro / 1e6))."""
    kept = {each.contributor: each.kept_micro / 1e6 for each in clips}
    return {
        address: np.rint(update * kept[address]).astype(np.int64) if address in kept else update
        for address, update in counted.items()
    }


def _kept_micro(
    task: Task, number: int, counted: Mapping[str, Ints], sizes: Mapping[str, float] | None
) -> dict[str, int]:
    if not counted:
        return {}
    release = release_of(task, number)
    squares = np.array([_square(update_to_float(release, each)) for each in counted.values()])
    units = np.array([1.0 if sizes is None else sizes[address] for address in counted])
    noise = release.deviation**2 * release.length
    swing = release.deviation**2 * math.sqrt(2.0 * release.length)
    per_unit = np.sqrt(np.maximum(0.0, squares - noise + swing)) / units
    median = float(np.sort(per_unit)[(len(per_unit) - 1) // 2])
    most = task.aggregation.median_norm_factor_micro / 1e6 * median
    if sizes is not None:
        most = min(most, release.sensitivity)
    longest = np.sqrt(noise + _QUANTILE * swing + (units * most) ** 2)
    lengths = np.sqrt(squares)
    return {
        address: WHOLE_MICRO if length <= bound else math.floor(WHOLE_MICRO * (bound / length))
        for address, length, bound in zip(counted, lengths.tolist(), longest.tolist(), strict=True)
    }


def _square(numbers: Floats) -> float:
    return float(np.dot(numbers, numbers))
