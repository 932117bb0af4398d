# SPDX-License-Identifier: Apache-2.0
"""Payouts of finalised tasks (RewardDistributor)."""

from __future__ import annotations

from collections.abc import Sequence

from dao.chain import Call
from dao.contracts.binding import Linked, proof_bytes


class RewardDistributor(Linked):
    """Documented in contracts/src/interfaces/IRewardDistributor.sol."""

    artefact_name = "RewardDistributor"

    def root_of(self, task_id: int, *, block: int | None = None) -> str:
        """Root of the payout tree (0x and 64 hex digits); zero before the task is final."""
        root: bytes = self._read("rootOf", task_id, block=block)
        return "0x" + root.hex()

    def funded_of(self, task_id: int, *, block: int | None = None) -> tuple[int, int]:
        """What a task funded and what was paid of it, in wei."""
        funded_wei, paid_wei = self._read("fundedOf", task_id, block=block)
        return funded_wei, paid_wei

    def reserved_of(self, task_id: int, *, block: int | None = None) -> int:
        """What lies here for a task that has not ended, in wei."""
        return int(self._read("reservedOf", task_id, block=block))

    def is_claimed(self, task_id: int, *, place: int, block: int | None = None) -> bool:
        """Whether the payout of a place in the roster was claimed."""
        return bool(self._read("isClaimed", task_id, place, block=block))

    def task_ledger(self, *, block: int | None = None) -> str:
        address: str = self._read("taskLedger", block=block)
        return address

    def token(self, *, block: int | None = None) -> str:
        address: str = self._read("token", block=block)
        return address

    def set_task_ledger(self, task_ledger: str) -> Call:
        return self._call(
            "setTaskLedger", task_ledger, description="tell the distributor the task ledger"
        )

    def claim(
        self, task_id: int, account: str, amount_wei: int, *, place: int, proof: Sequence[str]
    ) -> Call:
        """Pays the account `amount_wei`, once; `place` is its place in the roster."""
        return self._call(
            "claim",
            task_id,
            account,
            amount_wei,
            place,
            proof_bytes(proof),
            description=f"pay {account} its {amount_wei} wei for task {task_id}",
        )
