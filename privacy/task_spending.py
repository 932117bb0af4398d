# SPDX-License-Identifier: Apache-2.0
"""What one task has spent of a vault's budget, and what it may still spend."""

from __future__ import annotations

from dataclasses import dataclass, field

from privacy.ledger_entry import Reservation


@dataclass(frozen=True)
class TaskSpending:
    """What one task reserved and released. Amounts `_nano` are charges of the ledger's filter in
    1e-9, `_micro` epsilons at the task's own delta in 1e-6; both round up.

    Attributes:
        order: of the ledger's filter; 0 for Gaussian DP.
        released: the task has ended; nothing of it is answered any more.
        answered: round (from 1) -> (base digest, update digest).
    """

    reservation: Reservation
    order: int
    released: bool = False
    answered: dict[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def charged_nano(self) -> int:
        """All rounds; after a release only the answered ones."""
        if self.released:
            return self.spent_nano
        return self.reservation.charge_nano(self.reservation.every_round(), order=self.order)

    @property
    def spent_nano(self) -> int:
        """The answered rounds."""
        return self.reservation.charge_nano(frozenset(self.answered), order=self.order)

    @property
    def epsilon_micro(self) -> int:
        """What the whole task costs at its own delta: the number that the vote was shown."""
        return self.reservation.epsilon_micro(self.reservation.every_round())

    @property
    def spent_epsilon_micro(self) -> int:
        """What the answered rounds alone cost at the task's own delta."""
        return self.reservation.epsilon_micro(frozenset(self.answered))
