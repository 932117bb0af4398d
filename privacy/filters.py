# SPDX-License-Identifier: Apache-2.0
"""The lifetime filter: when may a vault, after all that it has released, take one more task?

Later tasks may be chosen after seeing earlier outputs, so epsilons must not simply be composed.
Two sums are valid filters nevertheless, and a vault keeps one of them for life:

- `gdp`: mu^2 of Gaussian mechanisms adds up (Smith and Thakurta, "Fully Adaptive Composition for
  Gaussian Differential Privacy", 2022). Exact for full batches; sampled steps do not fit in.
- `rdp`: the Renyi divergence of one order adds up (Feldman and Zrnic, "Individual Privacy
  Accounting via a Renyi Filter", 2021). Holds Gaussian mechanisms (order * mu^2 / 2)
  and sampled steps, and holds 85 to 88 % of the full-batch tasks.

The order is one number, taken from the lifetime limit alone and written into the ledger's first
entry. The usual "one of many orders fits" would choose the order after the outputs. The theorem
does not cover that; delta would have to be split among the orders, which at a limit of 10 costs
15 % of the budget, more than a choice of order brings.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

from dao.canonical import Positive, Record
from dao.errors import VaultRefusal
from dao.records import PrivacyPolicy
from privacy.accounting import Releases, epsilon_of_mu, mu_of_epsilon
from privacy.subsampled import sampled_rdp

FilterKind = Literal["gdp", "rdp"]

GDP_ORDER = 0
"""Stands for the Gaussian-DP filter where a ledger names its Renyi order."""
ORDERS = range(2, 65)
"""Whole orders, at which the divergence of sampled steps is a finite sum."""
_ROUNDING = 1.0 + 1e-9
"""Above the relative error of that sum in doubles."""


class LifetimeLimit(Record):
    """A contributor's own limit: epsilon at delta over everything its vault ever answers."""

    epsilon_micro: Positive
    delta_e12: Positive
    filter: FilterKind = "gdp"

    def order(self) -> int:
        """The order of the filter: that at which most Gaussian budget fits within the limit."""
        if self.filter == "gdp":
            return GDP_ORDER
        return max(ORDERS, key=lambda order: self._divergence(order) / order)

    def room_nano(self, order: int) -> int:
        """The whole budget in 1e-9 of what the filter adds up, rounded down; 0 where even nothing
        spent would not show (Renyi)."""
        if order != GDP_ORDER:
            return max(0, math.floor(self._divergence(order) * 1e9))
        mu = mu_of_epsilon(self.epsilon_micro / 1e6, self.delta_e12 / 1e12)
        return math.floor(mu * mu * 1e9)

    def _divergence(self, order: int) -> float:
        return self.epsilon_micro / 1e6 - _over(order, self.delta_e12 / 1e12)


def spent_epsilon_micro(charge_nano: int, *, order: int, delta_e12: int) -> int:
    """Epsilon of a sum of charges in 1e-6, rounded up. With a Renyi filter this is a coarse bound
    while little is spent, since its order is made for the whole budget."""
    delta = delta_e12 / 1e12
    if charge_nano == 0:
        return 0
    if order == GDP_ORDER:
        return math.ceil(epsilon_of_mu(math.sqrt(charge_nano / 1e9), delta) * 1e6)
    return max(0, math.ceil((charge_nano / 1e9 + _over(order, delta)) * 1e6))


def largest_epsilon_micro(room_nano: int, *, order: int, delta_e12: int) -> int:
    """Epsilon of the dearest Gaussian mechanism whose charge fits into the room, rounded down."""
    mu_squared = room_nano / 1e9 * (1.0 if order == GDP_ORDER else 2.0 / order)
    return math.floor(epsilon_of_mu(math.sqrt(mu_squared), delta_e12 / 1e12) * 1e6)


def gaussian_charge_nano(mu_squared: Fraction, order: int) -> int:
    """What Gaussian mechanisms with this mu^2 charge, in 1e-9, rounded up; exact."""
    return math.ceil(mu_squared * 10**9 * (1 if order == GDP_ORDER else Fraction(order, 2)))


def round_charge_nano(policy: PrivacyPolicy, order: int) -> int:
    """What one sampled training round charges, in 1e-9, rounded up; 0 for a full-batch one.

    VaultRefusal where the filter cannot hold sampled steps.
    """
    if policy.sampling is None:
        return 0
    if order == GDP_ORDER:
        raise VaultRefusal(
            "the task takes Poisson-sampled steps, which this vault's Gaussian-DP filter cannot"
            " add up",
            hint='only a vault whose ledger began with vault.filter = "rdp" can answer it',
        )
    divergence = sampled_rdp(
        rate_micro=policy.sampling.rate_micro,
        noise_multiplier_micro=policy.noise_multiplier_micro,
        order=order,
    )
    return math.ceil(policy.sampling.steps * divergence * _ROUNDING * 1e9)


def releases_charge_nano(releases: Releases, *, round_nano: int, order: int) -> int:
    """What these releases charge, in 1e-9, rounded up; `round_nano` a sampled training round.

    Training and survey add up; calibration is of other units, so the dearer counts.
    """
    if not round_nano:
        return gaussian_charge_nano(releases.mu_squared(), order)
    survey = Releases(0, 0, survey_noise_micro=releases.survey_noise_micro)
    calibration = Releases(0, 0, calibration_noise_micro=releases.calibration_noise_micro)
    training = releases.trained * round_nano + gaussian_charge_nano(survey.mu_squared(), order)
    return max(training, gaussian_charge_nano(calibration.mu_squared(), order))


def _over(order: int, delta: float) -> float:
    """How much epsilon lies above a Renyi divergence at `delta` (Canonne, Kamath, Steinke, "The
    Discrete Gaussian for Differential Privacy", 2020, proposition 12)."""
    return math.log1p(-1.0 / order) - (math.log(delta) + math.log(order)) / (order - 1)
