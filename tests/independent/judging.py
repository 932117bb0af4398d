# SPDX-License-Identifier: Apache-2.0
"""The judge: scores on public rows, the floor of noise players, who falls (rounds.md §6)."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from scipy.special import ndtri

from tests.independent.facts import must
from tests.independent.families import JudgingRows, outputs
from tests.independent.rows import Array
from tests.independent.terms import Kind, Terms, near

Phis = dict[str, Array]


def public_noise(seed: bytes, length: int) -> Array:
    """Standard normals that anyone can draw, docs/spec/privacy.md §3."""
    words = np.frombuffer(hashlib.shake_256(seed).digest(8 * length), "<u8")
    found: Array = ndtri((2.0 * (words >> np.uint64(12)).astype(float) + 1) * 2.0**-53)
    return found


def player_update(task_digest: str, kind: Kind, number: int, player: int) -> Array:
    """What a noise player sends in a round, on the scale of an update."""
    seed = hashlib.sha256(
        bytes.fromhex(task_digest)
        + b"covalue.noise-player.v1"
        + number.to_bytes(8, "big")
        + player.to_bytes(8, "big")
    ).digest()
    z = public_noise(seed, kind.length)
    found: Array = np.rint(kind.noise * z * 2.0**kind.bits) * 2.0**-kind.bits
    return found


def _value(task: Any, rows: JudgingRows, theta: Array) -> float:
    return -float(((rows.residuals - outputs(task, theta, rows.inputs)) ** 2).mean())


def scores(terms: Terms, rows: JudgingRows, theta: Array, phis: Phis) -> dict[str, float]:
    """Score of each by its displacement; theta is the model with all of them."""
    total = sum(phis.values(), start=np.zeros_like(theta))
    if terms.adam:
        task, empty = terms.record, theta - total
        first, last = _value(task, rows, empty), _value(task, rows, theta)
        return {
            account: (
                _value(task, rows, empty + phi) - first + last - _value(task, rows, theta - phi)
            )
            / 2
            for account, phi in phis.items()
        }
    n, all_q = len(rows.residuals), rows.inputs @ total
    r0 = rows.residuals - rows.inputs @ theta + all_q
    found = {}
    for account, phi in phis.items():
        q = rows.inputs @ phi
        found[account] = float(2 * r0 @ q - q @ all_q) / n
    return found


def floor(terms: Terms, rows: JudgingRows, theta: Array, phis: Phis, players: list[Array]) -> float:
    """judge_noise_factor times the worst of the noise players alone on the base, or 0."""
    base = theta - sum(phis.values(), start=np.zeros_like(theta))
    alone = _value(terms.record, rows, base)
    worst = min((_value(terms.record, rows, base + phi) - alone for phi in players), default=0.0)
    return terms.record["aggregation"]["judge_noise_factor_micro"] / 1e6 * min(worst, 0.0)


def hold(
    terms: Terms,
    rows: JudgingRows,
    record: Any,
    theta: Array,
    phis: Phis,
    players: list[Array],
) -> set[str]:
    """Hold a record's judgements against the recomputed; returns who falls by the recorded ones."""
    place = f"round {record['position']['round']}"
    recorded = {each["contributor"]: each["score_pico"] for each in record["judgements"]}
    must(
        list(recorded) == list(phis), f"{place}, judgements", "not of all who are judged, in order"
    )
    least = record["judge_floor_pico"]
    must(least is not None, f"{place}, judge_floor_pico", "missing in a judge round")
    near(floor(terms, rows, theta, phis, players), least, f"{place}, judge_floor_pico")
    left, fallen = dict(phis), set()
    while left:
        found = scores(terms, rows, theta, left)
        # the recorded ones decide where a recomputed one lies within the tolerance
        lowest = min(found, key=lambda account: (found[account], account))
        if recorded[lowest] >= least:
            break
        near(found[lowest], recorded[lowest], f"{place}, judgement of {lowest}")
        fallen.add(lowest)
        theta = theta - left.pop(lowest)
    for account, score in (found if left else {}).items():
        near(score, recorded[account], f"{place}, judgement of {account}")
        must(recorded[account] >= least, f"{place}, judgement of {account}", "below the floor")
    return fallen
