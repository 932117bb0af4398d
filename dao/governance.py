# SPDX-License-Identifier: Apache-2.0
"""Proposals: list, read, make, vote, queue, execute.

Functions that would spend return an unsent `Call`; `Chain.send` sends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dao.calldata import (
    Action,
    decode_action,
    show_duration,
)
from dao.chain import Call
from dao.cid import of_digest
from dao.contracts.governor import Actions, ProposalState, Support, Tally
from dao.contracts.task_types import TaskState
from dao.deployment import Contracts
from dao.errors import ChainError, InputError
from dao.records import Task
from dao.task_terms import chain_terms
from dao.trial import Trial, try_actions

OPEN_STATES = (
    ProposalState.PENDING,
    ProposalState.ACTIVE,
    ProposalState.SUCCEEDED,
    ProposalState.QUEUED,
)
"""States from which a proposal can still come into force."""


@dataclass(frozen=True)
class Proposal:
    """A proposal as it was made. `number` counts from 1 in the order of the chain."""

    number: int
    id: int
    proposer: str
    actions: tuple[Call, ...]
    description: str
    block: int

    @property
    def title(self) -> str:
        """The description's first line."""
        return self.description.strip().splitlines()[0] if self.description.strip() else ""

    def arguments(self) -> Actions:
        """Targets, values and call data, as the governor takes them."""
        return (
            [call.to or "" for call in self.actions],
            [call.value for call in self.actions],
            [call.data for call in self.actions],
        )


@dataclass(frozen=True)
class ProposalView:
    """Where a proposal stands at chain time `now`, and what it would do."""

    proposal: Proposal
    state: ProposalState
    tally: Tally
    quorum_wei: int | None
    """None until the vote has begun: the quorum is a part of the supply at that time."""
    vote_start: int
    vote_end: int
    executable_at: int
    now: int
    actions: tuple[Action, ...]
    trials: tuple[Trial, ...]
    """One per action, each tried by itself; empty for a proposal that has ended."""

    @property
    def next_step(self) -> str:
        """What can be done now."""
        if self.state is ProposalState.PENDING:
            return f"voting opens in {show_duration(self.vote_start - self.now + 1)}"
        if self.state is ProposalState.ACTIVE:
            return f"vote; voting closes in {show_duration(self.vote_end - self.now)}"
        if self.state is ProposalState.SUCCEEDED:
            return "passed: queue it"
        if self.state is ProposalState.QUEUED:
            wait = self.executable_at - self.now
            return f"execute it in {show_duration(wait)}" if wait > 0 else "execute it"
        return f"nothing: it is {self.state.name.lower()}"


def list_proposals(dao: Contracts) -> tuple[Proposal, ...]:
    """Every proposal ever made, in order."""
    events = dao.governor.events("ProposalCreated", from_block=dao.deployment.block)
    proposals = []
    for number, event in enumerate(events, start=1):
        said = event.arguments
        actions = tuple(
            Call(to=target, data=data, value=value, description=f"action of proposal {number}")
            for target, value, data in zip(
                said["targets"], said["values"], said["calldatas"], strict=True
            )
        )
        proposals.append(
            Proposal(
                number=number,
                id=said["proposalId"],
                proposer=said["proposer"],
                actions=actions,
                description=said["description"],
                block=event.log.block,
            )
        )
    return tuple(proposals)


def find_proposal(dao: Contracts, name: str) -> Proposal:
    """A proposal by its number (``3``) or its id (decimal, or at least its first 8 digits)."""
    proposals = list_proposals(dao)
    text = name.removeprefix("#")
    if not text.isascii() or not text.isdigit():
        raise InputError(
            f"not a proposal: {name!r}", hint="Give its number or its id; see the list."
        )
    found = [
        proposal
        for proposal in proposals
        if str(proposal.number) == text or (len(text) >= 8 and str(proposal.id).startswith(text))
    ]
    if len(found) != 1:
        raise InputError(
            f"{'no proposal' if not found else 'more than one proposal'} is called {name}; "
            f"there are {len(proposals)} in all",
            hint='"covalue member proposals" lists them; give the number in its first column.',
        )
    return found[0]


def view_proposal(dao: Contracts, proposal: Proposal, *, trials: bool = True) -> ProposalView:
    """Everything a voter should see: state, votes, decoded actions and (with `trials`) what they
    would do if the timelock sent them now."""
    state = dao.governor.state(proposal.id)
    now = dao.chain.now()
    vote_start = dao.governor.vote_start(proposal.id)
    begun = now > vote_start
    return ProposalView(
        proposal=proposal,
        state=state,
        tally=dao.governor.tally(proposal.id),
        quorum_wei=dao.governor.quorum_wei(vote_start) if begun else None,
        vote_start=vote_start,
        vote_end=dao.governor.vote_end(proposal.id),
        executable_at=dao.governor.executable_at(proposal.id),
        now=now,
        actions=tuple(decode_action(dao, call) for call in proposal.actions),
        trials=try_actions(dao, proposal.actions) if trials and state in OPEN_STATES else (),
    )


# --- writes -------------------------------------------------------------------------------------


def propose(
    dao: Contracts, actions: Sequence[Call], description: str, *, check: bool = True
) -> Call:
    """The call that proposes these actions.

    ChainError if an action would fail when the timelock sent it now, unless `check` is off.
    """
    if not actions:
        raise InputError("a proposal needs at least one action")
    if not description.strip():
        raise InputError("a proposal needs a description", hint="Its first line is its title.")
    if check:
        for trial in try_actions(dao, actions):
            if not trial.passes:
                raise ChainError(f"the proposal could not be executed: it {trial.says}")
    arguments: Actions = (
        [call.to or "" for call in actions],
        [call.value for call in actions],
        [call.data for call in actions],
    )
    return dao.governor.propose(arguments, description)


def propose_task(dao: Contracts, task: Task, cid: str) -> Call:
    """The call that proposes to open a task. The record must be in a store that voters reach."""
    if cid != of_digest(task.digest()):
        raise InputError(
            f"{cid} is not the CID of this task record ({of_digest(task.digest())})",
            hint="Store the record's canonical bytes and give the CID that the store returns.",
        )
    opened_as = dao.ledger.task_id_of(task.digest())
    if opened_as:
        raise ChainError(f"this task is open already, as task {opened_as}")
    vote_seconds = dao.governance_seconds()
    cooldown = dao.registry.exit_cooldown_seconds()
    longest = cooldown - vote_seconds
    if task.terms.challenge_seconds > longest:
        raise InputError(
            f"terms: challenge_seconds is {task.terms.challenge_seconds}, expected at most "
            f"{longest}: a stake can leave {cooldown} s after its exit request, and a challenge "
            f"takes up to {vote_seconds} s to be decided"
        )
    terms = chain_terms(task, cid, now=dao.chain.now(), governance_seconds=vote_seconds)
    text = f"Open the task: {task.title}\n\nRecord {cid} (SHA-256 {task.digest()})"
    return propose(dao, [dao.ledger.open_task(terms)], text)


def propose_release(dao: Contracts, task_id: int) -> Call:
    """The call that proposes to release a task's model. ChainError unless the task is final."""
    state = dao.ledger.task_of(task_id).state
    if state is TaskState.NONE:
        raise ChainError(
            f"there is no task {task_id}, and only a finalised task can be released",
            hint="a task exists once the vote that opens it was executed",
        )
    if state is not TaskState.FINALISED:
        raise ChainError(
            f"task {task_id} is {state.name.lower()}, and only a finalised task can be released",
            hint="A task is finalised after its challenge window.",
        )
    number = dao.models.release_count() + 1
    digest = dao.ledger.task_of(task_id).model_digest
    text = f"Release the model of task {task_id} as release {number}\n\nModel SHA-256 {digest}"
    return propose(dao, [dao.models.release(task_id, release_number=number)], text)


def vote(dao: Contracts, proposal: Proposal, support: Support, *, reason: str = "") -> Call:
    """The call that votes. ChainError unless the vote is open."""
    _require(dao, proposal, ProposalState.ACTIVE, "is active", "be voted on")
    call = dao.governor.cast_vote(proposal.id, support, reason)
    said = f"vote {support.name} on proposal {proposal.number} ({proposal.title})"
    return replace(call, description=said)


def cancel(dao: Contracts, proposal: Proposal) -> Call:
    """The call by which its proposer takes a proposal back, before the vote begins."""
    _require(dao, proposal, ProposalState.PENDING, "is pending", "be cancelled")
    call = dao.governor.cancel(proposal.arguments(), proposal.description)
    return replace(call, description=f"cancel proposal {proposal.number} ({proposal.title})")


def queue(dao: Contracts, proposal: Proposal) -> Call:
    """The call that puts a passed proposal into the timelock."""
    _require(dao, proposal, ProposalState.SUCCEEDED, "has passed", "be queued")
    call = dao.governor.queue(proposal.arguments(), proposal.description)
    return replace(call, description=f"queue proposal {proposal.number} ({proposal.title})")


def execute(dao: Contracts, proposal: Proposal) -> Call:
    """The call that executes a queued proposal after the timelock's delay."""
    _require(dao, proposal, ProposalState.QUEUED, "is queued", "be executed")
    wait = dao.governor.executable_at(proposal.id) - dao.chain.now()
    if wait > 0:
        raise ChainError(
            f"proposal {proposal.number} can be executed in {show_duration(wait)} of chain time",
            hint="The timelock lets those who disagree leave first.",
        )
    call = dao.governor.execute(proposal.arguments(), proposal.description)
    return replace(call, description=f"execute proposal {proposal.number} ({proposal.title})")


def _require(
    dao: Contracts, proposal: Proposal, wanted: ProposalState, needed: str, what: str
) -> None:
    state = dao.governor.state(proposal.id)
    if state is not wanted:
        raise ChainError(
            f"proposal {proposal.number} is {state.name.lower()}, and only one that {needed} can "
            f"{what}",
            hint=f'"covalue member show {proposal.number}" says what comes next.',
        )
