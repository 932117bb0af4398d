# SPDX-License-Identifier: Apache-2.0
"""What Poisson-sampled Gaussian steps cost, by Google's dp-accounting.

Two views of the same mechanism. For one task, whose steps are fixed by the vote, its privacy loss
distribution (PLD) gives epsilon to the fourth digit. For a vault's lifetime, in which later tasks
depend on earlier outputs, PLDs are no valid filter (arXiv 2602.06756); Renyi divergences are
(`privacy.filters`).

The PLD is a pessimistic estimate, so it errs upward, but it is composed by fast Fourier transforms,
whose last bits depend on the processor. Measured with and without AVX, delta moves by less than
1e-16 a step (3e-12 at 100,000 steps). `delta_margin` is ten times that: an epsilon found at
delta - margin is an upper bound in spite of it, and one found at delta itself on any other machine
is below the first.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from dao.errors import TaskError

INTERVAL = 1e-4
"""Privacy losses are rounded up to multiples of this; costs about 1e-4 of epsilon at most."""
LEAST_NOISE_MICRO = 300_000
"""Below it the loss of one step has a range that takes seconds and gigabytes to hold."""
MOST_EPSILON = 100.0
"""Beyond it nothing is private, and the distribution is too wide to hold."""
LEAST_MARGINS = 1_000
"""How many times the margin a task's delta must be, or the margin would cost much epsilon."""


def delta_margin(steps: int) -> float:
    """By how much delta is lowered against the rounding errors of `steps` compositions."""
    return 1e-15 * max(steps, 100_000)


@lru_cache(maxsize=512)
def sampled_epsilon(
    *,
    steps: int,
    rate_micro: int,
    noise_multiplier_micro: int,
    survey_noise_micro: int,
    delta: float,
) -> float:
    """Epsilon at `delta` of `steps` Poisson-sampled Gaussian steps and one Gaussian survey.

    Units are added or removed. 0 survey noise means no survey, 0 steps no step. Infinite beyond
    `MOST_EPSILON`. TaskError where the noise or delta is too small to account for.
    """
    if steps and noise_multiplier_micro < LEAST_NOISE_MICRO:
        raise TaskError(
            f"the noise multiplier of a sampled step is {noise_multiplier_micro / 1e6:g}, expected"
            f" at least {LEAST_NOISE_MICRO / 1e6:g}",
            hint="sample fewer units, or take fewer steps, with more noise each",
        )
    if delta < LEAST_MARGINS * delta_margin(steps) * (1.0 - 1e-3):
        raise TaskError(
            f"delta is {delta:g}, and sampled steps are accounted for from"
            f" {LEAST_MARGINS * delta_margin(steps):g} on",
            hint="take a larger delta, fewer steps, or full-batch rounds",
        )
    survey, noise, rate = survey_noise_micro / 1e6, noise_multiplier_micro / 1e6, rate_micro / 1e6
    mean_loss = steps * _mean_loss(noise, rate) if steps else 0.0
    if survey:
        mean_loss += 0.5 / survey**2
    if mean_loss > MOST_EPSILON:
        return math.inf
    return _composed_epsilon(steps, noise=noise, rate=rate, survey=survey, delta=delta)


def sampled_rdp(*, rate_micro: int, noise_multiplier_micro: int, order: int) -> float:
    """Renyi divergence of a whole order >= 2 of one Poisson-sampled Gaussian step, a unit being
    added or removed (Mironov, Talwar, Zhang, "Renyi Differential Privacy of the Sampled Gaussian
    Mechanism", 2019). rate and noise multiplier are in 1e-6."""
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant([order], dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    gaussian = dp_accounting.GaussianDpEvent(noise_multiplier_micro / 1e6)
    accountant.compose(dp_accounting.PoissonSampledDpEvent(rate_micro / 1e6, gaussian))
    return float(accountant.rdp[0])


def _composed_epsilon(
    steps: int, *, noise: float, rate: float, survey: float, delta: float
) -> float:
    # Slow to import, and full-batch tasks do without.
    from dp_accounting.pld import privacy_loss_distribution as pld

    parts = []
    if steps:
        step = pld.from_gaussian_mechanism(
            noise, sampling_prob=rate, value_discretization_interval=INTERVAL
        )
        parts.append(step.self_compose(steps))
    if survey:
        parts.append(pld.from_gaussian_mechanism(survey, value_discretization_interval=INTERVAL))
    if not parts:
        return 0.0
    whole = parts[0] if len(parts) == 1 else parts[0].compose(parts[1])
    return float(whole.get_epsilon_for_delta(delta))


def _mean_loss(noise: float, rate: float) -> float:
    """Mean privacy loss of one step when a unit is removed: a cheap view of how wide all steps
    are. Integrated over +-10 standard deviations, in 1/100 of one."""
    x = np.arange(-10.0 * noise, 1.0 + 10.0 * noise, noise / 100.0)
    without = np.exp(-0.5 * (x / noise) ** 2)
    with_unit = np.exp(-0.5 * ((x - 1.0) / noise) ** 2)
    ratio = (2.0 * x - 1.0) / (2.0 * noise**2)
    loss = np.log1p(rate * np.expm1(ratio)) if rate < 1.0 else ratio
    density = ((1.0 - rate) * without + rate * with_unit) / (noise * math.sqrt(2.0 * math.pi))
    return float(np.sum(density * loss) * noise / 100.0)
