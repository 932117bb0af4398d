# SPDX-License-Identifier: Apache-2.0
"""What members propose beside tasks and releases: how a challenge ends, that a stake is burned,
that a release is revoked, or any other call that only the vote can make.

Functions return the unsent `Call` that proposes; `Chain.send` sends it. Each refuses with a
ChainError what could not be executed if it passed now.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dao.artefacts import Entry, Parameter, decode_named, encode
from dao.calldata import Action, decode_action, show_coval
from dao.chain import Call, Outcome
from dao.contracts.binding import Binding
from dao.contracts.model_registry import ReleaseStatus
from dao.deployment import Contracts
from dao.errors import ChainError, InputError
from dao.governance import Proposal, list_proposals, propose
from dao.records import BlobRef

ASSET = "asset"
"""Name of the ERC-20 in which consumers pay, beside the contracts' own names."""


def proposal_made(dao: Contracts, outcome: Outcome) -> Proposal:
    """The proposal that a sent transaction made."""
    made = next(
        event.arguments["proposalId"]
        for event in dao.governor.events_in(outcome)
        if event.name == "ProposalCreated"
    )
    return next(each for each in list_proposals(dao) if each.id == made)


def proposed_actions(dao: Contracts, proposing: Call) -> tuple[Action, ...]:
    """What a proposal would do, of the call that makes it."""
    entry = dao.governor.artefact.function("propose")
    said = decode_named(entry.inputs, proposing.data[4:], where=entry.name)
    triples = zip(said["targets"], said["values"], said["calldatas"], strict=True)
    return tuple(
        decode_action(dao, Call(to=target, data=data, value=value, description=""))
        for target, value, data in triples
    )


def propose_verdict(dao: Contracts, task_id: int, *, upheld: bool, reason: str) -> Call:
    """How the open challenge of a task ends. ChainError where there is none."""
    challenge = dao.ledger.challenge_of(task_id, from_block=dao.deployment.block)
    if challenge is None:
        raise ChainError(
            f"task {task_id} has no open challenge",
            hint="a task is challenged by: covalue contributor challenge",
        )
    said = f"challenged by {challenge.challenger} with the evidence {challenge.evidence_cid}"
    text = f"{'Uphold' if upheld else 'Reject'} the challenge of task {task_id}\n\nIt was {said}."
    return propose(dao, [dao.ledger.resolve(task_id, upheld=upheld)], _with(text, reason))


def propose_slash(
    dao: Contracts, account: str, amount_wei: int, *, evidence: BlobRef, reason: str
) -> Call:
    """That so much of an account's stake is burned; ChainError where it has no stake."""
    found = dao.registry.contributor_of(account)
    if not found.registered or found.stake_wei == 0:
        raise ChainError(
            f"{account} has no stake here", hint="name the account of a contributor of this DAO"
        )
    what = f"Burn {show_coval(amount_wei)} of the stake of {account}"
    call = dao.registry.slash(
        account, amount_wei, evidence_digest=evidence.sha256, evidence_cid=evidence.cid
    )
    return propose(dao, [call], _with(f"{what}\n\nEvidence: {evidence.cid}", reason))


def propose_revocation(dao: Contracts, number: int, *, reason: str) -> Call:
    """That a release is served no more, for good."""
    _require_release(dao, number)
    return propose(dao, [dao.models.revoke(number)], _with(f"Revoke release {number}", reason))


def propose_return(dao: Contracts, number: int, *, reason: str) -> Call:
    """That a suspended release is served again."""
    _require_release(dao, number)
    text = f"End the suspension of release {number}"
    return propose(dao, [dao.models.unsuspend(number)], _with(text, reason))


def propose_call(
    dao: Contracts, name: str, arguments: Sequence[str], *, title: str, reason: str
) -> Call:
    """That the timelock calls `Contract.function` with arguments given as text. InputError where
    there is no such function, or an argument does not fit its type."""
    binding, entry = _find_function(dao, name, len(arguments))
    values = [_read_value(item, text) for item, text in zip(entry.inputs, arguments, strict=True)]
    data = entry.selector + encode(entry.inputs, values, where=name)
    call = Call(to=binding.address, data=data, value=0, description=name)
    return propose(dao, [call], _with(title, reason))


def functions_of(binding: Binding) -> list[str]:
    """Signatures of what a contract can be asked to change, in order."""
    return sorted(
        f"{entry.name}({', '.join(f'{item.type} {item.name}'.strip() for item in entry.inputs)})"
        for overloads in binding.artefact.functions.values()
        for entry in overloads
        if entry.changes_state
    )


def _find_function(dao: Contracts, name: str, count: int) -> tuple[Binding, Entry]:
    contract, _, function = name.partition(".")
    known = {binding.artefact_name: binding for binding in dao.all()} | {ASSET: dao.asset}
    binding = known.get(contract)
    if binding is None:
        raise InputError(
            f"{contract!r} is no contract of this DAO",
            hint=f"expected CONTRACT.FUNCTION with one of {', '.join(known)}",
        )
    for entry in binding.artefact.functions.get(function, ()):
        if entry.changes_state and len(entry.inputs) == count:
            return binding, entry
    raise InputError(
        f"{contract} has no function {function!r} that changes something and takes {count} "
        f"argument{'' if count == 1 else 's'}",
        hint=f"it has {'; '.join(functions_of(binding))}",
    )


def _read_value(item: Parameter, text: str) -> object:
    """A value of an ABI type as a person writes it."""
    bits = re.fullmatch(r"uint(\d+)", item.type)
    size = re.fullmatch(r"bytes(\d*)", item.type)
    if bits and re.fullmatch(r"[0-9]{1,78}", text) and int(text) < 2 ** int(bits[1]):
        return int(text)
    if item.type == "address" and re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        return text.lower()
    if item.type == "bool" and text in ("true", "false"):
        return text == "true"
    if size and re.fullmatch(r"0x([0-9a-fA-F]{2})*", text):
        value = bytes.fromhex(text[2:])
        if not size[1] or len(value) == int(size[1]):
            return value
    if item.type == "string":
        return text
    raise InputError(
        f"{item.name}: {text!r} is no {item.type}",
        hint="write numbers in digits (amounts in wei, times in seconds), accounts and bytes as 0x "
        "and hex digits, yes or no as true or false; lists cannot be given here",
    )


def _require_release(dao: Contracts, number: int) -> None:
    if dao.models.release_of(number).status is ReleaseStatus.NONE:
        raise ChainError(f"there is no release {number}", hint="covalue model list shows them all")


def _with(text: str, reason: str) -> str:
    return f"{text}\n\n{reason.strip()}" if reason.strip() else text
