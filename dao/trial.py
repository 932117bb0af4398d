# SPDX-License-Identifier: Apache-2.0
"""Actions tried from the timelock by eth_call: what they would do, without sending anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dao.artefacts import decode_named
from dao.calldata import UNKNOWN, Action, binding_at, decode_action, function_at
from dao.chain import Call
from dao.deployment import Contracts
from dao.reverts import Reverted, show_value
from dao.rpc import RpcRefusal


@dataclass(frozen=True)
class Trial:
    """What an action would do if the timelock sent it now."""

    passes: bool
    says: str


def try_actions(dao: Contracts, actions: Sequence[Call]) -> tuple[Trial, ...]:
    """Try each action by itself from the timelock, without sending anything."""
    trials = []
    for call in actions:
        action = decode_action(dao, call)
        known = action.function != UNKNOWN
        name = f"{action.contract}.{action.function}" if known else "an unknown call"
        if known and binding_at(dao, action.target) is dao.governor:
            # it obeys only what it is executing itself (onlyGovernance)
            trials.append(Trial(True, "cannot be tried before it is executed"))
            continue
        tried = Call(call.to, call.data, call.value, name)
        try:
            returned = dao.chain.simulate(tried, sender=dao.timelock.address)
        except (Reverted, RpcRefusal) as refusal:
            trials.append(Trial(False, f"would fail now: {refusal.message}"))
            continue
        if not known:
            trials.append(Trial(True, "would pass, but nobody here knows what it does"))
            continue
        trials.append(Trial(True, f"would pass{_returned(dao, action, returned)}"))
    return tuple(trials)


def _returned(dao: Contracts, action: Action, data: bytes) -> str:
    binding = binding_at(dao, action.target)
    entry = function_at(binding, action.data[:4]) if binding else None
    outputs = entry.outputs if entry else ()
    if not outputs:
        return ""
    values = decode_named(outputs, data, where=action.function)
    said = ", ".join(
        f"{item.name or 'value'} {show_value(item, value)}"
        for item, value in zip(outputs, values.values(), strict=True)
    )
    return f" and return {said}"
