# SPDX-License-Identifier: Apache-2.0
"""What an audit found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dao.records import ModelCard

Fault = Literal["differs", "unreadable", "withheld"]
"""Why a check failed: something is recorded that does not follow, or is no record; stored bytes
are not those of their digest, or the store fails; nobody who was asked has the bytes."""


@dataclass(frozen=True)
class Check:
    """One thing that was recomputed and compared; `fault` and `detail` say what is wrong where
    something is."""

    place: str
    ok: bool
    detail: str
    fault: Fault | None = None


@dataclass
class AuditReport:
    """Checks in the order they were made; the first failure ends an audit, since what follows
    would be computed from what is wrong."""

    task_id: int
    block: int
    checks: list[Check] = field(default_factory=list)
    card: ModelCard | None = None
    """The model card, once its figures were recomputed and agree."""
    rounds_kept: int = 0
    """Rounds whose recomputation was kept from an audit before; their bytes were read again."""

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return all(check.ok for check in self.checks)

    @property
    def first_failure(self) -> Check | None:
        """The first check that failed."""
        return next((check for check in self.checks if not check.ok), None)

    def as_json(self) -> dict[str, object]:
        """Plain values for `--json`."""
        failure = self.first_failure
        return {
            "task_id": self.task_id,
            "block": self.block,
            "ok": self.ok,
            "first_failure": None
            if failure is None
            else {"place": failure.place, "fault": failure.fault, "detail": failure.detail},
            "rounds_kept": self.rounds_kept,
            "card": None if self.card is None else self.card.model_dump(mode="json"),
            "checks": [
                {"place": check.place, "ok": check.ok, "detail": check.detail}
                for check in self.checks
            ],
        }
