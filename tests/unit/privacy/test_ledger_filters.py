# SPDX-License-Identifier: Apache-2.0
"""The two lifetime filters: what they charge, what they hold, and that neither is left again."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction

import dp_accounting
import numpy as np
import pytest
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st

from dao.errors import BudgetError, RecordError, VaultRefusal
from dao.records import PrivacyPolicy, Sampling
from privacy.accounting import mu_of_epsilon, plan_noise, policy_epsilon_micro
from privacy.filters import ORDERS, FilterKind, LifetimeLimit, gaussian_charge_nano
from privacy.ledger import LedgerState
from privacy.ledger_entry import LedgerEntry, Reservation

DELTA = 10_000_000
ACCOUNT = "0x" + "11" * 20
EMPTY = LedgerState(account=ACCOUNT)
SAMPLING = Sampling(rate_micro=50_000, steps=8, eta_micro=10_000, local_units=100)


def policy(
    noise: float,
    *,
    rounds: int = 4,
    sampling: Sampling | None = None,
    survey: float = 0.0,
    calibration: float = 0.0,
) -> PrivacyPolicy:
    return PrivacyPolicy(
        mechanism="gaussian-full-batch" if sampling is None else "gaussian-poisson",
        clip_norm_nano=10**9,
        noise_multiplier_micro=round(noise * 1e6),
        rounds=rounds,
        sampling=sampling,
        survey_noise_micro=round(survey * 1e6),
        calibration_noise_micro=round(calibration * 1e6),
        delta_e12=DELTA,
        epsilon_micro=1,
        public_n=100,
    )


def limit(epsilon: float, kind: FilterKind) -> LifetimeLimit:
    return LifetimeLimit(epsilon_micro=round(epsilon * 1e6), delta_e12=DELTA, filter=kind)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def reserved(
    state: LedgerState, task: str, task_policy: PrivacyPolicy, within: LifetimeLimit
) -> LedgerState:
    entry = state.reserve(task_digest=digest(task), policy=task_policy, limit=within)
    assert entry is not None
    return state.apply(entry)


def answered(state: LedgerState, task: str, *numbers: int) -> LedgerState:
    for number in numbers:
        entry = state.answer(
            task_digest=digest(task),
            round_number=number,
            base_model_sha256=digest("base"),
            update_sha256=digest(f"{task} {number}"),
        )
        assert entry is not None
        state = state.apply(entry)
    return state


@pytest.mark.promise(1)
def test_a_task_charges_the_dearer_of_training_with_survey_and_calibration() -> None:
    task = policy(2.0, rounds=4, survey=4.0, calibration=0.9)
    state = reserved(EMPTY, "t", task, limit(8.0, "gdp"))
    # 4/4 + 1/16 against 1/0.81
    assert state.charged_nano == math.ceil(1e9 / 0.81)
    cheap = policy(2.0, rounds=4, survey=4.0, calibration=3.0)
    state = reserved(EMPTY, "t", cheap, limit(8.0, "gdp"))
    assert state.charged_nano == 1_062_500_000


def test_spending_follows_the_kinds_of_the_answered_rounds() -> None:
    """Round 1 is the survey, 2 to 5 train, 6 calibrates."""
    task = policy(2.0, rounds=4, survey=4.0, calibration=0.9)
    state = reserved(EMPTY, "t", task, limit(8.0, "gdp"))
    assert answered(state, "t", 1).spent_nano == 62_500_000
    assert answered(state, "t", 3).spent_nano == 250_000_000
    assert answered(state, "t", 1, 2, 3).spent_nano == 562_500_000
    assert answered(state, "t", 6).spent_nano == state.charged_nano
    assert answered(state, "t", 1, 2, 3, 4, 5, 6).spent_nano == state.charged_nano
    with pytest.raises(BudgetError, match="not reserved"):
        answered(state, "t", 7)
    entry = answered(state, "t", 1, 2).release(task_digest=digest("t"))
    assert entry is not None
    assert entry.charge_nano == state.charged_nano - 312_500_000


def test_a_task_tells_the_epsilon_that_the_vote_was_shown() -> None:
    half = SAMPLING.model_copy(update={"rate_micro": 500_000})
    for sampling in (None, half):
        noise = plan_noise(
            2.0, delta_e12=DELTA, rounds=4, sampling=sampling, survey=True, calibrate=True
        )
        task = policy(
            noise.noise_multiplier_micro / 1e6,
            sampling=sampling,
            survey=noise.survey_noise_micro / 1e6,
            calibration=noise.calibration_noise_micro / 1e6,
        )
        state = reserved(EMPTY, "t", task, limit(10.0, "rdp"))
        spending = state.tasks[digest("t")]
        assert spending.epsilon_micro == policy_epsilon_micro(task) <= 2_000_000
        assert spending.spent_epsilon_micro == 0
        whole = answered(state, "t", *range(1, 7)).tasks[digest("t")]
        assert whole.spent_epsilon_micro == spending.epsilon_micro


@pytest.mark.parametrize("epsilon", [1.0, 4.0, 10.0, 20.0])
def test_the_renyi_budget_is_that_of_dp_accounting(epsilon: float) -> None:
    """A Gaussian that fills the budget converts, at the ledger's order alone, to the limit."""
    within = limit(epsilon, "rdp")
    order = within.order()
    mu = math.sqrt(within.room_nano(order) / 1e9 * 2 / order)
    accountant = RdpAccountant([float(order)])
    accountant.compose(dp_accounting.GaussianDpEvent(1 / mu))
    assert accountant.get_epsilon(1e-5) == pytest.approx(epsilon, abs=1e-6)
    others = [limit(epsilon, "rdp").room_nano(each) / each for each in ORDERS]
    assert within.room_nano(order) / order == max(others)
    # What the Gaussian filter could spend, less what Renyi divergences cannot see.
    assert 0.8 < mu**2 / mu_of_epsilon(epsilon, 1e-5) ** 2 < 1.0


def test_sampled_tasks_charge_what_dp_accounting_says() -> None:
    within = limit(10.0, "rdp")
    order = within.order()
    task = policy(0.9, sampling=SAMPLING, survey=4.0)
    state = reserved(EMPTY, "t", task, within)
    accountant = RdpAccountant([float(order)])
    step = dp_accounting.PoissonSampledDpEvent(0.05, dp_accounting.GaussianDpEvent(0.9))
    accountant.compose(dp_accounting.SelfComposedDpEvent(step, 4 * 8))
    accountant.compose(dp_accounting.GaussianDpEvent(4.0))
    expected = float(np.asarray(accountant.rdp)[0]) * 1e9
    assert expected <= state.charged_nano <= expected * (1 + 1e-8) + 6


def test_gaussian_charges_are_exact() -> None:
    assert gaussian_charge_nano(Fraction(1, 9), 0) == 111_111_112
    assert gaussian_charge_nano(Fraction(1, 9), 3) == 166_666_667
    assert gaussian_charge_nano(Fraction(0), 7) == 0


@settings(max_examples=25, deadline=None)
@given(
    noises=st.lists(st.tuples(st.floats(0.6, 8.0), st.booleans()), max_size=10),
    most=st.floats(0.5, 12.0),
)
def test_promise_1_no_mix_of_sampled_and_full_batch_tasks_passes_the_renyi_budget(
    noises: list[tuple[float, bool]], most: float
) -> None:
    within, state = limit(most, "rdp"), EMPTY
    accountant = RdpAccountant([float(within.order())])
    for index, (noise, sampled) in enumerate(noises):
        task = policy(noise, sampling=SAMPLING if sampled else None)
        if not state.can_afford(task, within):
            with pytest.raises(BudgetError):
                state.reserve(task_digest=digest(f"{index}"), policy=task, limit=within)
            continue
        state = reserved(state, f"{index}", task, within)
        event: dp_accounting.DpEvent = dp_accounting.GaussianDpEvent(round(noise * 1e6) / 1e6)
        if sampled:
            event = dp_accounting.SelfComposedDpEvent(
                dp_accounting.PoissonSampledDpEvent(0.05, event), 8
            )
        accountant.compose(event, 4)
    assert state.charged_nano <= within.room_nano(within.order())
    if state.length:
        assert accountant.get_epsilon(1e-5) <= most + 1e-6


def test_the_gaussian_filter_refuses_sampled_tasks_and_says_how_to_take_them() -> None:
    task = policy(2.0, sampling=SAMPLING)
    with pytest.raises(VaultRefusal, match="sampled") as caught:
        EMPTY.reserve(task_digest=digest("t"), policy=task, limit=limit(8.0, "gdp"))
    assert caught.value.hint is not None
    assert 'vault.filter = "rdp"' in caught.value.hint
    assert not EMPTY.can_afford(task, limit(8.0, "gdp"))


@pytest.mark.promise(1)
def test_a_ledger_keeps_the_filter_of_its_first_entry_for_life() -> None:
    task = policy(9.0)
    for kept, other in (("gdp", "rdp"), ("rdp", "gdp")):
        state = reserved(EMPTY, "t", task, limit(8.0, kept))
        with pytest.raises(VaultRefusal, match="kept by the filter"):
            state.reserve(task_digest=digest("u"), policy=task, limit=limit(8.0, other))
    # A raised limit moves the best order, not the ledger's.
    state = reserved(EMPTY, "t", task, limit(2.0, "rdp"))
    assert limit(2.0, "rdp").order() != limit(20.0, "rdp").order()
    more = reserved(state, "u", task, limit(20.0, "rdp"))
    assert more.order == state.order == limit(2.0, "rdp").order()


def test_reading_again_needs_no_accountant() -> None:
    """Every number that counts stands in the entries: no float is computed when they are read."""
    state = reserved(EMPTY, "t", policy(0.9, sampling=SAMPLING, survey=4.0), limit(10.0, "rdp"))
    entries: list[LedgerEntry] = []
    fresh = EMPTY
    entry = fresh.reserve(
        task_digest=digest("t"),
        policy=policy(0.9, sampling=SAMPLING, survey=4.0),
        limit=limit(10.0, "rdp"),
    )
    assert entry is not None
    entries.append(LedgerEntry.parse(entry.canonical()))
    with pytest.MonkeyPatch.context() as patch:
        for module in ("privacy.filters", "privacy.subsampled"):
            patch.setattr(f"{module}.sampled_rdp", None)
        patch.setattr("privacy.subsampled._composed_epsilon", None)
        patch.setattr("privacy.filters.epsilon_of_mu", None)
        again = LedgerState.replay(entries)
        assert again == state
        assert again.charged_nano == state.charged_nano


def test_a_ledger_of_another_vault_is_refused_by_name() -> None:
    other = LedgerState(account="0x" + "22" * 20)
    entry = other.reserve(task_digest=digest("t"), policy=policy(9.0), limit=limit(8.0, "gdp"))
    assert entry is not None
    with pytest.raises(RecordError, match="of the vault of 0x2222") as caught:
        EMPTY.apply(entry)
    assert caught.value.hint is not None


def test_an_entry_of_another_filter_or_with_free_sampling_is_refused() -> None:
    first = EMPTY.reserve(task_digest=digest("t"), policy=policy(9.0), limit=limit(8.0, "gdp"))
    assert first is not None
    state = EMPTY.apply(first)
    second = state.reserve(task_digest=digest("u"), policy=policy(9.0), limit=limit(8.0, "gdp"))
    assert second is not None
    with pytest.raises(RecordError, match="filter order is 5"):
        state.apply(second.model_copy(update={"order": 5}))
    sampled = Reservation.of_policy(policy(2.0, sampling=SAMPLING), order=4)
    for change in ({"order": 0}, {"reservation": {**sampled.model_dump(), "round_nano": "0"}}):
        line = first.model_dump() | {"reservation": sampled.model_dump(), "order": 4} | change
        with pytest.raises(ValueError, match="do(es)? not fit"):
            LedgerEntry.model_validate(line)


def test_what_is_left_is_what_one_more_task_may_cost() -> None:
    for kind in ("gdp", "rdp"):
        within = limit(8.0, kind)
        state = reserved(EMPTY, "t", policy(4.0), within)
        left = state.left_epsilon_micro(within) / 1e6
        fits, passes = (
            plan_noise(
                left + change,
                delta_e12=DELTA,
                rounds=4,
                sampling=None,
                survey=False,
                calibrate=False,
            ).noise_multiplier_micro
            / 1e6
            for change in (-1e-4, 1e-4)
        )
        assert state.can_afford(policy(fits), within)
        assert not state.can_afford(policy(passes), within)
        assert state.left_nano(within) == within.room_nano(state.order or 0) - state.charged_nano
