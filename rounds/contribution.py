# SPDX-License-Identifier: Apache-2.0
"""What a contributor sends in a round, from its private rows: the functions by which vaults,
simulations, forecasts and the empirical privacy audit make an update."""

from __future__ import annotations

from dao.errors import TaskError
from dao.records import Task
from privacy.engine import Engine
from privacy.mechanism import clip_norm, encode_update, private_update
from privacy.noise import NoiseSource, SeededNoise
from privacy.sampling import UniformSource, sampled_update
from rounds.phases import kind_of, release_of
from rounds.state import Floats
from valuation.calibration import groups_of, residual_histogram
from valuation.difficulty import Difficulty
from valuation.family import Family, Prepared
from valuation.private_rows import CalibrationRows, PrivateRows
from valuation.unit_counts import survey_histogram


def contribution(
    task: Task,
    family: Family,
    rows: PrivateRows,
    theta: Floats,
    *,
    number: int,
    noise: NoiseSource,
) -> bytes:
    """The update of round `number` on parameters theta float64[d]: little-endian int64.

    TaskError where the task itself cannot be computed, never for data.
    """
    match kind_of(task, number):
        case "train":
            return training_update(task, family, rows.training, theta, number=number, noise=noise)
        case "calibrate":
            total = _residuals(task, family, rows.calibration, theta)
            return private_update(total, release_of(task, number), noise=noise)
        case "survey":
            release = release_of(task, number)
            if rows.survey is None:
                raise TaskError("the task has a survey, and the rows were prepared without it")
            counts = survey_histogram(
                rows.survey,
                rows.training.units,
                max_rows=task.unit.max_rows,
                length=release.length,
            )
            return private_update(counts, release, noise=noise)


def training_update(
    task: Task,
    family: Family,
    rows: Prepared,
    theta: Floats,
    *,
    number: int,
    noise: NoiseSource,
    engine: Engine | None = None,
) -> bytes:
    """The update of a training round, from training rows with residual. An `engine` of the family's
    module saves looking at the module again, where one model meets many contributors."""
    assert rows.residual is not None
    release, huber = release_of(task, number), task.model.huber_micro / 1e6 or None
    data = (rows.inputs, rows.residual, rows.units)
    max_rows = task.unit.max_rows
    if task.policy.sampling is not None:
        if not isinstance(noise, UniformSource):
            raise TaskError("this source of noise draws no samples of units")
        noisy = sampled_update(
            family.module,
            theta,
            *data,
            policy=task.policy,
            max_rows=max_rows,
            huber=huber,
            noise=noise,
            random=noise,
        )
        return encode_update(noisy, release)
    engine = engine or Engine(family.module(theta), rows.inputs.shape[1])
    total = engine.clipped_sum(
        theta,
        *data,
        clip_norm=clip_norm(task.policy),
        max_rows=max_rows,
        huber=huber,
    )
    return private_update(total, release, noise=noise)


def _residuals(task: Task, family: Family, rows: CalibrationRows | None, theta: Floats) -> Floats:
    """The histogram of what the model misses, float64[groups * bins]."""
    if task.calibration is None or rows is None:
        raise TaskError("the policy pays for a calibration that the task does not describe")
    prepared = rows.prepared
    assert prepared.residual is not None
    prediction = family.predict(prepared, theta)
    difficulty = Difficulty.of(family.process, task.target)
    difficulties = difficulty.at(rows.difficulty, prediction)
    return residual_histogram(
        task.calibration,
        residual=prepared.offset + prepared.residual - prediction,
        difficulty=difficulties,
        groups=groups_of(task.calibration, difficulty, difficulties, rows.locations),
        units=prepared.units,
        max_rows=task.unit.max_rows,
    )


def seeded_noise(seed: bytes, *, account: str, task_digest: str, number: int) -> SeededNoise:
    """What a vault with a fixed `noise_seed` draws in a round, so that a forecast can draw it too.

    Simulation and tests only: SHA-256 of seed "/" account "/" task digest "/" round is the key.
    """
    return SeededNoise(seed + f"/{account}/{task_digest}/{number}".encode())
