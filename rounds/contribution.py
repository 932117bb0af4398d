# SPDX-License-Identifier: Apache-2.0
"""What a contributor sends in a round, from its private rows: the one function by which vaults,
simulations, forecasts and the empirical privacy audit make an update."""

from __future__ import annotations

from dao.records import Task
from privacy.engine import clipped_sum
from privacy.mechanism import clip_norm, private_update
from privacy.noise import NoiseSource, SeededNoise
from rounds.phases import release_of
from rounds.state import Floats
from valuation.family import Family, Prepared


def contribution(
    task: Task,
    family: Family,
    rows: Prepared,
    theta: Floats,
    *,
    number: int,
    noise: NoiseSource,
) -> bytes:
    """The update of round `number` on parameters theta float64[d]: little-endian int64.

    `rows` need a residual. TaskError where the task itself cannot be computed, never for data.
    """
    assert rows.residual is not None
    total = clipped_sum(
        family.module(theta),
        rows.inputs,
        rows.residual,
        rows.units,
        clip_norm=clip_norm(task.policy),
        max_rows=task.unit.max_rows,
        huber=task.model.huber_micro / 1e6 or None,
    )
    return private_update(total, release_of(task, number), noise=noise)


def seeded_noise(seed: bytes, *, account: str, task_digest: str, number: int) -> SeededNoise:
    """What a vault with a fixed `noise_seed` draws in a round, so that a forecast can draw it too.

    Simulation and tests only: SHA-256 of seed "/" account "/" task digest "/" round is the key.
    """
    return SeededNoise(seed + f"/{account}/{task_digest}/{number}".encode())
