# SPDX-License-Identifier: Apache-2.0
"""The owner of everything below it: OpenZeppelin's TimelockController."""

from __future__ import annotations

from eth_utils.crypto import keccak

from dao.chain import Call
from dao.contracts.binding import Binding

ROLES: dict[str, bytes] = {
    "admin": bytes(32),
    "proposer": keccak(text="PROPOSER_ROLE"),
    "executor": keccak(text="EXECUTOR_ROLE"),
    "canceller": keccak(text="CANCELLER_ROLE"),
}
"""Roles of the TimelockController: the admin grants and revokes the others."""


class Timelock(Binding):
    """Executes what passed the vote, after a delay."""

    artefact_name = "TimelockController"

    def min_delay_seconds(self, *, block: int | None = None) -> int:
        return int(self._read("getMinDelay", block=block))

    def has_role(self, role: str, account: str, *, block: int | None = None) -> bool:
        return bool(self._read("hasRole", ROLES[role], account, block=block))

    def grant_role(self, role: str, account: str) -> Call:
        return self._call(
            "grantRole", ROLES[role], account, description=f"grant the {role} role to {account}"
        )

    def renounce_role(self, role: str, account: str) -> Call:
        return self._call(
            "renounceRole", ROLES[role], account, description=f"give up the {role} role"
        )

    def role_holders(self, *, from_block: int) -> dict[str, frozenset[str]]:
        """Every account that holds a role now, by the events since the deployment.

        A role that is none of `ROLES` is named by its hash.
        """
        names = {role: name for name, role in ROLES.items()}
        holders: dict[str, set[str]] = {name: set() for name in ROLES}
        for event in self.events("RoleGranted", "RoleRevoked", from_block=from_block):
            role = names.get(event.arguments["role"], "0x" + event.arguments["role"].hex())
            accounts = holders.setdefault(role, set())
            if event.name == "RoleGranted":
                accounts.add(event.arguments["account"])
            else:
                accounts.discard(event.arguments["account"])
        return {role: frozenset(accounts) for role, accounts in holders.items()}
