# SPDX-License-Identifier: Apache-2.0
"""What kind of round a number stands for, and what an update of it is.

A task's rounds are, in this order: a survey where the aggregation rule asks for one, the training
rounds, and a calibration where the task has one. Survey and calibration leave the model as it is.
"""

from __future__ import annotations

import math
from typing import Literal

from dao.errors import TaskError
from dao.records import DpEvent, Task
from privacy.mechanism import Release, clip_norm, least_grid_bits, noise_deviation

RoundKind = Literal["survey", "train", "calibrate"]

_UNIT_NANO = 1_000_000_000
"""One unit counts at most 1 in a histogram: its clip norm, in 1e-9."""


def kind_of(task: Task, number: int) -> RoundKind:
    """The kind of a round counted from 1. TaskError where the task has no such round."""
    if not 1 <= number <= task.total_rounds:
        raise TaskError(f"round {number}: the task has {task.total_rounds} rounds")
    training = training_round(task, number)
    if training < 1:
        return "survey"
    return "train" if training <= task.policy.rounds else "calibrate"


def training_round(task: Task, number: int) -> int:
    """Which training round a round is, from 1; outside 1..policy.rounds it is none."""
    return number - int(task.policy.survey_noise_micro > 0)


def release_of(task: Task, number: int) -> Release:
    """Length, sensitivity, noise and grid of an update of this round."""
    kind, policy = kind_of(task, number), task.policy
    if kind == "train":
        steps = 1 if policy.sampling is None else policy.sampling.steps
        return Release(
            length=task.model.parameters,
            sensitivity=clip_norm(policy) * steps,
            deviation=noise_deviation(policy) * math.sqrt(steps),
            grid_bits=task.model.update_grid_bits,
        )
    if kind == "survey":
        length, noise_micro = task.aggregation.survey_cells, policy.survey_noise_micro
    else:
        if task.calibration is None:
            raise TaskError("the policy pays for a calibration that the task does not describe")
        length = task.calibration.groups * (len(task.calibration.edges_micro) + 1)
        noise_micro = policy.calibration_noise_micro
    deviation = noise_micro / 1e6
    return Release(
        length=length,
        sensitivity=1.0,
        deviation=deviation,
        grid_bits=least_grid_bits(deviation),
    )


def event_of(task: Task, number: int, *, seeded: bool) -> DpEvent:
    """What the receipt of an update of this round states."""
    kind, policy = kind_of(task, number), task.policy
    if kind == "train":
        return DpEvent(
            mechanism=policy.mechanism,
            clip_norm_nano=policy.clip_norm_nano,
            noise_multiplier_micro=policy.noise_multiplier_micro,
            sampling=policy.sampling,
            seeded=seeded,
        )
    noise = policy.survey_noise_micro if kind == "survey" else policy.calibration_noise_micro
    return DpEvent(
        mechanism="gaussian-histogram",
        clip_norm_nano=_UNIT_NANO,
        noise_multiplier_micro=noise,
        sampling=None,
        seeded=seeded,
    )


def gradient_scale(task: Task) -> float:
    """By how much a training round's sum of updates is divided: N, times the expected share of
    units over all local steps where they are sampled."""
    n, sampling = float(task.policy.public_n), task.policy.sampling
    return n if sampling is None else n * (sampling.rate_micro / 1e6) * sampling.steps
