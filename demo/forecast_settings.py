# SPDX-License-Identifier: Apache-2.0
"""What a forecast varies: how many contributors, how much noise, how many rounds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from dao.errors import InputError
from dao.records import Task
from privacy.accounting import SURVEY_SHARE, epsilon_of_mu
from valuation.blueprint import training_rounds
from valuation.calibration import coverage_deviation, layout_of
from valuation.metrics import AS_GOOD
from valuation.taskfile import TaskFile

MOST_CONTRIBUTORS = 10_000
MOST_ROUNDS = 10_000
MOST_SETTINGS = 200
SURE_COVERAGE = 0.015
"""Standard deviation of the intervals' coverage from which the reader is warned."""


@dataclass(frozen=True)
class Setting:
    """One task to try: of `epsilon` and `noise_multiplier` exactly one is given."""

    contributors: int
    rounds: int
    epsilon: float | None
    noise_multiplier: float | None


def settings_of(
    taskfile: TaskFile,
    *,
    contributors: Sequence[int] = (),
    epsilons: Sequence[float] = (),
    noises: Sequence[float] = (),
    rounds: Sequence[int] = (),
) -> tuple[Setting, ...]:
    """Every combination; where nothing is given, what the task file says.

    Raises:
        InputError: a number out of range, epsilons and noise multipliers together, or more
            combinations than anybody would wait for.
    """
    if epsilons and noises:
        raise InputError(
            "both epsilon and noise multiplier were given", hint="One follows from the other."
        )
    for name, values, most in (
        ("contributors", contributors, MOST_CONTRIBUTORS),
        ("rounds", rounds, MOST_ROUNDS),
    ):
        for value in values:
            if not 1 <= value <= most:
                raise InputError(f"{name}: {value}, expected 1 to {most}")
    for name, amounts in (("epsilon", epsilons), ("noise", noises)):
        for amount in amounts:
            if not (math.isfinite(amount) and amount > 0):
                raise InputError(f"{name}: {amount:g}, expected a number above 0")
    privacy = taskfile.privacy
    protection: list[tuple[float | None, float | None]]
    if epsilons or noises:
        protection = [(epsilon, None) for epsilon in epsilons]
        protection += [(None, noise) for noise in noises]
    else:
        protection = [(privacy.epsilon, privacy.noise_multiplier)]
    found = [
        Setting(contributors=count, rounds=length, epsilon=epsilon, noise_multiplier=noise)
        for count, (epsilon, noise), length in itertools.product(
            dict.fromkeys(contributors or [expected_contributors(taskfile)]),
            dict.fromkeys(protection),
            dict.fromkeys(rounds or [training_rounds(taskfile)]),
        )
    ]
    if len(found) > MOST_SETTINGS:
        raise InputError(
            f"{len(found)} combinations, expected at most {MOST_SETTINGS}",
            hint="Vary fewer things at once.",
        )
    return tuple(found)


def expected_contributors(taskfile: TaskFile) -> int:
    """How many the task file plans for."""
    return taskfile.privacy.expected_contributors or taskfile.terms.min_contributors


def taskfile_at(taskfile: TaskFile, setting: Setting) -> TaskFile:
    """The task file with a setting's numbers.

    More contributors than a task on chain admits are taken too: nothing in training forbids them.
    Judging rounds are the default ones where the number of rounds is another. A noise multiplier is
    that of training alone, so there is no calibration beside it; in a task with a survey it stands
    for the epsilon that leaves training so much noise.
    """
    epsilon, noise = setting.epsilon, setting.noise_multiplier
    if noise is not None and taskfile.aggregation.rule == "wiener":
        mu = math.sqrt(setting.rounds) / noise / math.sqrt(1.0 - SURVEY_SHARE**2)
        epsilon, noise = epsilon_of_mu(mu, taskfile.privacy.delta), None
    privacy = taskfile.privacy.model_copy(
        update={
            "expected_contributors": setting.contributors,
            "rounds": setting.rounds,
            "epsilon": epsilon,
            "noise_multiplier": noise,
        }
    )
    aggregation = taskfile.aggregation
    if setting.rounds != taskfile.privacy.rounds:
        aggregation = aggregation.model_copy(update={"judge_rounds": None})
    changes: dict[str, object] = {"privacy": privacy, "aggregation": aggregation}
    if noise is not None:
        changes["calibration"] = None
    return taskfile.model_copy(update=changes)


def remarks(task: Task, setting: Setting, *, units: int, gain: float) -> tuple[str, ...]:
    """What a reader should know before believing the figures of this setting.

    Args:
        units: how many take part.
        gain: how far training raises R2 on the test rows.
    """
    found = []
    n, most = task.policy.public_n, task.terms.max_contributors
    if not 0.75 * n <= units <= 1.25 * n:
        found.append(
            f"the task expects {n} units, here are {units}: its steps are made for the former; set "
            "public_n to what contributors will bring"
        )
    if setting.contributors > most:
        found.append(f"{setting.contributors} contributors: the task admits at most {most}")
    uncertain = _coverage_deviation(task, setting, units)
    if uncertain > SURE_COVERAGE:
        found.append(
            f"few units calibrate: the coverage of one task's intervals varies by {uncertain:.3f} "
            "(one standard deviation) about what is promised"
        )
    if gain < -AS_GOOD:
        instead = "another family (covalue task new --family mlp), fewer categories, or more units"
        if task.policy.sampling is not None:
            instead = "rounds on all units (without [privacy.sampling]), or a larger epsilon"
        found.append(
            f"training ends {-gain:.3f} of R2 below where it starts: do not open this task; try "
            + instead
        )
    return tuple(found)


def _coverage_deviation(task: Task, setting: Setting, units: int) -> float:
    """Of the share that a 90 % interval covers, from one task to the next; 0 without intervals."""
    if task.calibration is None:
        return 0.0
    noise = task.policy.calibration_noise_micro / 1e6
    calibrating = units * task.calibration.share_micro / 1e6
    layout = layout_of(task.calibration)
    return coverage_deviation(layout, calibrating, setting.contributors * noise**2)
