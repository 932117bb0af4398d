# SPDX-License-Identifier: Apache-2.0
"""What a task costs one privacy unit.

Full-batch rounds, survey and calibration are Gaussian mechanisms. Releases of a sum with
sensitivity 1 and noise of deviations s_1, s_2, ... are together exactly as private as one with
mu^2 = 1/s_1^2 + 1/s_2^2 + ... (Dong, Roth, Su, "Gaussian Differential Privacy", 2019, corollaries
2.13 and 3.3), also under adaptive choice. Its trade-off in terms of (epsilon, delta) is

    delta(epsilon) = Phi(-epsilon/mu + mu/2) - exp(epsilon) Phi(-epsilon/mu - mu/2)

A unit is either in training (and in the survey) or in the calibration, so the two do not add up:
the dearer counts. Tasks with Poisson-sampled steps go through `privacy.subsampled`. Rounding always
goes up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from scipy.special import log_ndtr, ndtr

from dao.errors import TaskError
from dao.records import PrivacyPolicy, Sampling
from privacy.subsampled import LEAST_NOISE_MICRO, MOST_EPSILON, delta_margin, sampled_epsilon

_BISECTIONS = 200
SURVEY_SHARE = 0.2
"""A survey's share of a task's mu."""
SAMPLED_STEP_MICRO = 1_000
"""Epsilons and planned noise of sampled tasks are multiples of this: the last digits of a privacy
loss distribution depend on the processor (`privacy.subsampled`)."""
_MOST_NOISE_MICRO = 10**12


@dataclass(frozen=True)
class NoisePlan:
    """The noise of a task in 1e-6: of training in multiples of the clip norm, of survey and
    calibration in units counted; 0 where there is none."""

    noise_multiplier_micro: int
    survey_noise_micro: int
    calibration_noise_micro: int


def delta_of(*, epsilon: float, mu: float) -> float:
    """delta(epsilon) of mu-Gaussian DP, mu > 0 (Dong, Roth, Su 2019, corollary 2.13)."""
    upper = float(ndtr(-epsilon / mu + mu / 2.0))
    return upper - math.exp(epsilon + float(log_ndtr(-epsilon / mu - mu / 2.0)))


def epsilon_of_mu(mu: float, delta: float) -> float:
    """Smallest epsilon >= 0 at which mu-Gaussian DP gives `delta`; the upper end of the bisection.

    mu = 0 costs nothing. TaskError where mu is negative or not finite, or delta not in (0, 1).
    """
    _check_delta(delta)
    if not math.isfinite(mu) or mu < 0:
        raise TaskError(f"mu is {mu}, expected a number of at least 0")
    if mu == 0 or delta_of(epsilon=0.0, mu=mu) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while delta_of(epsilon=high, mu=mu) > delta:
        low, high = high, 2.0 * high
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if delta_of(epsilon=middle, mu=mu) > delta:
            low = middle
        else:
            high = middle
    return high


def mu_of_epsilon(epsilon: float, delta: float) -> float:
    """Largest mu of which the cost at `delta` is at most `epsilon`; the lower end of the bisection.

    TaskError where epsilon is not positive and finite, or delta not in (0, 1).
    """
    _check_delta(delta)
    if not math.isfinite(epsilon) or epsilon <= 0:
        raise TaskError(
            f"epsilon is {epsilon}, expected a number above 0", hint="common choices are 1 to 8"
        )
    low, high = 0.0, 1.0
    while delta_of(epsilon=epsilon, mu=high) <= delta:
        low, high = high, 2.0 * high
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if delta_of(epsilon=epsilon, mu=middle) <= delta:
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True)
class Releases:
    """What one unit may take part in: the noise of each kind of release in 1e-6 (of training in
    multiples of the clip norm), 0 where there is none, and how many training rounds."""

    trained: int
    noise_micro: int
    survey_noise_micro: int = 0
    calibration_noise_micro: int = 0
    sampling: Sampling | None = None

    @classmethod
    def of_policy(
        cls, policy: PrivacyPolicy, *, trained: int, surveyed: bool, calibrated: bool
    ) -> Releases:
        """Those rounds of a task that were answered."""
        return cls(
            trained=trained,
            noise_micro=policy.noise_multiplier_micro,
            survey_noise_micro=policy.survey_noise_micro if surveyed else 0,
            calibration_noise_micro=policy.calibration_noise_micro if calibrated else 0,
            sampling=policy.sampling,
        )

    def mu_squared(self) -> Fraction:
        """mu^2, exactly. TaskError with sampled steps: these are not Gaussian DP."""
        if self.sampling is not None and self.trained:
            raise TaskError("a task with sampled steps has no mu: it is not Gaussian DP")
        if self.trained and self.noise_micro < 1:
            raise TaskError(f"the noise multiplier is {self.noise_micro} micro, expected above 0")
        training = self.trained * _inverse_square(self.noise_micro)
        training += _inverse_square(self.survey_noise_micro)
        return max(training, _inverse_square(self.calibration_noise_micro))

    def epsilon(self, delta: float, *, training_delta: float | None = None) -> float:
        """Epsilon at `delta`, unrounded; that of sampled steps at `training_delta` if given.
        Infinite where sampled steps cost too much to say."""
        if self.sampling is None or not self.trained:
            return epsilon_of_mu(math.sqrt(self.mu_squared()), delta)
        training = sampled_epsilon(
            steps=self.trained * self.sampling.steps,
            rate_micro=self.sampling.rate_micro,
            noise_multiplier_micro=self.noise_micro,
            survey_noise_micro=self.survey_noise_micro,
            delta=delta if training_delta is None else training_delta,
        )
        calibration = math.sqrt(_inverse_square(self.calibration_noise_micro))
        return max(training, epsilon_of_mu(calibration, delta))

    def epsilon_with_margin(self, delta: float) -> float:
        """As `epsilon`, and above what any other processor finds without the margin."""
        if self.sampling is None:
            return self.epsilon(delta)
        margin = delta_margin(self.trained * self.sampling.steps)
        return self.epsilon(delta, training_delta=delta - margin)


def task_mu(policy: PrivacyPolicy) -> float:
    """mu of all rounds of a task. TaskError where it samples: that is not Gaussian DP."""
    return math.sqrt(_all_rounds(policy).mu_squared())


def policy_epsilon_micro(policy: PrivacyPolicy) -> int:
    """What the whole task costs at its delta, in 1e-6, rounded up.

    TaskError where sampled steps cannot be accounted for: see `sampled_epsilon`.
    """
    return answered_epsilon_micro(policy, trained=policy.rounds, surveyed=True, calibrated=True)


def answered_epsilon_micro(
    policy: PrivacyPolicy, *, trained: int, surveyed: bool, calibrated: bool
) -> int:
    """What a contributor that answered only these rounds lost at the task's delta, in 1e-6, up.

    Two processors agree on it: but for a chance of about 1e-8 with full batches, of about 1e-4
    (and then by one `SAMPLED_STEP_MICRO`) with sampled steps.
    """
    if not 0 <= trained <= policy.rounds:
        raise TaskError(f"{trained} training rounds answered, the task has {policy.rounds}")
    releases = Releases.of_policy(policy, trained=trained, surveyed=surveyed, calibrated=calibrated)
    return releases_epsilon_micro(releases, delta_e12=policy.delta_e12)


def releases_epsilon_micro(releases: Releases, *, delta_e12: int) -> int:
    """What these releases cost in 1e-6, rounded up; see `answered_epsilon_micro`."""
    epsilon = releases.epsilon_with_margin(delta_e12 / 1e12)
    if math.isinf(epsilon):
        raise TaskError(
            f"with a noise multiplier of {releases.noise_micro / 1e6:g} the task costs more than an"
            f" epsilon of {MOST_EPSILON:g}",
            hint="more noise, fewer rounds or fewer steps",
        )
    step = 1 if releases.sampling is None else SAMPLED_STEP_MICRO
    return step * math.ceil(epsilon * 1e6 / step)


def states_enough(policy: PrivacyPolicy) -> bool:
    """Whether `policy.epsilon_micro` covers what the task costs. What `policy_epsilon_micro` gave
    on any processor does: sampled steps are asked about without the margin that it adds."""
    if policy.sampling is None:
        return policy_epsilon_micro(policy) <= policy.epsilon_micro
    return _all_rounds(policy).epsilon(policy.delta_e12 / 1e12) * 1e6 <= policy.epsilon_micro


def plan_noise(
    epsilon: float,
    *,
    delta_e12: int,
    rounds: int,
    sampling: Sampling | None,
    survey: bool,
    calibrate: bool,
) -> NoisePlan:
    """The smallest noise with which a whole task costs at most `epsilon`, rounded down to 1e-6.

    A survey gets a fifth of the task's mu, training what is left, and a calibration the whole mu,
    since its units are others. The noise of sampled steps is a multiple of `SAMPLED_STEP_MICRO`.
    TaskError where there is no such noise.
    """
    if rounds < 1:
        raise TaskError(f"rounds is {rounds}, expected at least 1")
    delta = delta_e12 / 1e12
    mu_of_epsilon(epsilon, delta)  # says what is wrong with epsilon or delta
    step = 1 if sampling is None else SAMPLED_STEP_MICRO
    limit_micro = math.floor(epsilon * 1e6 + 1e-6) // step * step
    if limit_micro == 0:
        raise TaskError(f"epsilon is {epsilon}, expected at least {step / 1e6:g}")
    mu = mu_of_epsilon(limit_micro / 1e6, delta)
    survey_noise = math.ceil(1e6 / (SURVEY_SHARE * mu)) if survey else 0

    def within(releases: Releases) -> bool:
        return releases.epsilon_with_margin(delta) * 1e6 <= limit_micro

    training_mu = math.sqrt(mu**2 - _inverse_square(survey_noise))
    noise = step * _smallest(
        lambda steps: within(
            Releases(rounds, step * steps, survey_noise_micro=survey_noise, sampling=sampling)
        ),
        least=1 if sampling is None else LEAST_NOISE_MICRO // step,
        guess=round(_likely_noise(training_mu, rounds, sampling) * 1e6 / step),
    )
    calibration = 0
    if calibrate:
        calibration = _smallest(
            lambda n: within(Releases(0, 0, calibration_noise_micro=n)),
            least=1,
            guess=round(1e6 / mu),
        )
    return NoisePlan(
        noise_multiplier_micro=noise,
        survey_noise_micro=survey_noise,
        calibration_noise_micro=calibration,
    )


def _likely_noise(mu: float, rounds: int, sampling: Sampling | None) -> float:
    """Noise multiplier near that which gives mu; with sampled steps by their central limit (Bu,
    Dong, Long, Su, "Deep Learning with Gaussian Differential Privacy", 2020)."""
    if sampling is None:
        return math.sqrt(rounds) / mu
    growth = mu / (sampling.rate_micro / 1e6 * math.sqrt(rounds * sampling.steps))
    return 1.0 / math.sqrt(math.log1p(growth**2))


def _smallest(holds: Callable[[int], bool], *, least: int, guess: int) -> int:
    """Smallest integer from `least` on of which `holds` is true, where more never hurts; asks
    near the guess first."""
    above, stride = max(guess, least), max(1, guess // 128)
    if holds(above):
        below = max(least - 1, above - stride)
        while below >= least and holds(below):
            stride *= 2
            above, below = below, max(least - 1, below - stride)
    else:
        below, above = above, above + stride
        while not holds(above):
            if above > _MOST_NOISE_MICRO:
                raise TaskError("no noise is enough for this epsilon", hint="ask for a larger one")
            stride *= 2
            below, above = above, above + stride
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if holds(middle) else (middle, above)
    return above


def _all_rounds(policy: PrivacyPolicy) -> Releases:
    return Releases.of_policy(policy, trained=policy.rounds, surveyed=True, calibrated=True)


def _inverse_square(noise_micro: int) -> Fraction:
    return Fraction(10**12, noise_micro**2) if noise_micro else Fraction(0)


def _check_delta(delta: float) -> None:
    if not 0.0 < delta < 1.0:
        raise TaskError(f"delta is {delta}, expected a number between 0 and 1")
