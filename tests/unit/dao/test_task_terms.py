# SPDX-License-Identifier: Apache-2.0
"""From a record's durations to a chain's deadlines, and what a voter finds when they differ."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from dao.artefacts import load_artefact
from dao.cid import of_digest
from dao.contracts.task_types import ChainCheckpoint, ChainPart, ChainTerms, FinalReport
from dao.errors import TaskError
from dao.records import Task, Terms
from dao.task_terms import EXECUTION_MARGIN_SECONDS, chain_terms, terms_problems

TERMS = Terms(
    coordinator="0x" + "33" * 20,
    coordinator_bond_wei=5,
    budget_wei=10**21,
    stake_wei=7,
    part_bond_wei=8,
    challenge_bond_wei=9,
    min_contributors=3,
    max_contributors=10,
    quorum_bps=7000,
    checkpoint_length=4,
    join_seconds=100,
    deadline_seconds=1000,
    reveal_seconds=50,
    challenge_seconds=60,
    allow_root="0x",
    answer_grid_millis=0,
)


class _Policy:
    rounds, survey_noise_micro, calibration_noise_micro = 29, 0, 1


class _Part:
    holder, commitment = "0x" + "44" * 20, "ef" * 32


def task(**changed: Any) -> Task:
    """Of a task, what its terms come from; the rest of the record only enters by its digest."""
    found = Task.model_construct(
        terms=TERMS.model_copy(update=changed), policy=_Policy(), parts=(_Part(),)
    )
    object.__setattr__(found, "digest", lambda: "ab" * 32)
    return found


CID = of_digest("ab" * 32)


def test_deadlines_leave_time_for_the_vote() -> None:
    terms = chain_terms(task(), CID, now=10_000, governance_seconds=500)
    opened_by = 10_000 + 500 + EXECUTION_MARGIN_SECONDS
    assert (terms.join_deadline, terms.deadline) == (opened_by + 100, opened_by + 1000)
    assert (terms.reveal_window_seconds, terms.challenge_window_seconds) == (50, 60)
    assert (terms.rounds, terms.checkpoint_length, terms.quorum_bps) == (30, 4, 7000)
    assert terms.parts == (ChainPart("0x" + "44" * 20, "ef" * 32),)
    assert terms.allow_root == "0x" + "00" * 32


def test_terms_that_no_chain_takes() -> None:
    with pytest.raises(TaskError, match="expected less than deadline_seconds"):
        chain_terms(task(join_seconds=1000), CID, now=0, governance_seconds=0)
    with pytest.raises(TaskError, match="allow_root has 2 bytes, expected 32"):
        chain_terms(task(allow_root="0xabcd"), CID, now=0, governance_seconds=0)


def test_every_difference_is_found() -> None:
    """Each field for itself; the absolute deadlines may stand anywhere, but apart as recorded."""
    terms = chain_terms(task(), CID, now=77_777, governance_seconds=5)
    assert terms_problems(task(), CID, terms) == ()
    later = replace(terms, join_deadline=terms.join_deadline + 9, deadline=terms.deadline + 9)
    assert terms_problems(task(), CID, later) == ()
    for field in fields(ChainTerms):
        value = getattr(terms, field.name)
        if field.name == "parts":
            other: Any = ()
        elif isinstance(value, int):
            other = value + 1
        else:
            other = value[:-1] + ("1" if value[-1] == "0" else "0")
        changed = replace(terms, **{field.name: other})
        problems = terms_problems(task(), CID, changed)
        name = "deadline" if field.name == "join_deadline" else field.name
        assert [problem.partition(":")[0] for problem in problems] == [name]


def test_structs_carry_the_contracts_names() -> None:
    """Round trip through the ABI's own field names; none is missing, none is too many."""
    ledger = load_artefact("TaskLedger")
    terms = chain_terms(task(), CID, now=0, governance_seconds=0)
    expected = [field.name for field in ledger.function("openTask").inputs[0].fields]
    assert list(terms.to_abi()) == expected
    assert ChainTerms.from_abi(terms.to_abi()) == terms
    checkpoint = ChainCheckpoint(1, 2, 3, "aa" * 32, "bb" * 32)
    expected = [field.name for field in ledger.function("checkpointMessage").inputs[1].fields]
    assert list(checkpoint.to_abi()) == expected
    assert ChainCheckpoint.from_abi(checkpoint.to_abi()) == checkpoint
    report = FinalReport("aa" * 32, "bafkrei", "0x" + "bb" * 32, 5, "0x" + "cc" * 32, 6)
    expected = [field.name for field in ledger.function("finalMessage").inputs[1].fields]
    assert list(report.to_abi()) == expected
    assert FinalReport.from_abi(report.to_abi()) == report
