# SPDX-License-Identifier: Apache-2.0
"""Why a contract refused, in words: custom errors decoded through the ABIs of all contracts."""

from __future__ import annotations

import re
from typing import Any

from dao.artefacts import Parameter, decode_named, errors_by_selector
from dao.contracts.task_types import TaskState
from dao.errors import ChainError

_ERROR_STRING = bytes.fromhex("08c379a0")
_PANIC = bytes.fromhex("4e487b71")

_PANICS = {
    0x01: "an assertion failed",
    0x11: "arithmetic overflow or underflow",
    0x12: "division by zero",
    0x21: "a number that is no member of the enum",
    0x32: "an array index out of bounds",
    0x41: "too much memory was asked for",
}
"""Panic codes of Solidity that our contracts can reach."""

_HINTS = {
    "ERC20InsufficientAllowance": "Approve the amount for the contract first.",
    "ERC20InsufficientBalance": "The account holds too little of the token.",
    "GovernorInsufficientProposerVotes": (
        'Votes count from delegation: "covalue member delegate" (to yourself, too), '
        "then wait for one block."
    ),
    "GovernorUnexpectedProposalState": '"covalue member show PROPOSAL" says where it stands.',
    "GovernorNonexistentProposal": '"covalue member proposals" lists what exists.',
    "OwnableUnauthorizedAccount": "Only a passed vote can do this, through the timelock.",
    "TimelockUnexpectedOperationState": "The timelock's delay has not passed yet.",
    "NotRegistered": '"covalue contributor register" registers an account.',
    "AlreadyRegistered": '"covalue contributor rotate-keys" replaces the keys of an account.',
    "QuorumNotReached": "More of the roster must co-sign.",
    "TaskNotFinalised": "Only a task that is final can be released; its windows must have passed.",
    "NothingToClaim": "All that was due has been paid.",
    "AlreadyClaimed": "Nothing more is due; a payout is paid once.",
    "InvalidProof": (
        "The payout root of the task holds no such amount for this account. "
        '"covalue contributor claim TASK" finds amount and proof in the published score report.'
    ),
    "NotFunded": "A task pays once it is finalised; an aborted one never does.",
    "FundsExceeded": "The task was funded with less than this: its record and payouts disagree.",
    "WrongState": '"covalue coordinator status TASK" says where the task stands.',
    "TooEarly": "Wait until the limit has passed, in chain time.",
    "TooLate": "The time for this is over, in chain time.",
    "InvalidSignature": (
        "The aggregate signature is not one of these signers over exactly these values, on this "
        "chain, for this task."
    ),
    "BondMissing": "Every bond must be posted before the task starts.",
    "RosterTooSmall": "Wait until more contributors have joined.",
    "StakeTooLow": '"covalue dao show" names the least stake.',
    "FreeStakeTooLow": "Other open tasks lock the rest of the stake.",
    "StakeIsLocked": "A task that was joined is still open.",
    "NotAllowed": "The task admits an allow-list only; give the way to its root by --allow-proof.",
    "AlreadyJoined": '"covalue contributor run" takes part in it.',
    "ChallengeOpen": "The members' vote on the challenge comes first.",
    "NotJoined": '"covalue contributor status" lists the open tasks that you joined.',
    "ExitIsRequested": "Who asked to leave joins, adds and changes nothing any more.",
    "TooManyLocks": "Wait until a task that you joined has ended, or leave one before its start.",
    "UnexpectedStatus": '"covalue model list" says where each release stands.',
    "GovernorUnableToCancel": "Only its proposer can, and only before the vote begins.",
}


class Reverted(ChainError):
    """A contract refused. `name` is the error's name, `arguments` what it says; name is
    ``Error`` for a plain reason, ``Panic`` for a panic, empty where no reason came."""

    def __init__(self, message: str, *, name: str, arguments: dict[str, Any]) -> None:
        super().__init__(message, hint=_HINTS.get(name))
        self.name = name
        self.arguments = arguments


def words_of(name: str) -> str:
    """``rosterSize`` -> ``roster size``; trailing underscores are dropped."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name.strip("_")).lower()


def show_value(parameter: Parameter, value: Any) -> str:
    """One ABI value as text: bytes as hex, structs and arrays in brackets."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        parts = (
            f"{field.name}: {show_value(field, value[field.name])}" for field in parameter.fields
        )
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, tuple | list):
        inner = Parameter(parameter.name, parameter.type.rpartition("[")[0], parameter.fields)
        return "[" + ", ".join(show_value(inner, part) for part in value) + "]"
    return str(value)


def decode_revert(data: bytes, *, action: str) -> Reverted:
    """The refusal that revert data stand for; `action` says what was tried."""
    if not data:
        return Reverted(f"{action}: the chain refused without a reason", name="", arguments={})
    selector, body = data[:4], data[4:]
    if selector == _ERROR_STRING:
        values = decode_named([Parameter("reason", "string")], body, where="Error")
        message = f"{action}: the contract refused: {values['reason']}"
        return Reverted(message, name="Error", arguments=values)
    if selector == _PANIC:
        values = decode_named([Parameter("code", "uint256")], body, where="Panic")
        reason = _PANICS.get(values["code"], "panic")
        message = f"{action}: the contract failed: {reason} (code 0x{values['code']:02x})"
        return Reverted(message, name="Panic", arguments=values)
    entry = errors_by_selector().get(selector)
    if entry is None:
        message = f"{action}: the contract refused with an unknown error 0x{data.hex()}"
        return Reverted(message, name="", arguments={"data": data})
    values = decode_named(entry.inputs, body, where=entry.name)
    shown = {item.name: show_value(item, values[item.name]) for item in entry.inputs}
    if entry.name == "WrongState":
        shown["state"] = TaskState(values["state"]).name.lower()
    said = ", ".join(f"{words_of(name)} {text}" for name, text in shown.items())
    message = f"{action}: the contract refused: {entry.name}" + (f" ({said})" if said else "")
    return Reverted(message, name=entry.name, arguments=values)
