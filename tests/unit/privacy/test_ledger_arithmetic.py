# SPDX-License-Identifier: Apache-2.0
"""The privacy ledger: what it charges, what it refuses, and that its chain cannot be bent."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dao.errors import BudgetError, RecordError, VaultRefusal
from dao.records import PrivacyPolicy
from privacy.accounting import plan_noise
from privacy.filters import LifetimeLimit
from privacy.ledger import LedgerState
from privacy.ledger_entry import GENESIS, LedgerEntry

DELTA = 10_000_000
ACCOUNT = "0x" + "11" * 20
EMPTY = LedgerState(account=ACCOUNT)


def policy(
    epsilon: float, rounds: int = 4, *, survey: bool = False, calibrate: bool = False
) -> PrivacyPolicy:
    noise = plan_noise(
        epsilon,
        delta_e12=DELTA,
        rounds=rounds,
        sampling=None,
        survey=survey,
        calibrate=calibrate,
    )
    return PrivacyPolicy(
        mechanism="gaussian-full-batch",
        clip_norm_nano=10**9,
        noise_multiplier_micro=noise.noise_multiplier_micro,
        rounds=rounds,
        sampling=None,
        survey_noise_micro=noise.survey_noise_micro,
        calibration_noise_micro=noise.calibration_noise_micro,
        delta_e12=DELTA,
        epsilon_micro=round(epsilon * 1e6),
        public_n=100,
    )


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def limit(epsilon: float) -> LifetimeLimit:
    return LifetimeLimit(epsilon_micro=round(epsilon * 1e6), delta_e12=DELTA)


def answered(state: LedgerState, task: str, number: int, base: str = "base") -> LedgerState:
    entry = state.answer(
        task_digest=digest(task),
        round_number=number,
        base_model_sha256=digest(base),
        update_sha256=digest(f"{task} {number}"),
    )
    assert entry is not None
    return state.apply(entry)


def reserved(state: LedgerState, task: str, epsilon: float, most: float) -> LedgerState:
    entry = state.reserve(task_digest=digest(task), policy=policy(epsilon), limit=limit(most))
    assert entry is not None
    return state.apply(entry)


@pytest.mark.promise(1)
@given(epsilons=st.lists(st.floats(0.1, 6.0), max_size=12), most=st.floats(0.5, 9.0))
def test_promise_1_no_sequence_of_tasks_passes_the_lifetime_limit(
    epsilons: list[float], most: float
) -> None:
    state = EMPTY
    for index, epsilon in enumerate(epsilons):
        task = digest(f"task {index}")
        try:
            entry = state.reserve(task_digest=task, policy=policy(epsilon), limit=limit(most))
        except BudgetError:
            assert not state.can_afford(policy(epsilon), limit(most))
            continue
        assert entry is not None
        state = state.apply(entry)
        for number in range(1, 5):
            state = answered(state, f"task {index}", number)
    assert state.charged_nano <= limit(most).room_nano(0)
    assert state.spent_epsilon_micro(delta_e12=DELTA) <= round(most * 1e6)


@pytest.mark.promise(1)
def test_promise_1_the_whole_task_must_be_affordable_before_its_first_round() -> None:
    state = reserved(EMPTY, "first", 6.0, 8.0)
    with pytest.raises(BudgetError, match="lifetime limit"):
        state.reserve(task_digest=digest("second"), policy=policy(6.0), limit=limit(8.0))
    with pytest.raises(BudgetError, match="not reserved"):
        state.answer(
            task_digest=digest("second"),
            round_number=1,
            base_model_sha256=digest("b"),
            update_sha256=digest("u"),
        )


def test_one_task_of_the_limit_itself_is_affordable_but_nothing_after_it() -> None:
    state = reserved(EMPTY, "all", 8.0, 8.0)
    assert state.charged_epsilon_micro(delta_e12=DELTA) <= 8_000_000
    assert not state.can_afford(policy(0.05), limit(8.0))


def test_mu_squares_add_up_not_epsilons() -> None:
    # Two tasks of epsilon 4 cost less than 8 together.
    state = reserved(reserved(EMPTY, "a", 4.0, 8.0), "b", 4.0, 8.0)
    assert state.charged_epsilon_micro(delta_e12=DELTA) < 6_500_000


def test_a_round_is_answered_once_on_one_base_with_one_update() -> None:
    state = answered(reserved(EMPTY, "t", 2.0, 8.0), "t", 1)
    same = {"task_digest": digest("t"), "round_number": 1}
    again = state.answer(**same, base_model_sha256=digest("base"), update_sha256=digest("t 1"))
    assert again is None
    with pytest.raises(VaultRefusal, match="another base"):
        state.answer(**same, base_model_sha256=digest("x"), update_sha256=digest("t 1"))
    with pytest.raises(VaultRefusal, match="another update"):
        state.answer(**same, base_model_sha256=digest("base"), update_sha256=digest("x"))
    for number in (0, 5):
        with pytest.raises(BudgetError, match="not reserved"):
            answered(state, "t", number)


def test_reserving_twice_charges_once() -> None:
    state = reserved(EMPTY, "t", 6.0, 8.0)
    assert state.reserve(task_digest=digest("t"), policy=policy(6.0), limit=limit(8.0)) is None


def test_a_release_gives_back_only_what_was_never_answered() -> None:
    state = answered(reserved(EMPTY, "t", 6.0, 8.0), "t", 1)
    entry = state.release(task_digest=digest("t"))
    assert entry is not None
    ended = state.apply(entry)
    assert ended.charged_nano == ended.spent_nano == state.spent_nano > 0
    assert entry.charge_nano == state.charged_nano - state.spent_nano
    assert ended.release(task_digest=digest("t")) is None
    with pytest.raises(VaultRefusal, match="has ended"):
        answered(ended, "t", 2)
    with pytest.raises(VaultRefusal, match="has ended"):
        ended.reserve(task_digest=digest("t"), policy=policy(6.0), limit=limit(8.0))
    with pytest.raises(VaultRefusal, match="not in this vault"):
        ended.release(task_digest=digest("other"))


def _entries() -> list[LedgerEntry]:
    entries, state = [], EMPTY
    for make in (
        lambda s: s.reserve(task_digest=digest("t"), policy=policy(2.0), limit=limit(8.0)),
        lambda s: s.answer(
            task_digest=digest("t"),
            round_number=1,
            base_model_sha256=digest("b"),
            update_sha256=digest("u"),
        ),
        lambda s: s.release(task_digest=digest("t")),
    ):
        entry = make(state)
        assert entry is not None
        entries.append(entry)
        state = state.apply(entry)
    return entries


def test_replay_gives_the_same_state_from_bytes() -> None:
    entries = _entries()
    assert entries[0].previous == GENESIS
    copies = [LedgerEntry.parse(entry.canonical()) for entry in entries]
    state = LedgerState.replay(copies)
    assert state.head == entries[-1].digest()
    assert state.length == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e[1:], "line 1: sequence is 1, expected 0"),
        (lambda e: [e[0], e[2]], "line 2: sequence is 2, expected 1"),
        (lambda e: [e[0].model_copy(update={"charge_nano": 1}), *e[1:]], "line 1"),
        (lambda e: [e[0], e[1].model_copy(update={"update_sha256": "0" * 64}), e[2]], "line 3"),
        (lambda e: [e[0], e[1].model_copy(update={"round": 9}), e[2]], "not reserved"),
        (lambda e: [*e[:2], e[2].model_copy(update={"charge_nano": 10**12})], "line 3"),
        (
            lambda e: [
                *e,
                e[1].model_copy(update={"sequence": 3, "previous": e[2].digest(), "round": 2}),
            ],
            "has ended",
        ),
    ],
)
def test_a_bent_chain_is_refused_with_its_place(change, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        LedgerState.replay(change(_entries()))


def test_entries_hold_what_their_kind_needs() -> None:
    good = _entries()[1].model_dump(mode="json")
    for field, value in (("round", 0), ("update_sha256", None), ("charge_nano", "5")):
        with pytest.raises(ValueError, match="round"):
            LedgerEntry.model_validate(good | {field: value})
    reserve = _entries()[0].model_dump(mode="json")
    for field, value in (("reservation", None), ("order", 1), ("kind", "release")):
        with pytest.raises(ValueError, match="reserve|release"):
            LedgerEntry.model_validate(reserve | {field: value})


def test_a_line_may_not_reserve_more_rounds_than_a_task_may_have() -> None:
    """Rounds are added up one by one: a line that names 600 billion would take all memory."""
    longest = policy(5.0).model_copy(update={"rounds": 10_000})
    entry = EMPTY.reserve(
        task_digest=digest("long"),
        policy=PrivacyPolicy.model_validate(longest.model_dump()),
        limit=LifetimeLimit(epsilon_micro=10**12, delta_e12=DELTA),
    )
    assert entry is not None
    line = entry.canonical()
    assert EMPTY.apply(LedgerEntry.parse(line)).length == 1
    for rounds in (10_001, 600_000_000_000):
        with pytest.raises(ValidationError, match="rounds"):
            PrivacyPolicy.model_validate({**longest.model_dump(), "rounds": rounds})
        changed = line.replace(b'"rounds":10000', f'"rounds":{rounds}'.encode())
        assert changed != line
        with pytest.raises(RecordError, match=r"reservation\.rounds.*10000"):
            LedgerEntry.parse(changed)
