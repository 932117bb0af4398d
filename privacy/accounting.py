# SPDX-License-Identifier: Apache-2.0
"""What a task costs: exact Gaussian differential privacy.

T releases of a sum with sensitivity C and noise N(0, (sigma C)^2) are together exactly as private
as one Gaussian mechanism with mu = sqrt(T) / sigma (Dong, Roth, Su, "Gaussian Differential
Privacy", 2019, corollaries 2.13 and 3.3), also under adaptive choice. Its trade-off in terms of
(epsilon, delta) is

    delta(epsilon) = Phi(-epsilon/mu + mu/2) - exp(epsilon) Phi(-epsilon/mu - mu/2)

Nothing here is an upper bound on a bound: only rounding is, and it always goes up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import log_ndtr, ndtr

from dao.errors import TaskError
from dao.records import PrivacyPolicy, Sampling

_BISECTIONS = 200


def delta_of(*, epsilon: float, mu: float) -> float:
    """delta(epsilon) of mu-Gaussian DP; mu > 0."""
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


def task_mu(policy: PrivacyPolicy) -> float:
    """mu of all rounds of a task: sqrt(T) / sigma."""
    return math.sqrt(policy.rounds) / (policy.noise_multiplier_micro / 1e6)


def task_epsilon_micro(*, rounds: int, noise_multiplier_micro: int, delta_e12: int) -> int:
    """Epsilon of `rounds` rounds in 1e-6, rounded up; 0 for no round."""
    if rounds == 0:
        return 0
    if rounds < 0 or noise_multiplier_micro <= 0:
        raise TaskError(
            f"rounds {rounds} and noise multiplier {noise_multiplier_micro} micro:"
            " expected both above 0"
        )
    mu = math.sqrt(rounds) / (noise_multiplier_micro / 1e6)
    return math.ceil(epsilon_of_mu(mu, delta_e12 / 1e12) * 1e6)


def noise_multiplier_micro(epsilon: float, *, delta_e12: int, rounds: int) -> int:
    """Smallest noise multiplier in 1e-6 with which `rounds` rounds cost at most `epsilon`."""
    if rounds < 1:
        raise TaskError(f"rounds is {rounds}, expected at least 1")
    limit_micro = math.floor(epsilon * 1e6 + 1e-6)
    sigma_micro = math.ceil(1e6 * math.sqrt(rounds) / mu_of_epsilon(epsilon, delta_e12 / 1e12))
    while limit_micro < task_epsilon_micro(
        rounds=rounds, noise_multiplier_micro=sigma_micro, delta_e12=delta_e12
    ):
        sigma_micro += 1
    return sigma_micro


def mu_squared_nano(*, rounds: int, noise_multiplier_micro: int) -> int:
    """mu^2 = T / sigma^2 in 1e-9, rounded up; exact integer arithmetic."""
    return -(-rounds * 10**21 // noise_multiplier_micro**2)


def _check_delta(delta: float) -> None:
    if not 0.0 < delta < 1.0:
        raise TaskError(f"delta is {delta}, expected a number between 0 and 1")


@dataclass(frozen=True)
class NoisePlan:
    """Noise of every kind of release, in 1e-6; 0 where there is none."""

    noise_multiplier_micro: int
    survey_noise_micro: int
    calibration_noise_micro: int


def answered_epsilon_micro(
    policy: PrivacyPolicy, *, trained: int, surveyed: bool, calibrated: bool
) -> int:
    """Epsilon of the rounds that one contributor answered, in 1e-6, rounded up."""
    training = trained / (policy.noise_multiplier_micro / 1e6) ** 2
    if surveyed:
        training += 1.0 / (policy.survey_noise_micro / 1e6) ** 2
    other = 1.0 / (policy.calibration_noise_micro / 1e6) ** 2 if calibrated else 0.0
    mu = math.sqrt(max(training, other))
    return math.ceil(epsilon_of_mu(mu, policy.delta_e12 / 1e12) * 1e6)


def policy_epsilon_micro(policy: PrivacyPolicy) -> int:
    """Epsilon of all releases of a task, in 1e-6, rounded up."""
    return answered_epsilon_micro(
        policy,
        trained=policy.rounds,
        surveyed=policy.survey_noise_micro > 0,
        calibrated=policy.calibration_noise_micro > 0,
    )


def plan_noise(
    epsilon: float,
    *,
    delta_e12: int,
    rounds: int,
    sampling: Sampling | None,
    survey: bool,
    calibrate: bool,
) -> NoisePlan:
    """Least noise with which all releases cost at most epsilon."""
    sigma = noise_multiplier_micro(epsilon, delta_e12=delta_e12, rounds=rounds)
    mu = mu_of_epsilon(epsilon, delta_e12 / 1e12)
    return NoisePlan(
        math.ceil(sigma / math.sqrt(0.96)) if survey else sigma,
        math.ceil(1e6 / (0.2 * mu)) if survey else 0,
        math.ceil(1e6 / mu) if calibrate else 0,
    )
