# SPDX-License-Identifier: Apache-2.0
"""Epsilon of sampled steps against independent accountants, its margins, and what it refuses."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.analysis import rdp as opacus_rdp
from scipy.integrate import quad
from scipy.stats import norm

from dao.errors import TaskError
from dao.records import PrivacyPolicy, Sampling
from privacy.accounting import (
    NoisePlan,
    answered_epsilon_micro,
    plan_noise,
    policy_epsilon_micro,
    states_enough,
)
from privacy.subsampled import delta_margin, sampled_epsilon, sampled_rdp

DELTA = 10_000_000
GRID = [(0.01, 0.8, 300), (0.01, 1.5, 3000), (0.1, 1.5, 300), (0.5, 6.0, 100), (0.002, 0.6, 1000)]


def policy(
    *,
    rate: float = 0.1,
    noise: float = 1.5,
    steps: int = 10,
    rounds: int = 30,
    survey: float = 0.0,
    calibration: float = 0.0,
    stated: int = 1,
) -> PrivacyPolicy:
    return PrivacyPolicy(
        mechanism="gaussian-poisson",
        clip_norm_nano=10**9,
        noise_multiplier_micro=round(noise * 1e6),
        rounds=rounds,
        sampling=Sampling(
            rate_micro=round(rate * 1e6), steps=steps, eta_micro=10_000, local_units=100
        ),
        survey_noise_micro=round(survey * 1e6),
        calibration_noise_micro=round(calibration * 1e6),
        delta_e12=DELTA,
        epsilon_micro=stated,
        public_n=1000,
    )


@pytest.mark.filterwarnings("ignore:.*(Optimal order|divide by zero)")
@pytest.mark.parametrize(("rate", "noise", "steps"), GRID)
def test_epsilon_lies_between_opacus_prv_and_rdp(rate: float, noise: float, steps: int) -> None:
    """PRV answers with an upper end whose stated error is 0.01; RDP is above all."""
    ours = policy_epsilon_micro(policy(rate=rate, noise=noise, steps=1, rounds=steps)) / 1e6
    prv, rdp = PRVAccountant(), RDPAccountant()
    prv.history = [(noise, rate, steps)]
    rdp.history = [(noise, rate, steps)]
    assert ours == pytest.approx(prv.get_epsilon(1e-5), abs=0.02)
    assert ours < rdp.get_epsilon(1e-5)


@pytest.mark.parametrize(("rate", "noise"), [(0.01, 0.8), (0.3, 2.0)])
def test_one_step_costs_what_its_definition_says(rate: float, noise: float) -> None:
    """delta(epsilon) of the mixture against the Gaussian, both ways, by numerical integration."""
    delta = 1e-5
    epsilon = sampled_epsilon(
        steps=1,
        rate_micro=round(rate * 1e6),
        noise_multiplier_micro=round(noise * 1e6),
        survey_noise_micro=0,
        delta=delta,
    )

    def mixture(x: float) -> float:
        return float((1 - rate) * norm.pdf(x, 0, noise) + rate * norm.pdf(x, 1, noise))

    def plain(x: float) -> float:
        return float(norm.pdf(x, 0, noise))

    def hockey(p, q, bound: float) -> float:
        points = np.linspace(-12 * noise, 1 + 12 * noise, 60)
        pieces = itertools.pairwise(points)
        return sum(
            quad(lambda x: max(0.0, p(x) - math.exp(bound) * q(x)), a, b, epsabs=1e-14)[0]
            for a, b in pieces
        )

    def both(bound: float) -> float:
        return max(hockey(mixture, plain, bound), hockey(plain, mixture, bound))

    assert both(epsilon) <= delta * (1 + 1e-6)
    assert both(epsilon - 3e-3) > delta


def test_rate_one_is_the_exact_gaussian() -> None:
    sampled = policy(rate=1.0, noise=12.0, steps=3, rounds=10, survey=4.0)
    whole = sampled.model_copy(
        update={"mechanism": "gaussian-full-batch", "sampling": None, "rounds": 30}
    )
    exact = policy_epsilon_micro(whole)
    assert exact <= policy_epsilon_micro(sampled) <= exact + 2_000


def test_a_survey_adds_and_a_calibration_of_other_units_does_not() -> None:
    alone = policy_epsilon_micro(policy())
    surveyed = policy_epsilon_micro(policy(survey=3.0))
    assert alone < surveyed
    assert policy_epsilon_micro(policy(survey=3.0, calibration=5.0)) == surveyed
    dear = policy_epsilon_micro(policy(calibration=0.3))
    only = answered_epsilon_micro(
        policy(calibration=0.3), trained=0, surveyed=False, calibrated=True
    )
    assert dear == only > alone


def test_fewer_answered_rounds_cost_less_and_costs_are_multiples_of_a_thousandth() -> None:
    task = policy(survey=3.0)
    costs = [
        answered_epsilon_micro(task, trained=trained, surveyed=False, calibrated=False)
        for trained in (0, 1, 5, 15, 30)
    ]
    assert costs[0] == 0
    assert costs == sorted(set(costs))
    assert all(cost % 1000 == 0 for cost in costs)


def test_the_margin_covers_how_processors_differ() -> None:
    """Noise of the size that was measured between processors, planted in the transforms."""
    from dp_accounting.pld import common

    generator = np.random.default_rng(0)
    given = {
        "steps": 300,
        "rate_micro": 100_000,
        "noise_multiplier_micro": 1_500_000,
        "survey_noise_micro": 3_000_000,
    }
    stated = sampled_epsilon(**given, delta=1e-5 - delta_margin(300))
    real = common.fft.ifft

    def shaken(values, *args, **kwargs):
        found = real(values, *args, **kwargs)
        errors = generator.normal(size=len(found))
        return found + 1e-16 * 300 * errors / np.abs(errors).sum()

    for _ in range(5):
        sampled_epsilon.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(common.fft, "ifft", shaken)
            other = sampled_epsilon(**given, delta=1e-5)
        assert other <= stated
        assert stated - other < 1e-3
    sampled_epsilon.cache_clear()


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_planned_noise_is_the_smallest_and_its_own_statement_is_enough(epsilon: float) -> None:
    sampling = policy(rate=0.5).sampling
    noise = plan_noise(
        epsilon, delta_e12=DELTA, rounds=5, sampling=sampling, survey=True, calibrate=True
    )
    assert noise.noise_multiplier_micro % 1000 == 0

    def with_noise(plan: NoisePlan, less: int = 0) -> PrivacyPolicy:
        return policy(
            rate=0.5,
            noise=(plan.noise_multiplier_micro - less) / 1e6,
            rounds=5,
            survey=plan.survey_noise_micro / 1e6,
            calibration=plan.calibration_noise_micro / 1e6,
        )

    cost = policy_epsilon_micro(with_noise(noise))
    assert cost <= round(epsilon * 1e6)
    assert policy_epsilon_micro(with_noise(noise, less=1000)) > round(epsilon * 1e6)
    assert states_enough(with_noise(noise).model_copy(update={"epsilon_micro": cost}))
    assert not states_enough(with_noise(noise).model_copy(update={"epsilon_micro": cost - 2000}))


@pytest.mark.parametrize("order", [2, 3, 8, 32])
@pytest.mark.parametrize(("rate", "noise"), [(0.01, 0.8), (0.1, 1.5), (0.5, 6.0), (1.0, 4.0)])
def test_the_divergence_is_opacus_and_the_integral(rate: float, noise: float, order: int) -> None:
    ours = sampled_rdp(
        rate_micro=round(rate * 1e6), noise_multiplier_micro=round(noise * 1e6), order=order
    )
    opacus = opacus_rdp.compute_rdp(q=rate, noise_multiplier=noise, steps=1, orders=float(order))
    assert ours == pytest.approx(float(opacus), rel=1e-9)
    if order <= 8:
        # E over the plain Gaussian of (mixture / plain)^order, on a fine grid
        x = np.linspace(-14 * noise, order + 14 * noise, 400_001)
        ratio = (1 - rate) + rate * np.exp((2 * x - 1) / (2 * noise**2))
        moment = np.trapezoid(norm.pdf(x, 0, noise) * ratio**order, x)
        assert ours == pytest.approx(math.log(moment) / (order - 1), rel=1e-6)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: policy_epsilon_micro(policy(noise=0.29)), "noise multiplier"),
        (lambda: policy_epsilon_micro(policy(noise=0.3, rate=0.9, rounds=100)), "more than"),
        (lambda: policy_epsilon_micro(policy().model_copy(update={"delta_e12": 1})), "delta"),
        (
            lambda: plan_noise(
                0.0005,
                delta_e12=DELTA,
                rounds=3,
                sampling=policy().sampling,
                survey=False,
                calibrate=False,
            ),
            "at least 0.001",
        ),
    ],
)
def test_what_cannot_be_accounted_for_is_refused_by_name(call, word: str) -> None:
    with pytest.raises(TaskError, match=word):
        call()
