# SPDX-License-Identifier: Apache-2.0
"""A task file with its public rows, checked: schema, policy and encoded rows. Fits nothing."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

import pandas as pd

from dao.errors import TaskError
from dao.records import Calibration, PrivacyPolicy, PrivacyUnit, Sampling
from valuation.encode import Encoded, encode
from valuation.process import MIN_ROWS
from valuation.rows import FrameCheck, check_frame, parse_csv
from valuation.schema import TableSchema, check_schema
from valuation.standard import standard_features, standard_target
from valuation.taskfile import TaskFile
from valuation.terms import calibration_of, sampling_of, survey_cells_of

DEFAULT_ROUNDS = {"kernel": 30, "mlp": 150}
BARE_ROUNDS = 300
"""Of the mlp without public rows, which has further to go."""


class NoisePlan(Protocol):
    """Noise of every kind of release, in 1e-6; 0 where there is none."""

    @property
    def noise_multiplier_micro(self) -> int:
        """Of training, in multiples of the clip norm."""

    @property
    def survey_noise_micro(self) -> int:
        """Deviation of a survey's counts."""

    @property
    def calibration_noise_micro(self) -> int:
        """Deviation of a calibration's counts."""


class Accounting(Protocol):
    """What is needed of `privacy.accounting` (valuation does not import privacy; its callers
    pass that module)."""

    def plan_noise(
        self,
        epsilon: float,
        *,
        delta_e12: int,
        rounds: int,
        sampling: Sampling | None,
        survey: bool,
        calibrate: bool,
    ) -> NoisePlan:
        """Least noise with which all releases of the task cost at most epsilon."""

    def mu_of_epsilon(self, epsilon: float, delta: float) -> float:
        """Gaussian-DP parameter of a whole task that costs at most epsilon."""

    def policy_epsilon_micro(self, policy: PrivacyPolicy) -> int:
        """Epsilon of the whole task in 1e-6, rounded up."""


@dataclass(frozen=True)
class Blueprint:
    """A task file with its public rows, checked and encoded; the costly set-up is still to come."""

    taskfile: TaskFile
    schema: TableSchema
    calibration: Calibration | None
    policy: PrivacyPolicy
    """With clip norm 1e-9 until the set-up says what it is."""
    public: Encoded | None
    check: FrameCheck | None
    usable: pd.DataFrame | None
    """The public rows that `check` accepted, as text."""


def draw_blueprint(
    taskfile: TaskFile, public_csv: bytes | None, *, accounting: Accounting
) -> Blueprint:
    """Schema, policy and encoded public rows of a task file.

    Raises:
        TaskError, InputError: as `build_task`.
    """
    if taskfile.model.family == "kernel" and public_csv is None:
        raise TaskError(
            "family 'kernel' needs public rows",
            hint="Name public_rows, or use family = 'mlp'.",
        )
    if taskfile.public_rows is not None and public_csv is None:
        raise TaskError(f"the public rows {taskfile.public_rows!r} were not given")
    frame = None if public_csv is None else parse_csv(public_csv, name="public rows")
    unit = PrivacyUnit(
        kind=taskfile.unit.kind, column=taskfile.unit.column, max_rows=taskfile.unit.max_rows
    )
    bare = TableSchema(
        target=standard_target(taskfile.target, None),
        features=standard_features(taskfile.feature, None),
        unit=unit,
    )
    check_schema(bare)
    calibration = _calibration(taskfile, accounting)
    policy = _policy(taskfile, accounting, calibrate=calibration is not None)
    if frame is None:
        return Blueprint(taskfile, bare, calibration, policy, None, None, None)
    check = check_frame(bare, frame, with_target=True)
    usable = frame[check.accepted]
    if len(usable) < MIN_ROWS:
        raise _too_few(check, usable=len(usable))
    schema = TableSchema(
        target=standard_target(taskfile.target, usable),
        features=standard_features(taskfile.feature, usable),
        unit=unit,
    )
    check_schema(schema)
    public = encode(schema, usable, with_target=True)
    return Blueprint(taskfile, schema, calibration, policy, public, check, usable)


def _too_few(check: FrameCheck, *, usable: int) -> TaskError:
    message = f"{usable} usable public rows, expected at least {MIN_ROWS}"
    if not check.problems:
        return TaskError(message, hint="Publish more rows, or use family = 'mlp' without them.")
    first = check.problems[0]
    refused = {(problem.column, problem.line) for problem in check.problems}
    column, rows = Counter(column for column, _ in refused).most_common(1)[0]
    return TaskError(
        f"{message}; first problem: line {first.line}, {first.column} = {first.value!r}, expected "
        f"{first.expected}",
        hint=f"{column!r} refuses {rows} of {len(check.accepted)} rows: correct the rows or its "
        "bounds, or leave the feature out.",
    )


def _calibration(taskfile: TaskFile, accounting: Accounting) -> Calibration | None:
    privacy = taskfile.privacy
    if taskfile.calibration is None or privacy.epsilon is None:
        return None
    return calibration_of(taskfile, mu=accounting.mu_of_epsilon(privacy.epsilon, privacy.delta))


def training_rounds(taskfile: TaskFile) -> int:
    """What the file says, or the family's default."""
    bare = taskfile.model.family == "mlp" and taskfile.public_rows is None
    default = BARE_ROUNDS if bare else DEFAULT_ROUNDS[taskfile.model.family]
    return taskfile.privacy.rounds or default


def _policy(taskfile: TaskFile, accounting: Accounting, *, calibrate: bool) -> PrivacyPolicy:
    privacy = taskfile.privacy
    if (privacy.epsilon is None) == (privacy.noise_multiplier is None):
        raise TaskError("privacy: give exactly one of epsilon and noise_multiplier")
    rounds = training_rounds(taskfile)
    delta_e12 = round(privacy.delta * 1e12)
    sampling = None if privacy.sampling is None else sampling_of(privacy.sampling)
    surveyed = survey_cells_of(taskfile) > 0
    training, survey_noise, calibration_noise = 0, 0, 0
    if privacy.epsilon is not None:
        noise = accounting.plan_noise(
            privacy.epsilon,
            delta_e12=delta_e12,
            rounds=rounds,
            sampling=sampling,
            survey=surveyed,
            calibrate=calibrate,
        )
        training = noise.noise_multiplier_micro
        survey_noise = noise.survey_noise_micro
        calibration_noise = noise.calibration_noise_micro
    elif sampling is not None or surveyed or taskfile.calibration is not None:
        raise TaskError(
            "privacy.noise_multiplier fixes the noise of full-batch training alone",
            hint="Give epsilon where the task has sampling, a calibration or the rule 'wiener'.",
        )
    else:
        training = math.ceil((privacy.noise_multiplier or 0.0) * 1e6)
    policy = PrivacyPolicy(
        mechanism="gaussian-full-batch" if sampling is None else "gaussian-poisson",
        clip_norm_nano=1,
        noise_multiplier_micro=training,
        rounds=rounds,
        sampling=sampling,
        survey_noise_micro=survey_noise,
        calibration_noise_micro=calibration_noise,
        delta_e12=delta_e12,
        epsilon_micro=1,
        public_n=privacy.public_n,
    )
    epsilon = accounting.policy_epsilon_micro(policy)
    return policy.model_copy(update={"epsilon_micro": max(epsilon, 1)})
