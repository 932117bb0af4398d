# SPDX-License-Identifier: Apache-2.0
"""The vault attacks its own mechanism: what `covalue contributor audit-privacy` does.

Thousands of updates are made by the very function that answers a coordinator
(`rounds.contribution`), with canaries among the rows and without. Whoever can tell the two apart
better than the claimed noise allows has shown that the claim is wrong. Nothing of it leaves the
machine, so nothing is charged to the ledger, and neither chain nor ledger is touched.

What is tried is one round of a kind. Its bound says how much noise there can have been at most; the
same accounting that made the claim turns that into epsilon for all rounds of the task. Whether the
noise of one round is independent of another's, and whether each round is charged, cannot be seen
in this way: that has tests of its own (docs/spec/privacy.md, section 7).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dao.errors import TaskError
from dao.records import Task
from fl_client.canary_rows import (
    Probe,
    Stage,
    calibration_stage,
    probes,
    survey_stage,
    training_stage,
)
from fl_client.vault import Vault
from privacy.accounting import Releases
from privacy.canaries import score
from privacy.noise import NoiseSource
from privacy.trade_off import Floats, NoiseBound, noise_at_most
from rounds.contribution import contribution
from rounds.phases import RoundKind, release_of
from rounds.state import decode_update, update_to_float
from valuation.family import Family
from valuation.private_rows import PrivateRows

DEFAULT_TRIALS = 4000
"""Updates with each kind of canary, and as many without."""
CONFIDENCE = 0.95
_LOUDEST = (4.0, 2.0, 1.0)
"""Noise below a quarter of the claimed one is not told apart any more; below half of it, or below
it, where sampled steps with less cannot be accounted for."""
_SILENT = 1e6
"""A bound above this says nothing."""

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Finding:
    """What the trials of one kind of canary showed.

    Attributes:
        kind: of the round.
        probe: the canaries.
        sigma: claimed noise multiplier.
        bound: the noise multiplier is at most `bound.sigma`.
        without, present: float64[trials], the scores.
    """

    kind: RoundKind
    probe: Probe
    sigma: float
    bound: NoiseBound
    without: Floats
    present: Floats

    @property
    def holds(self) -> bool:
        """Whether the claimed noise is not refuted."""
        return self.bound.sigma >= self.sigma


@dataclass(frozen=True)
class PrivacyAudit:
    """The result.

    Attributes:
        findings: one for each kind of canary and round.
        excess: norm of a canary row's gradient in multiples of the clip norm.
        claimed_epsilon_micro: what the task says that all rounds cost, at delta_e12.
        proven_epsilon_micro: they cost at least this.
        confidence: with which every bound holds at once.
        seeded: the vault's noise is from a fixed seed: whoever knows it sees through the noise.
    """

    findings: tuple[Finding, ...]
    excess: float
    claimed_epsilon_micro: int
    proven_epsilon_micro: int
    delta_e12: int
    confidence: float
    seeded: bool

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts the claim."""
        return self.proven_epsilon_micro <= self.claimed_epsilon_micro and all(
            finding.holds for finding in self.findings
        )

    @property
    def sharpest(self) -> Finding:
        """The finding that leaves the least room between the claimed noise and its bound."""
        return min(self.findings, key=lambda finding: finding.bound.sigma / finding.sigma)


def audit_vault(
    vault: Vault,
    task_digest: str,
    *,
    trials: int = DEFAULT_TRIALS,
    tell: Tell = lambda done, of: None,
) -> PrivacyAudit:
    """Attack an open vault's mechanism for a task from its store, on a few of its own rows.

    The ledger is neither read nor written. InputError where no row of the records fits the task,
    or there are fewer than 50 trials.
    """
    task, family = vault.task(task_digest)
    return audit_mechanism(
        task,
        family,
        vault.records.prepared(task, family),
        initial=vault.store.get(task.model.initial.cid),
        noise=lambda trial: vault.noise_source(task_digest, trial),
        trials=trials,
        tell=tell,
    )


def audit_mechanism(
    task: Task,
    family: Family,
    rows: PrivateRows,
    *,
    initial: bytes,
    noise: Callable[[int], NoiseSource],
    trials: int = DEFAULT_TRIALS,
    confidence: float = CONFIDENCE,
    tell: Tell = lambda done, of: None,
) -> PrivacyAudit:
    """Attack the rounds of a task, of each kind one.

    `rows` are the contributor's, `initial` the bytes of the task's first model state; `noise(i)`
    is the source of trial i, from 1, a new one for each. `tell` hears how many releases of how
    many are done. Where the mechanism is what the task says, `holds` is false with probability at
    most 1 - confidence. Errors as of `audit_vault`.
    """
    stages = [training_stage(task, family, rows, initial=initial)]
    for histogram in (survey_stage, calibration_stage):
        stage = histogram(task, family, rows, initial=initial)
        if stage is not None:
            stages.append(stage)
    plan = [(stage, probes(task, stage)) for stage in stages]
    tried = sum(len(chosen) for _, chosen in plan)
    of = trials * (tried + len(plan))
    # All bounds are to hold at once (Bonferroni).
    each_confidence = 1.0 - (1.0 - confidence) / tried
    numbers = itertools.count(1)

    def scores(stage: Stage, data: PrivateRows) -> Floats:
        release, found = release_of(task, stage.number), np.empty(trials)
        for i in range(trials):
            trial = next(numbers)
            update = contribution(
                task, family, data, stage.theta, number=stage.number, noise=noise(trial)
            )
            moved = update_to_float(release, decode_update(release, update))
            found[i] = score(moved, stage.direction, unit=stage.unit)
            tell(trial, of)
        return found

    findings = []
    for stage, chosen in plan:
        without = scores(stage, stage.beside)
        for probe in chosen:
            present = scores(stage, stage.with_canaries(probe))
            game = dataclasses.replace(stage.game, units=probe.units)
            bound = noise_at_most(without, present, game, confidence=each_confidence)
            findings.append(Finding(stage.kind, probe, stage.sigma, bound, without, present))
    return PrivacyAudit(
        findings=tuple(findings),
        excess=stages[0].excess,
        claimed_epsilon_micro=task.policy.epsilon_micro,
        proven_epsilon_micro=_proven(task, findings),
        delta_e12=task.policy.delta_e12,
        confidence=confidence,
        seeded=noise(1).seeded,
    )


def _proven(task: Task, findings: list[Finding]) -> int:
    """Epsilon of the task with the largest noise that is not refuted, in 1e-6, rounded down."""
    policy = task.policy
    claimed: dict[RoundKind, int] = {
        "train": policy.noise_multiplier_micro,
        "survey": policy.survey_noise_micro,
        "calibrate": policy.calibration_noise_micro,
    }

    def largest(kind: RoundKind, loudest: float) -> int:
        """0 where nothing is shown of this kind: then it counts as if it were not released."""
        sigmas = [finding.bound.sigma for finding in findings if finding.kind == kind]
        sigma = min(sigmas, default=math.inf)
        if sigma > _SILENT:
            return 0
        return math.ceil(max(sigma * 1e6, claimed[kind] / loudest))

    def epsilon(loudest: float) -> float:
        noise = largest("train", loudest)
        releases = Releases(
            trained=policy.rounds if noise else 0,
            noise_micro=noise,
            survey_noise_micro=largest("survey", loudest),
            calibration_noise_micro=largest("calibrate", loudest),
            sampling=policy.sampling,
        )
        try:
            return releases.epsilon(policy.delta_e12 / 1e12)
        except TaskError:
            return math.inf  # so little noise that sampled steps are not accounted for any more

    found = [epsilon(loudest) for loudest in _LOUDEST]
    finite = [value for value in found if math.isfinite(value)]
    return math.floor(max(finite, default=0.0) * 1e6)
