# SPDX-License-Identifier: Apache-2.0
"""Revenue of released models (RevenueShare). Amounts are in the asset's smallest unit."""

from __future__ import annotations

from collections.abc import Sequence

from dao.chain import Call
from dao.contracts.binding import Owned, proof_bytes


class RevenueShare(Owned):
    """Documented in contracts/src/interfaces/IRevenueShare.sol."""

    artefact_name = "RevenueShare"

    def asset(self, *, block: int | None = None) -> str:
        """The ERC-20 in which consumers pay."""
        address: str = self._read("asset", block=block)
        return address

    def model_registry(self, *, block: int | None = None) -> str:
        address: str = self._read("modelRegistry", block=block)
        return address

    def task_ledger(self, *, block: int | None = None) -> str:
        address: str = self._read("taskLedger", block=block)
        return address

    def treasury(self, *, block: int | None = None) -> str:
        address: str = self._read("treasury", block=block)
        return address

    def treasury_bps(self, *, block: int | None = None) -> int:
        return int(self._read("treasuryBps", block=block))

    def coordinator_bps(self, *, block: int | None = None) -> int:
        return int(self._read("coordinatorBps", block=block))

    def pool_of(self, release: int, *, block: int | None = None) -> tuple[int, int]:
        """What a release's contributors have earned, and what they were paid of it."""
        earned, paid = self._read("poolOf", release, block=block)
        return earned, paid

    def claimed_of(self, release: int, account: str, *, block: int | None = None) -> int:
        return int(self._read("claimedOf", release, account, block=block))

    def claimable(
        self, release: int, account: str, *, share_wad: int, block: int | None = None
    ) -> int:
        """What `claim` would pay now; the share is not proved."""
        return int(self._read("claimable", release, account, share_wad, block=block))

    def treasury_balance(self, *, block: int | None = None) -> int:
        return int(self._read("treasuryBalance", block=block))

    def coordinator_balance(self, release: int, *, block: int | None = None) -> int:
        return int(self._read("coordinatorBalance", release, block=block))

    def pay(self, release: int, amount: int) -> Call:
        """The amount must be approved before."""
        return self._call("pay", release, amount, description=f"pay {amount} for release {release}")

    def sync(self) -> Call:
        return self._call("sync", description="take note of the current release")

    def claim(
        self, release: int, account: str, *, task_id: int, share_wad: int, proof: Sequence[str]
    ) -> Call:
        """Pays the account what is due of its share; `task_id` is the release's task."""
        return self._call(
            "claim",
            release,
            task_id,
            account,
            share_wad,
            proof_bytes(proof),
            description=f"pay {account} its share of the revenue of release {release}",
        )

    def withdraw_treasury(self) -> Call:
        return self._call("withdrawTreasury", description="send the treasury its part")

    def withdraw_coordinator(self, release: int) -> Call:
        return self._call(
            "withdrawCoordinator", release, description="send the coordinator its part"
        )
