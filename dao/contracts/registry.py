# SPDX-License-Identifier: Apache-2.0
"""Contributors, their keys and their stakes (ContributorRegistry)."""

from __future__ import annotations

from dataclasses import dataclass

from dao.chain import Call
from dao.contracts.binding import Linked, Owned


@dataclass(frozen=True)
class Contributor:
    """What stands on chain for an account. `bls_public_key` is a G1 point of 128 bytes (EIP-2537),
    `super_node_key_hash` 32 bytes; locks of ended tasks are not counted."""

    bls_public_key: bytes
    super_node_key_hash: bytes
    stake_wei: int
    locked_stake_wei: int
    exit_requested_at: int
    locks: int
    registered: bool


class ContributorRegistry(Owned, Linked):
    """Documented in contracts/src/interfaces/IContributorRegistry.sol."""

    artefact_name = "ContributorRegistry"

    def contributor_of(self, account: str, *, block: int | None = None) -> Contributor:
        found = self._read("contributorOf", account, block=block)
        return Contributor(
            bls_public_key=found["blsPublicKey"],
            super_node_key_hash=found["superNodeKeyHash"],
            stake_wei=found["stake"],
            locked_stake_wei=found["lockedStake"],
            exit_requested_at=found["exitRequestedAt"],
            locks=found["locks"],
            registered=found["registered"],
        )

    def open_tasks_of(self, account: str, *, block: int | None = None) -> tuple[int, ...]:
        return tuple(self._read("openTasksOf", account, block=block))

    def withdrawable_at(self, account: str, *, block: int | None = None) -> int:
        """Timestamp from which the stake can be taken back; 0 without an exit request."""
        return int(self._read("withdrawableAt", account, block=block))

    def pop_message(self, account: str, bls_public_key: bytes) -> bytes:
        """The 32 bytes that a proof of possession signs."""
        message: bytes = self._read("popMessage", account, bls_public_key)
        return message

    def min_stake_wei(self, *, block: int | None = None) -> int:
        return int(self._read("minStake", block=block))

    def exit_cooldown_seconds(self, *, block: int | None = None) -> int:
        return int(self._read("exitCooldown", block=block))

    def task_ledger(self, *, block: int | None = None) -> str:
        address: str = self._read("taskLedger", block=block)
        return address

    def token(self, *, block: int | None = None) -> str:
        address: str = self._read("token", block=block)
        return address

    def set_task_ledger(self, task_ledger: str) -> Call:
        return self._call(
            "setTaskLedger", task_ledger, description="tell the registry the task ledger"
        )

    def register(
        self,
        *,
        bls_public_key: bytes,
        proof_of_possession: bytes,
        super_node_key_hash: bytes,
        stake_wei: int,
    ) -> Call:
        """Keys as in EIP-2537: 128 and 256 bytes. The stake must be approved before."""
        return self._call(
            "register",
            bls_public_key,
            proof_of_possession,
            super_node_key_hash,
            stake_wei,
            description=f"register as a contributor with a stake of {stake_wei} wei",
        )

    def add_stake(self, amount_wei: int) -> Call:
        """The amount must be approved before."""
        return self._call("addStake", amount_wei, description=f"add {amount_wei} wei of stake")

    def rotate_keys(
        self, *, bls_public_key: bytes, proof_of_possession: bytes, super_node_key_hash: bytes
    ) -> Call:
        return self._call(
            "rotateKeys",
            bls_public_key,
            proof_of_possession,
            super_node_key_hash,
            description="replace the contributor's keys",
        )

    def request_exit(self) -> Call:
        return self._call("requestExit", description="ask to leave; the cooldown begins")

    def withdraw(self) -> Call:
        return self._call("withdraw", description="take the stake back")

    def slash(
        self, account: str, amount_wei: int, *, evidence_digest: str, evidence_cid: str
    ) -> Call:
        """Only the timelock can send it: put it into a proposal."""
        return self._call(
            "slash",
            account,
            amount_wei,
            bytes.fromhex(evidence_digest),
            evidence_cid,
            description=f"burn {amount_wei} wei of the stake of {account}",
        )
