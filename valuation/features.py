# SPDX-License-Identifier: Apache-2.0
"""Eigenfeatures of what the public rows leave open, and the constants of training on them.

All of it follows from public quantities: public rows, the task's N, K and privacy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.special import erf

from dao.records import MAX_RULE_NUMBERS
from valuation.covariance import covariance
from valuation.landmarks import scattered, synthetic_rows
from valuation.process import FittedProcess
from valuation.schema import Floats

KAPPA = 0.5
"""Clip norm = KAPPA * residual spread * median feature norm (tuned on held-out seeds)."""
COLUMN_POWER = 0.2
"""Feature j is scaled by (eigenvalue_j / eigenvalue_0)**COLUMN_POWER: clipping then costs the
leading directions less."""
PRIOR_SCALE = 2.0
"""A coefficient's prior variance is the posterior eigenvalue this many times: what the process
holds to be noise is partly learnable."""
SURVEYED_PRIOR_SCALES = (1.75, 2.5)
"""The same for the rule `wiener`: where updates tell little, and where they tell much (tuned on
held-out seeds)."""
CERTAIN = 500.0
"""N mu / K above which updates tell much."""
SCATTERED_LANDMARKS = 0.1
LEAST_LANDMARKS = 600
MOST_LANDMARKS = 2_000
MAX_FEATURES = 1_500
_CANDIDATES = (25, 50, 75, 100, 150, 200, 300, 400, 500, 600, 800, 1000, 1250, 1500)
_PROBES = 6_000


@dataclass(frozen=True)
class FitPlan:
    """Public numbers that the constants of training follow from.

    Attributes:
        public_n: units that the task expects in all.
        contributors: K, how many noisy updates are added.
        noise_multiplier: sigma. rounds: T.
        rows_per_unit: mean rows that count per unit, from public rows.
        seed: of landmarks and initial weights.
        survey_cells: cells of the survey that the rule `wiener` takes; 0 for the rule `sum`.
        matrices: how many contributors may join, for each of whom `wiener` holds a d x d matrix.
    """

    public_n: int
    contributors: int
    noise_multiplier: float
    rounds: int
    rows_per_unit: float = 1.0
    seed: int = 0
    survey_cells: int = 0
    matrices: int = 1

    @property
    def landmarks(self) -> int:
        """As many as there are units, within limits: they could not tell more features."""
        return min(MOST_LANDMARKS, max(LEAST_LANDMARKS, self.public_n))

    def between(self, unsure: float, sure: float) -> float:
        """A constant between that of a task whose updates tell little and that of one whose tell
        much: what is known less is shrunk more."""
        certainty = min(1.0, self.public_n * self.mu / (CERTAIN * self.contributors))
        return unsure + certainty * (sure - unsure)

    @property
    def scattered(self) -> bool:
        """Whether landmarks reach to the bounds of the task. A survey tells whether anyone has rows
        there; without one, steps are scaled by what rows around the public ones look like, and
        features from elsewhere would make them unstable."""
        return self.survey_cells > 0

    @property
    def largest(self) -> int:
        """The most features that the task may have."""
        most = min(MAX_FEATURES, self.landmarks)
        if self.survey_cells:
            most = min(most, math.isqrt(MAX_RULE_NUMBERS // self.matrices))
        return most

    @property
    def voices(self) -> int:
        """How many contributors' noise meets in one direction: all K, but where each update is
        weighed by what its rows can tell, about one."""
        return 1 if self.survey_cells else self.contributors

    @property
    def mu(self) -> float:
        """Gaussian-DP parameter of all rounds together."""
        return math.sqrt(self.rounds) / self.noise_multiplier


@dataclass(frozen=True)
class Eigenfeatures:
    """The features and what training on them needs.

    Attributes:
        landmark_attributes, landmark_locations: float64[m, a], float64[m, 2 or 0].
        projection: float32[m + n, d].
        clip_norm: C. gain, ridge: float64[d], of the newton step on the sum.
        prior: float64[d], variance that each coefficient may have, for the rule `wiener`.
    """

    landmark_attributes: Floats
    landmark_locations: Floats
    projection: npt.NDArray[np.float32]
    clip_norm: float
    gain: Floats
    ridge: Floats
    prior: Floats


@dataclass(frozen=True)
class Eigenbasis:
    """Leading eigenfunctions of the posterior covariance, before anybody knows how many of them the
    noise of a task leaves of use.

    Attributes:
        marks: landmarks, float64[m, a] and float64[m, 2 or 0].
        full: float64[m + n, largest], from covariances (landmarks, then anchors) to values.
        eigenvalues: float64[largest], falling.
        probes: float64[rows, largest], values at synthetic rows.
    """

    marks: tuple[Floats, Floats]
    full: Floats
    eigenvalues: Floats
    probes: Floats


def eigenbasis(
    fitted: FittedProcess, *, landmarks: int, largest: int, seed: int, box: Floats | None
) -> Eigenbasis:
    """The `largest` leading eigenfunctions on `landmarks` synthetic rows, of which a tenth lies
    anywhere in `box` where it is given (`landmarks.location_box`)."""
    process = fitted.process
    marks = synthetic_rows(process.attributes, process.locations, landmarks, seed=seed)
    marks = (marks[0], scattered(marks[1], box, SCATTERED_LANDMARKS, seed=seed + 4))
    to_anchors = process.to_anchors(*marks)
    posterior = covariance(process.hyper, *marks, *marks)
    posterior -= to_anchors @ fitted.inverse @ to_anchors.T
    values, vectors = eigh(
        (posterior + posterior.T) / 2.0, subset_by_index=(landmarks - largest, landmarks - 1)
    )
    values = np.maximum(values[::-1], 1e-6 * landmarks)
    upper = vectors[:, ::-1] * (math.sqrt(landmarks) / values)
    full = np.vstack([upper, -(fitted.inverse @ (to_anchors.T @ upper))])
    probes = synthetic_rows(process.attributes, process.locations, _PROBES, seed=seed + 1)
    features = covariance(process.hyper, *probes, *marks) @ full[:landmarks]
    features += process.to_anchors(*probes) @ full[landmarks:]
    return Eigenbasis(marks, full, values / landmarks, features)


def build_features(fitted: FittedProcess, basis: Eigenbasis, plan: FitPlan) -> Eigenfeatures:
    """Eigenfeatures of a basis, d chosen for the least error expected under the plan's noise."""
    d = choose_size(basis.eigenvalues, basis.probes, fitted.spread, plan)
    weight = (basis.eigenvalues[:d] / basis.eigenvalues[0]) ** COLUMN_POWER
    clip_norm, gain, noise = _constants(basis.probes[:, :d] * weight, fitted.spread, plan)
    return Eigenfeatures(
        landmark_attributes=basis.marks[0],
        landmark_locations=basis.marks[1],
        projection=(basis.full[:, :d] * weight).astype(np.float32),
        clip_norm=clip_norm,
        gain=gain,
        ridge=noise * weight**2 / (PRIOR_SCALE * basis.eigenvalues[:d]),
        prior=plan.between(*SURVEYED_PRIOR_SCALES) * basis.eigenvalues[:d] / weight**2,
    )


def _constants(features: Floats, spread: float, plan: FitPlan) -> tuple[float, Floats, Floats]:
    """Clip norm, gain float64[d] (curvature per unit, after clipping) and the variance
    float64[d] that noise and sampling leave in each coefficient after all rounds."""
    bound = float(np.median(np.sqrt((features * features).sum(axis=1))))
    clip_norm = KAPPA * spread * bound * math.sqrt(plan.rows_per_unit)
    power = (features * features).mean(axis=0) * plan.rows_per_unit
    # A residual of a normal row passes the clip with probability erf(kappa / sqrt 2); only
    # those rows still pull in proportion to their residual.
    gain = float(erf(KAPPA / math.sqrt(2.0))) * power
    noise = plan.contributors * (clip_norm / plan.mu) ** 2 / (plan.public_n * gain) ** 2
    return clip_norm, gain, noise + spread**2 / (plan.public_n * power)


def choose_size(eigenvalues: Floats, features: Floats, spread: float, plan: FitPlan) -> int:
    """The number of features d with the least expected squared error: what noise leaves in the
    first d (shrunk as a Wiener filter would), plus all that the others could have told."""
    prior = PRIOR_SCALE * eigenvalues
    best, best_error = 0, math.inf
    for d in sorted({min(candidate, len(prior)) for candidate in _CANDIDATES}):
        kept = features[:, :d]
        bound = float(np.median(np.sqrt((kept * kept).sum(axis=1))))
        clip_norm = KAPPA * spread * bound * math.sqrt(plan.rows_per_unit)
        power = float((kept * kept).mean()) * plan.rows_per_unit
        gain = float(erf(KAPPA / math.sqrt(2.0))) * power
        noise = plan.voices * (clip_norm / plan.mu) ** 2 / (plan.public_n * gain) ** 2
        noise += spread**2 / plan.public_n
        error = float((prior[:d] * noise / (prior[:d] + noise)).sum() + prior[d:].sum())
        if error < best_error:
            best, best_error = d, error
    return best
