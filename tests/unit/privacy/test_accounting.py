# SPDX-License-Identifier: Apache-2.0
"""Epsilon of full-batch tasks against three independent accountants, and its rounding."""

from __future__ import annotations

import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import pld_privacy_accountant
from opacus.accountants import PRVAccountant, RDPAccountant

from dao.errors import TaskError
from dao.records import PrivacyPolicy
from privacy.accounting import (
    NoisePlan,
    Releases,
    answered_epsilon_micro,
    delta_of,
    epsilon_of_mu,
    mu_of_epsilon,
    plan_noise,
    policy_epsilon_micro,
    releases_epsilon_micro,
    states_enough,
    task_mu,
)

CASES = [(1.0, 30), (2.0, 30), (8.0, 30), (8.0, 150), (0.3, 1)]
DELTA = 10_000_000


def plan(
    epsilon: float, rounds: int, *, survey: bool = False, calibrate: bool = False
) -> NoisePlan:
    return plan_noise(
        epsilon, delta_e12=DELTA, rounds=rounds, sampling=None, survey=survey, calibrate=calibrate
    )


def policy_of(noise: NoisePlan, rounds: int, *, epsilon_micro: int = 1) -> PrivacyPolicy:
    return PrivacyPolicy(
        mechanism="gaussian-full-batch",
        clip_norm_nano=10**9,
        noise_multiplier_micro=noise.noise_multiplier_micro,
        rounds=rounds,
        sampling=None,
        survey_noise_micro=noise.survey_noise_micro,
        calibration_noise_micro=noise.calibration_noise_micro,
        delta_e12=DELTA,
        epsilon_micro=epsilon_micro,
        public_n=100,
    )


def accountants_epsilon(gaussians: list[float]) -> float:
    """dp-accounting's answer for Gaussian mechanisms with these noise multipliers, at 1e-5."""
    accountant = pld_privacy_accountant.PLDAccountant(value_discretization_interval=1e-4)
    for noise in gaussians:
        accountant.compose(dp_accounting.GaussianDpEvent(noise))
    return float(accountant.get_epsilon(1e-5))


@pytest.mark.parametrize(("epsilon", "rounds"), CASES)
def test_epsilon_is_that_of_dp_accounting_pld(epsilon: float, rounds: int) -> None:
    noise = plan(epsilon, rounds)
    accountant = pld_privacy_accountant.PLDAccountant(value_discretization_interval=1e-4)
    gaussian = dp_accounting.GaussianDpEvent(noise.noise_multiplier_micro / 1e6)
    accountant.compose(dp_accounting.SelfComposedDpEvent(gaussian, rounds))
    ours = policy_epsilon_micro(policy_of(noise, rounds)) / 1e6
    # The PLD accountant is pessimistic by its discretisation.
    assert ours == pytest.approx(accountant.get_epsilon(1e-5), abs=2e-3)
    assert ours <= accountant.get_epsilon(1e-5) + 2e-6


@pytest.mark.parametrize(("survey", "calibrate"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_survey_and_calibration_cost_what_dp_accounting_says(
    epsilon: float, survey: bool, calibrate: bool
) -> None:
    """Training and survey composed; calibration units are others, so the dearer of the two."""
    noise = plan(epsilon, 10, survey=survey, calibrate=calibrate)
    gaussians = [noise.noise_multiplier_micro / 1e6] * 10
    if survey:
        gaussians.append(noise.survey_noise_micro / 1e6)
    expected = accountants_epsilon(gaussians)
    if calibrate:
        expected = max(expected, accountants_epsilon([noise.calibration_noise_micro / 1e6]))
    ours = policy_epsilon_micro(policy_of(noise, 10)) / 1e6
    assert ours == pytest.approx(expected, abs=2e-3)
    assert ours == pytest.approx(epsilon, abs=1e-4)


@pytest.mark.filterwarnings("ignore:.*(Optimal order|divide by zero)")
@pytest.mark.parametrize(("epsilon", "rounds"), CASES[:3])
def test_opacus_rdp_is_above_and_prv_agrees(epsilon: float, rounds: int) -> None:
    sigma = plan(epsilon, rounds).noise_multiplier_micro / 1e6
    rdp, prv = RDPAccountant(), PRVAccountant()
    rdp.history = [(sigma, 1.0, rounds)]
    prv.history = [(sigma, 1.0, rounds)]
    assert rdp.get_epsilon(1e-5) >= epsilon
    # PRV's answer is an upper end; its stated error is 0.01.
    assert epsilon - 1e-5 <= prv.get_epsilon(1e-5) <= epsilon + 0.02


def test_epsilon_fulfils_the_definition_by_sampling() -> None:
    # P(L > eps) - e^eps P(L' < -eps) for the privacy loss of N(mu, 1) against N(0, 1).
    mu, delta = 1.3, 1e-2
    epsilon = epsilon_of_mu(mu, delta)
    draws = np.random.default_rng(0).normal(size=2_000_000)
    loss = mu * (draws + mu) - mu * mu / 2
    measured = np.mean(np.maximum(0.0, 1.0 - np.exp(epsilon - loss)))
    assert measured == pytest.approx(delta, rel=0.02)


def test_mu_and_epsilon_are_inverse_and_err_on_the_safe_side() -> None:
    for epsilon in (0.01, 0.5, 1.0, 8.0, 50.0):
        for delta in (1e-10, 1e-5, 1e-2):
            mu = mu_of_epsilon(epsilon, delta)
            assert delta_of(epsilon=epsilon, mu=mu) <= delta
            assert epsilon_of_mu(mu, delta) == pytest.approx(epsilon, rel=1e-9)
            above = epsilon_of_mu(mu, delta)
            assert delta_of(epsilon=above, mu=mu) <= delta


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.3, 8.0])
@pytest.mark.parametrize("rounds", [1, 30, 1000])
def test_epsilon_rounds_up_and_each_planned_noise_is_the_smallest(
    epsilon: float, rounds: int
) -> None:
    noise = plan(epsilon, rounds, survey=True, calibrate=True)
    limit = math.floor(epsilon * 1e6 + 1e-6)
    policy = policy_of(noise, rounds)
    exact = epsilon_of_mu(task_mu(policy), 1e-5) * 1e6
    assert exact <= policy_epsilon_micro(policy) < exact + 1
    assert policy_epsilon_micro(policy) <= limit
    for field in ("noise_multiplier_micro", "calibration_noise_micro"):
        # One step less of either passes the limit; two, where doubles cannot tell one.
        less = policy.model_copy(update={field: getattr(policy, field) - 2})
        assert epsilon_of_mu(task_mu(less), 1e-5) * 1e6 > limit


def test_a_survey_gets_a_fifth_of_mu_and_a_calibration_the_whole() -> None:
    noise = plan(8.0, 30, survey=True, calibrate=True)
    mu = mu_of_epsilon(8.0, 1e-5)
    assert 1e6 / noise.survey_noise_micro == pytest.approx(0.2 * mu, rel=1e-6)
    assert 1e6 / noise.calibration_noise_micro == pytest.approx(mu, rel=1e-5)
    training = math.sqrt(30) * 1e6 / noise.noise_multiplier_micro
    assert training == pytest.approx(math.sqrt(0.96) * mu, rel=1e-5)


def test_what_was_not_answered_costs_nothing() -> None:
    policy = policy_of(plan(8.0, 30, survey=True, calibrate=True), 30)

    def cost(trained: int, surveyed: bool = False, calibrated: bool = False) -> int:
        return answered_epsilon_micro(
            policy, trained=trained, surveyed=surveyed, calibrated=calibrated
        )

    assert cost(0) == 0
    costs = [cost(trained) for trained in range(31)]
    assert costs == sorted(set(costs))
    assert cost(30) < cost(30, surveyed=True) <= cost(30, True, True)
    assert cost(30, True, True) == policy_epsilon_micro(policy)
    # The calibration's units are others: alone it costs the whole, with training no more.
    assert cost(0, calibrated=True) == cost(15, True, True)
    assert cost(10) == releases_epsilon_micro(
        Releases(10, policy.noise_multiplier_micro), delta_e12=DELTA
    )


def test_mu_squared_is_exact() -> None:
    assert Releases(4, 2_000_000).mu_squared() == 1
    third = Releases(1, 3_000_000, survey_noise_micro=3_000_000).mu_squared()
    assert (third.numerator, third.denominator) == (2, 9)
    assert Releases(9, 3_000_000, calibration_noise_micro=500_000).mu_squared() == 4
    assert Releases(0, 0).mu_squared() == 0


def test_a_statement_is_enough_from_the_cost_itself_on() -> None:
    noise = plan(8.0, 30, survey=True)
    cost = policy_epsilon_micro(policy_of(noise, 30))
    assert states_enough(policy_of(noise, 30, epsilon_micro=cost))
    assert not states_enough(policy_of(noise, 30, epsilon_micro=cost - 1))


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: mu_of_epsilon(0.0, 1e-5), "epsilon"),
        (lambda: mu_of_epsilon(math.inf, 1e-5), "epsilon"),
        (lambda: epsilon_of_mu(1.0, 0.0), "delta"),
        (lambda: epsilon_of_mu(math.nan, 1e-5), "mu"),
        (lambda: plan(8.0, 0), "rounds"),
        (lambda: plan(-1.0, 5), "epsilon"),
        (lambda: plan(math.nan, 5), "epsilon"),
        (lambda: plan(1e-7, 5), "at least"),
        (lambda: Releases(3, 0).epsilon(1e-5), "noise multiplier"),
        (
            lambda: answered_epsilon_micro(
                policy_of(plan(8.0, 3), 3), trained=4, surveyed=False, calibrated=False
            ),
            "4 training rounds",
        ),
    ],
)
def test_senseless_requests_are_refused_by_name(call, word: str) -> None:
    with pytest.raises(TaskError, match=word):
        call()
