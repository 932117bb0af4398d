# SPDX-License-Identifier: Apache-2.0
"""The vote (CovalueGovernor, OpenZeppelin Governor 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from eth_utils.crypto import keccak

from dao.chain import Call
from dao.contracts.binding import Binding


class ProposalState(IntEnum):
    """Where a proposal stands (IGovernor.ProposalState)."""

    PENDING = 0
    ACTIVE = 1
    CANCELED = 2
    DEFEATED = 3
    SUCCEEDED = 4
    QUEUED = 5
    EXPIRED = 6
    EXECUTED = 7


class Support(IntEnum):
    """A vote (GovernorCountingSimple.VoteType)."""

    AGAINST = 0
    FOR = 1
    ABSTAIN = 2


@dataclass(frozen=True)
class Tally:
    """Votes so far, in wei of COVAL."""

    against_wei: int
    for_wei: int
    abstain_wei: int


Actions = tuple[Sequence[str], Sequence[int], Sequence[bytes]]
"""Targets, values in wei and call data, one of each per action."""


def description_hash(description: str) -> bytes:
    """What queue and execute take in place of the text."""
    return keccak(text=description)


class CovalueGovernor(Binding):
    """Delays and periods are seconds; the clock is the block timestamp."""

    artefact_name = "CovalueGovernor"

    def voting_delay_seconds(self, *, block: int | None = None) -> int:
        return int(self._read("votingDelay", block=block))

    def voting_period_seconds(self, *, block: int | None = None) -> int:
        return int(self._read("votingPeriod", block=block))

    def proposal_threshold_wei(self, *, block: int | None = None) -> int:
        return int(self._read("proposalThreshold", block=block))

    def quorum_percent(self, *, block: int | None = None) -> int:
        return int(self._read("quorumNumerator", block=block))

    def quorum_wei(self, timestamp: int, *, block: int | None = None) -> int:
        """Votes for and abstaining that a proposal with this snapshot needs."""
        return int(self._read("quorum", timestamp, block=block))

    def late_quorum_extension_seconds(self, *, block: int | None = None) -> int:
        return int(self._read("lateQuorumVoteExtension", block=block))

    def timelock(self, *, block: int | None = None) -> str:
        address: str = self._read("timelock", block=block)
        return address

    def token(self, *, block: int | None = None) -> str:
        address: str = self._read("token", block=block)
        return address

    def state(self, proposal_id: int, *, block: int | None = None) -> ProposalState:
        return ProposalState(self._read("state", proposal_id, block=block))

    def tally(self, proposal_id: int, *, block: int | None = None) -> Tally:
        return Tally(*self._read("proposalVotes", proposal_id, block=block))

    def vote_start(self, proposal_id: int, *, block: int | None = None) -> int:
        """Timestamp at which votes are counted; voting is open after it."""
        return int(self._read("proposalSnapshot", proposal_id, block=block))

    def vote_end(self, proposal_id: int, *, block: int | None = None) -> int:
        """Last timestamp of the vote; a late quorum moves it."""
        return int(self._read("proposalDeadline", proposal_id, block=block))

    def executable_at(self, proposal_id: int, *, block: int | None = None) -> int:
        """Timestamp from which a queued proposal can be executed; 0 before it is queued."""
        return int(self._read("proposalEta", proposal_id, block=block))

    def has_voted(self, proposal_id: int, account: str, *, block: int | None = None) -> bool:
        return bool(self._read("hasVoted", proposal_id, account, block=block))

    def proposal_id(self, actions: Actions, description: str, *, block: int | None = None) -> int:
        """The id that a proposal of these actions has."""
        return int(self._read("hashProposal", *actions, description_hash(description), block=block))

    def propose(self, actions: Actions, description: str) -> Call:
        title = description.splitlines()[0] if description else ""
        return self._call("propose", *actions, description, description=f"propose: {title}")

    def cast_vote(self, proposal_id: int, support: Support, reason: str = "") -> Call:
        return self._call(
            "castVoteWithReason",
            proposal_id,
            int(support),
            reason,
            description=f"vote {support.name.lower()} on proposal {proposal_id}",
        )

    def queue(self, actions: Actions, description: str) -> Call:
        return self._call(
            "queue",
            *actions,
            description_hash(description),
            description="queue the passed proposal in the timelock",
        )

    def execute(self, actions: Actions, description: str) -> Call:
        return self._call(
            "execute",
            *actions,
            description_hash(description),
            description="execute the queued proposal",
        )

    def cancel(self, actions: Actions, description: str) -> Call:
        """By its proposer, as long as the vote has not begun."""
        return self._call(
            "cancel", *actions, description_hash(description), description="cancel the proposal"
        )
