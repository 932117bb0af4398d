# SPDX-License-Identifier: Apache-2.0
"""Carrying a proposal through the vote on a devnet, where time can be moved."""

from __future__ import annotations

from dao.chain import Call
from dao.contracts.governor import Support
from dao.deployment import Contracts
from dao.governance import Proposal, execute, list_proposals, queue, view_proposal, vote
from demo.cast import Player
from demo.devnet import Devnet


def send(dao: Contracts, player: Player, call: Call) -> None:
    """Send a transaction from a player's account; ChainError where the chain refuses."""
    dao.chain.send(call, player.account)


def pass_vote(
    net: Devnet, dao: Contracts, *, proposing: Call, members: tuple[Player, ...]
) -> Proposal:
    """Propose with the first member's account, let all vote for it, queue and execute.

    Every action is decoded and tried before anyone votes, as `covalue member show` does.
    """
    send(dao, members[0], proposing)
    proposal = list_proposals(dao)[-1]
    net.advance_to(dao.governor.vote_start(proposal.id) + 1)
    for trial in view_proposal(dao, proposal).trials:
        assert trial.passes, trial.says
    for member in members:
        send(dao, member, vote(dao, proposal, Support.FOR))
    net.advance_to(dao.governor.vote_end(proposal.id) + 1)
    send(dao, members[0], queue(dao, proposal))
    net.advance_to(dao.governor.executable_at(proposal.id) + 1)
    send(dao, members[0], execute(dao, proposal))
    return proposal
