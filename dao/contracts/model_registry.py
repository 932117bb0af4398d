# SPDX-License-Identifier: Apache-2.0
"""Released models (ModelRegistry)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from dao.chain import Call
from dao.contracts.binding import Linked, Owned


class ReleaseStatus(IntEnum):
    """What may be done with a release; only RELEASED may be served."""

    NONE = 0
    RELEASED = 1
    SUSPENDED = 2
    REVOKED = 3


@dataclass(frozen=True)
class Release:
    """A release. `number` counts from 1 and is 0 where there is none; `model_digest` is 64 hex
    digits, `share_root` 0x and 64 hex digits, `released_at` a timestamp."""

    number: int
    task_id: int
    model_digest: str
    share_root: str
    epsilon_micro: int
    released_at: int
    status: ReleaseStatus


def _release(found: Mapping[str, Any]) -> Release:
    return Release(
        number=found["number"],
        task_id=found["taskId"],
        model_digest=found["modelDigest"].hex(),
        share_root="0x" + found["shareRoot"].hex(),
        epsilon_micro=found["epsilonMicro"],
        released_at=found["releasedAt"],
        status=ReleaseStatus(found["status"]),
    )


class ModelRegistry(Owned, Linked):
    """Documented in contracts/src/interfaces/IModelRegistry.sol."""

    artefact_name = "ModelRegistry"

    def current(self, *, block: int | None = None) -> Release:
        """The release with the highest number, whatever its status."""
        return _release(self._read("current", block=block))

    def release_of(self, number: int, *, block: int | None = None) -> Release:
        return _release(self._read("releaseOf", number, block=block))

    def release_count(self, *, block: int | None = None) -> int:
        return int(self._read("releaseCount", block=block))

    def guardian(self, *, block: int | None = None) -> str:
        """Who may suspend; the zero address if nobody but the vote may."""
        address: str = self._read("guardian", block=block)
        return address

    def revenue_share(self, *, block: int | None = None) -> str:
        address: str = self._read("revenueShare", block=block)
        return address

    def task_ledger(self, *, block: int | None = None) -> str:
        address: str = self._read("taskLedger", block=block)
        return address

    def set_revenue_share(self, revenue_share: str) -> Call:
        return self._call(
            "setRevenueShare",
            revenue_share,
            description="tell the model registry the revenue share",
        )

    def release(self, task_id: int, *, release_number: int) -> Call:
        return self._call(
            "release",
            task_id,
            release_number,
            description=f"release the model of task {task_id} as number {release_number}",
        )

    def revoke(self, number: int) -> Call:
        return self._call("revoke", number, description=f"revoke release {number} for good")

    def suspend(self, number: int) -> Call:
        return self._call("suspend", number, description=f"suspend release {number}")

    def unsuspend(self, number: int) -> Call:
        return self._call("unsuspend", number, description=f"end the suspension of {number}")

    def set_guardian(self, guardian: str) -> Call:
        return self._call("setGuardian", guardian, description=f"name {guardian} the guardian")
