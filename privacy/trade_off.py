# SPDX-License-Identifier: Apache-2.0
"""How much noise a mechanism can have had at most, judging by what it gave out.

An attacker sees one number (a score) of a release and says whether canaries were in the data.
alpha is how often it says so wrongly, beta how often it misses them. A mechanism with noise
multiplier sigma lets no attacker have both small: that is its trade-off function (Dong, Roth, Su,
"Gaussian Differential Privacy", 2019). Observed rates therefore refute every sigma that is too
large (Nasr et al., "Tight Auditing of Differentially Private Machine Learning", 2023).

Rates are bounded by Clopper and Pearson (1934), which holds for any distribution of scores. The
threshold comes from a pilot share of the trials that does not count afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import beta as beta_distribution
from scipy.stats import binom

from dao.errors import InputError

PILOT_SHARE = 0.2
"""Of the trials, to choose the threshold by."""
LEAST_TRIALS = 50
_CANDIDATES = 64
_BISECTIONS = 60
_RARE = 1e-15
_NOISE_RANGE = (1e-9, 1e12)
"""Noise multipliers that are told apart; no task has others."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Game:
    """What a score is worth: the sum over `steps` of N(0, sigma^2), and 1 more for each of `units`
    canaries in each step that takes it, which happens with probability `rate`.

    Several canaries at once are sharper than one, at no cost in validity: what is mu-Gaussian DP
    for one unit is (units * mu)-Gaussian DP for a group of them, exactly (theorem 2.14 there)."""

    units: int
    rate: float = 1.0
    steps: int = 1

    def least_misses(self, false_alarms: float, sigma: float) -> float:
        """The trade-off function: the smallest beta of any attacker on the score with this alpha.

        The likelihood ratio rises with the score, so thresholds are the best tests. It rises with
        sigma, for more noise could be added afterwards."""
        deviation = sigma * math.sqrt(self.steps)
        threshold = -float(ndtri(false_alarms)) * deviation
        chances = self.units * self.steps
        if self.rate >= 1.0:
            return float(ndtr((threshold - chances) / deviation))
        # What is left out has a chance of 2e-15, and leaving it out admits more noise.
        taken = np.arange(
            binom.ppf(_RARE, chances, self.rate), binom.isf(_RARE, chances, self.rate) + 1
        )
        weights = binom.pmf(taken, chances, self.rate)
        return float(weights @ ndtr((threshold - taken) / deviation))

    def separating_units(self, sigma: float, *, deviations: float) -> int:
        """How many canaries shift the mean score by so many standard deviations, at least 1."""
        one = self.rate * math.sqrt(self.steps) / sigma
        return max(1, round(deviations / one))


@dataclass(frozen=True)
class NoiseBound:
    """What the trials of one canary show.

    Attributes:
        threshold: scores above it were called "with canaries".
        false_alarms, misses: upper confidence limits of alpha and beta.
        sigma: the largest noise multiplier that is not refuted; inf where none is.
    """

    threshold: float
    false_alarms: float
    misses: float
    sigma: float


def noise_at_most(without: Floats, present: Floats, game: Game, *, confidence: float) -> NoiseBound:
    """Upper confidence limit of the noise multiplier behind two samples of scores.

    `without` [n] and `present` [m] are scores of independent releases on data without and with
    the game's canaries. With probability `confidence` the result is at least the true sigma, if
    no canary moves a score by more than 1 in a step. InputError for fewer than 50 scores or a
    confidence outside (0, 1).
    """
    if min(len(without), len(present)) < LEAST_TRIALS:
        raise InputError(
            f"{min(len(without), len(present))} trials show nothing, expected at least"
            f" {LEAST_TRIALS}",
            hint="some thousands make a sharp bound",
        )
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence is {confidence}, expected a number between 0 and 1")
    level = (1.0 - confidence) / 2.0
    pilots = math.ceil(PILOT_SHARE * len(without)), math.ceil(PILOT_SHARE * len(present))
    threshold = _best_threshold(without[: pilots[0]], present[: pilots[1]], level)
    judged, missed = without[pilots[0] :], present[pilots[1] :]
    false_alarms = upper_rate(int((judged > threshold).sum()), len(judged), level=level)
    misses = upper_rate(int((missed <= threshold).sum()), len(missed), level=level)
    return NoiseBound(threshold, false_alarms, misses, _largest_sigma(game, false_alarms, misses))


def upper_rate(count: int, trials: int, *, level: float) -> float:
    """Clopper and Pearson's upper limit: the true rate is above it with probability <= level."""
    if count >= trials:
        return 1.0
    return float(beta_distribution.ppf(1.0 - level, count + 1, trials - count))


def _best_threshold(without: Floats, present: Floats, level: float) -> float:
    """The threshold of which the pilot trials alone would give the sharpest bound."""
    shares = (np.arange(_CANDIDATES) + 0.5) / _CANDIDATES
    candidates = np.quantile(np.concatenate([without, present]), shares)

    def strength(threshold: float) -> float:
        alpha = upper_rate(int((without > threshold).sum()), len(without), level=level)
        beta = upper_rate(int((present <= threshold).sum()), len(present), level=level)
        return -float(ndtri(alpha) + ndtri(beta)) if max(alpha, beta) < 1.0 else -math.inf

    return float(max(candidates, key=strength))


def _largest_sigma(game: Game, false_alarms: float, misses: float) -> float:
    """Upper end of a bisection for the sigma at which the trade-off function meets the rates."""
    if false_alarms + misses >= 1.0:
        return math.inf
    low, high = (math.log(edge) for edge in _NOISE_RANGE)
    if game.least_misses(false_alarms, math.exp(high)) <= misses:
        return math.inf
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if game.least_misses(false_alarms, math.exp(middle)) > misses:
            high = middle
        else:
            low = middle
    return math.exp(high)
