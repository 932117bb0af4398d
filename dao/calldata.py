# SPDX-License-Identifier: Apache-2.0
"""What a proposal's actions would do, in words, before one votes on them.

Only the deployment's own contracts are known. Anything else is called UNKNOWN, loudly: a name
that somebody claims for an address or a selector proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from dao.artefacts import Entry, Parameter, decode, encode
from dao.chain import Call
from dao.contracts.binding import Binding
from dao.deployment import Contracts
from dao.errors import ChainError
from dao.reverts import show_value

UNKNOWN = "UNKNOWN"

_COVAL_ARGUMENTS = frozenset(
    {
        *("amount", "budget", "stake", "coordinatorBond", "partBond", "challengeBond"),
        *("newProposalThreshold", "payoutTotal"),
    }
)
_ERC20_FUNCTIONS = frozenset({"transfer", "approve", "transferFrom"})
"""What is known of the revenue asset, which may be anybody's ERC-20."""
_TIME_ARGUMENTS = frozenset({"joinDeadline", "deadline"})
_DURATION_ARGUMENTS = frozenset(
    {
        *("revealWindow", "challengeWindow", "newDelay", "newVotingDelay", "newVotingPeriod"),
        "newVoteExtension",
    }
)
_POWER = {
    "grantRole": "gives an account power over the timelock",
    "revokeRole": "takes power over the timelock from an account",
    "renounceRole": "gives up power over the timelock",
    "transferOwnership": "hands a contract to another owner",
    "renounceOwnership": "leaves a contract without an owner, for good",
    "updateTimelock": "puts another timelock in place of this one",
    "updateDelay": "changes how long a passed vote waits",
    "relay": "lets the governor call anything",
    "updateQuorumNumerator": "changes the quorum",
    "setVotingDelay": "changes the vote's delay",
    "setVotingPeriod": "changes how long a vote lasts",
    "setProposalThreshold": "changes who may propose",
    "setLateQuorumVoteExtension": "changes the protection against late votes",
    "setGuardian": "changes who may suspend releases",
    "setTreasury": "changes who gets the treasury's part of the revenue",
    "slash": "burns a contributor's stake",
    "approve": "lets an account take the timelock's tokens",
    "transfer": "sends the timelock's tokens away",
    "schedule": "bypasses the governor's own queue",
    "scheduleBatch": "bypasses the governor's own queue",
}
"""Functions that move power or money: the voter is told so."""


@dataclass(frozen=True)
class Argument:
    """One argument as text: `raw` is the plain value, `meaning` explains it where it can."""

    name: str
    type: str
    raw: str
    meaning: str


@dataclass(frozen=True)
class Action:
    """One decoded action. `contract` and `function` are UNKNOWN where they are not ours."""

    target: str
    value_wei: int
    contract: str
    function: str
    arguments: tuple[Argument, ...]
    warnings: tuple[str, ...]
    data: bytes

    def lines(self) -> list[str]:
        """The action in words, one line each."""
        head = f"{self.contract}.{self.function}" if self.function != UNKNOWN else UNKNOWN
        lines = [f"{head} at {self.target}"]
        lines += [f"  {item.name} = {item.meaning}" for item in self.arguments]
        lines += [f"  WARNING: {warning}" for warning in self.warnings]
        return lines


def decode_action(dao: Contracts, call: Call) -> Action:
    """The meaning of one call. Never fails: what cannot be decoded is UNKNOWN, with a warning."""
    names = known_names(dao)
    target = (call.to or "").lower()
    warnings = []
    if call.value:
        warnings.append(f"sends {Decimal(call.value).scaleb(-18).normalize():f} ether")
    binding = binding_at(dao, target)
    if binding is None:
        warnings.append(
            f"UNKNOWN CONTRACT {target}: no contract of this DAO. Do not vote for it unless you "
            "have read its code."
        )
        return _unknown(call, names.get(target, UNKNOWN), warnings)
    entry = function_at(binding, call.data[:4])
    if entry is None or (binding is dao.asset and entry.name not in _ERC20_FUNCTIONS):
        warnings.append(
            f"UNKNOWN FUNCTION 0x{call.data[:4].hex()}: {binding.artefact_name} has none with this "
            "selector"
        )
        return _unknown(call, binding.artefact_name, warnings)
    try:
        values = decode(entry.inputs, call.data[4:], where=entry.name)
        exact = encode(entry.inputs, values, where=entry.name) == call.data[4:]
    except ChainError as error:
        warnings.append(f"UNKNOWN ARGUMENTS: {error.message}")
        return _unknown(call, binding.artefact_name, warnings)
    if not exact:
        warnings.append("the call data is not the plain encoding of these arguments")
    if entry.name in _POWER:
        warnings.append(_POWER[entry.name])
    coval = _COVAL_ARGUMENTS
    if binding is dao.token:
        coval = coval | {"value"}
    elif binding is dao.asset or binding is dao.revenue:
        coval = frozenset()
    arguments: list[Argument] = []
    for item, value in zip(entry.inputs, values, strict=True):
        arguments.extend(_arguments(item, value, names, prefix="", coval=coval))
    return Action(
        target=target,
        value_wei=call.value,
        contract=names[target] if binding is dao.asset else binding.artefact_name,
        function=entry.name,
        arguments=tuple(arguments),
        warnings=tuple(warnings),
        data=call.data,
    )


def known_names(dao: Contracts) -> dict[str, str]:
    """Addresses of this deployment and what they are called."""
    names = {binding.address: binding.artefact_name for binding in dao.all()}
    names[dao.asset.address] = "the revenue asset"
    names["0x" + "00" * 20] = "nobody"
    return names


def binding_at(dao: Contracts, address: str) -> Binding | None:
    """The contract of this deployment at an address, the revenue asset included."""
    return next((item for item in (*dao.all(), dao.asset) if item.address == address), None)


def function_at(binding: Binding, selector: bytes) -> Entry | None:
    """The function of a contract with this selector."""
    for overloads in binding.artefact.functions.values():
        for entry in overloads:
            if entry.selector == selector:
                return entry
    return None


def plain_text(text: str) -> str:
    """Text of a stranger, fit for a terminal: control characters become question marks."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text)


def _unknown(call: Call, contract: str, warnings: list[str]) -> Action:
    return Action(
        target=(call.to or "").lower(),
        value_wei=call.value,
        contract=contract,
        function=UNKNOWN,
        arguments=(Argument("data", "bytes", "0x" + call.data.hex(), "0x" + call.data.hex()),),
        warnings=tuple(warnings),
        data=call.data,
    )


def _arguments(
    item: Parameter, value: Any, names: dict[str, str], *, prefix: str, coval: frozenset[str]
) -> list[Argument]:
    """An argument, or the fields of a struct as `struct.field`."""
    if isinstance(value, dict):
        found = []
        for field in item.fields:
            inner = prefix + item.name + "." if item.name else prefix
            found.extend(_arguments(field, value[field.name], names, prefix=inner, coval=coval))
        return found
    if isinstance(value, tuple) and item.fields:
        found = []
        for place, part in enumerate(value):
            one = Parameter(f"{item.name}[{place}]", item.type.rpartition("[")[0], item.fields)
            found.extend(_arguments(one, part, names, prefix=prefix, coval=coval))
        return found
    raw = show_value(item, value)
    meaning = _meaning(item, value, raw, names, coval)
    return [Argument(prefix + item.name, item.type, raw, meaning)]


def _meaning(
    item: Parameter, value: Any, raw: str, names: dict[str, str], coval: frozenset[str]
) -> str:
    name = item.name.strip("_")
    if item.type == "address" and value in names:
        return f"{raw} ({names[value]})"
    if isinstance(value, int) and not isinstance(value, bool):
        if name in coval:
            return f"{raw} ({show_coval(value)})"
        if name in _TIME_ARGUMENTS:
            return f"{raw} ({show_time(value)})"
        if name in _DURATION_ARGUMENTS:
            return f"{raw} ({show_duration(value)})"
        if name.endswith("Bps"):
            return f"{raw} ({Decimal(value).scaleb(-2).normalize():f} %)"
        if name == "epsilonMicro":
            return f"{raw} (epsilon {Decimal(value).scaleb(-6).normalize():f})"
    if isinstance(value, str) and item.type == "string":
        return repr(value)  # control characters could forge lines on a terminal
    return raw


def show_coval(amount_wei: int) -> str:
    """An amount in whole tokens, exact: ``1,234.5 COVAL``."""
    whole, rest = divmod(amount_wei, 10**18)
    fraction = f"{rest:018d}".rstrip("0")
    return f"{whole:,}{'.' + fraction if fraction else ''} COVAL"


def show_time(timestamp: int) -> str:
    """A chain timestamp as a date and time in UTC."""
    if timestamp > 253_402_300_799:
        return "after the year 9999"
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def show_duration(seconds: int) -> str:
    """Seconds as days, hours, minutes and seconds, the two greatest parts."""
    parts = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"
