# SPDX-License-Identifier: Apache-2.0
"""From a task record to what `openTask` takes, and back: does a proposal say what the record says?

A record counts its times from the opening, which nobody knows before the vote; the chain takes
absolute deadlines. So the deadlines are set from the latest time at which the vote can open it.
"""

from __future__ import annotations

from dao.contracts.task_types import ChainPart, ChainTerms
from dao.errors import TaskError
from dao.records import Task

EXECUTION_MARGIN_SECONDS = 86_400
"""Time to queue and execute a passed proposal, on top of the vote's own delays."""


def chain_terms(task: Task, cid: str, *, now: int, governance_seconds: int) -> ChainTerms:
    """The terms to propose at chain time `now`.

    Contributors have at least `join_seconds` to join, if the proposal is executed no later than
    `EXECUTION_MARGIN_SECONDS` after it can be. TaskError for terms that no chain would take.
    """
    terms = task.terms
    if terms.join_seconds >= terms.deadline_seconds:
        raise TaskError(
            f"terms: join_seconds is {terms.join_seconds}, expected less than deadline_seconds "
            f"({terms.deadline_seconds}): the deadline ends the whole task"
        )
    opened_by = now + governance_seconds + EXECUTION_MARGIN_SECONDS
    return ChainTerms(
        task_digest=task.digest(),
        task_cid=cid,
        coordinator=terms.coordinator,
        coordinator_bond_wei=terms.coordinator_bond_wei,
        budget_wei=terms.budget_wei,
        stake_wei=terms.stake_wei,
        part_bond_wei=terms.part_bond_wei,
        rounds=task.total_rounds,
        checkpoint_length=terms.checkpoint_length,
        min_contributors=terms.min_contributors,
        max_contributors=terms.max_contributors,
        quorum_bps=terms.quorum_bps,
        join_deadline=opened_by + terms.join_seconds,
        deadline=opened_by + terms.deadline_seconds,
        reveal_window_seconds=terms.reveal_seconds,
        challenge_window_seconds=terms.challenge_seconds,
        challenge_bond_wei=terms.challenge_bond_wei,
        allow_root=_root(terms.allow_root),
        parts=tuple(ChainPart(part.holder, part.commitment) for part in task.parts),
    )


def terms_problems(task: Task, cid: str, terms: ChainTerms) -> tuple[str, ...]:
    """Where terms on chain (or in a proposal) differ from the record; empty if nowhere.

    Deadlines are absolute there: that they follow each other as in the record is what is checked.
    """
    expected = chain_terms(task, cid, now=0, governance_seconds=0)
    problems = []
    for name in ChainTerms.__dataclass_fields__:
        if name in ("join_deadline", "deadline"):
            continue
        wanted, found = getattr(expected, name), getattr(terms, name)
        if wanted != found:
            problems.append(f"{name}: the record says {wanted}, the terms say {found}")
    between = expected.deadline - expected.join_deadline
    if terms.deadline - terms.join_deadline != between:
        problems.append(
            f"deadline: {terms.deadline - terms.join_deadline} s after the last time to join, "
            f"the record says {between} s"
        )
    return tuple(problems)


def _root(text: str) -> str:
    """A record's allow root as 0x and 64 digits; empty (``0x``) means that anyone may join."""
    digits = text.removeprefix("0x") or "00" * 32
    if len(digits) != 64:
        raise TaskError(f"terms: allow_root has {len(digits) // 2} bytes, expected 32, or 0x")
    return "0x" + digits
