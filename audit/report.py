# SPDX-License-Identifier: Apache-2.0
"""What an audit found."""

from __future__ import annotations

from dataclasses import dataclass, field

from dao.records import ModelCard


@dataclass(frozen=True)
class Check:
    """One thing that was recomputed and compared; `detail` says what differs where it does."""

    place: str
    ok: bool
    detail: str


@dataclass
class AuditReport:
    """Checks in the order they were made; the first failure ends an audit, since what follows
    would be computed from what is wrong."""

    task_id: int
    block: int
    checks: list[Check] = field(default_factory=list)
    card: ModelCard | None = None
    """The model card, once its figures were recomputed and agree."""

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
            else {"place": failure.place, "detail": failure.detail},
            "card": None if self.card is None else self.card.model_dump(mode="json"),
            "checks": [
                {"place": check.place, "ok": check.ok, "detail": check.detail}
                for check in self.checks
            ],
        }
