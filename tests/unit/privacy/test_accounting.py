# SPDX-License-Identifier: Apache-2.0
"""Epsilon against three independent accountants, and its rounding."""

from __future__ import annotations

import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import pld_privacy_accountant
from opacus.accountants import PRVAccountant, RDPAccountant

from dao.errors import TaskError
from privacy.accounting import (
    delta_of,
    epsilon_of_mu,
    mu_of_epsilon,
    mu_squared_nano,
    noise_multiplier_micro,
    task_epsilon_micro,
)

CASES = [(1.0, 30), (2.0, 30), (8.0, 30), (8.0, 150), (0.3, 1)]


@pytest.mark.parametrize(("epsilon", "rounds"), CASES)
def test_epsilon_is_that_of_dp_accounting_pld(epsilon: float, rounds: int) -> None:
    sigma_micro = noise_multiplier_micro(epsilon, delta_e12=10_000_000, rounds=rounds)
    accountant = pld_privacy_accountant.PLDAccountant(value_discretization_interval=1e-4)
    accountant.compose(
        dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(sigma_micro / 1e6), rounds)
    )
    ours = task_epsilon_micro(
        rounds=rounds, noise_multiplier_micro=sigma_micro, delta_e12=10_000_000
    )
    # The PLD accountant is pessimistic by its discretisation.
    assert ours / 1e6 == pytest.approx(accountant.get_epsilon(1e-5), abs=2e-3)
    assert ours / 1e6 <= accountant.get_epsilon(1e-5) + 2e-6


@pytest.mark.filterwarnings("ignore:.*(Optimal order|divide by zero)")
@pytest.mark.parametrize(("epsilon", "rounds"), CASES[:3])
def test_opacus_rdp_is_above_and_prv_agrees(epsilon: float, rounds: int) -> None:
    sigma = noise_multiplier_micro(epsilon, delta_e12=10_000_000, rounds=rounds) / 1e6
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


def test_epsilon_rounds_up_and_the_noise_multiplier_is_the_smallest() -> None:
    sigma_micro = noise_multiplier_micro(8.0, delta_e12=10_000_000, rounds=30)
    cost = task_epsilon_micro(rounds=30, noise_multiplier_micro=sigma_micro, delta_e12=10_000_000)
    exact = epsilon_of_mu(math.sqrt(30) / (sigma_micro / 1e6), 1e-5)
    assert exact * 1e6 <= cost < exact * 1e6 + 1
    assert cost <= 8_000_000
    assert (
        task_epsilon_micro(rounds=30, noise_multiplier_micro=sigma_micro - 2, delta_e12=10_000_000)
        > 8_000_000
    )


def test_no_round_costs_nothing_and_more_rounds_cost_more() -> None:
    costs = [
        task_epsilon_micro(rounds=t, noise_multiplier_micro=3_000_000, delta_e12=10_000_000)
        for t in range(6)
    ]
    assert costs[0] == 0
    assert costs == sorted(set(costs))


def test_mu_squared_rounds_up_exactly() -> None:
    assert mu_squared_nano(rounds=4, noise_multiplier_micro=2_000_000) == 10**9
    assert mu_squared_nano(rounds=1, noise_multiplier_micro=3_000_000) == 111_111_112
    assert mu_squared_nano(rounds=0, noise_multiplier_micro=3_000_000) == 0


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: mu_of_epsilon(0.0, 1e-5), "epsilon"),
        (lambda: mu_of_epsilon(math.inf, 1e-5), "epsilon"),
        (lambda: epsilon_of_mu(1.0, 0.0), "delta"),
        (lambda: epsilon_of_mu(math.nan, 1e-5), "mu"),
        (lambda: noise_multiplier_micro(8.0, delta_e12=1, rounds=0), "rounds"),
        (
            lambda: task_epsilon_micro(rounds=3, noise_multiplier_micro=0, delta_e12=1),
            "noise multiplier",
        ),
    ],
)
def test_senseless_requests_are_refused_by_name(call, word: str) -> None:
    with pytest.raises(TaskError, match=word):
        call()
