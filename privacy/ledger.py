# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of a vault's privacy ledger; the file itself belongs to the vault.

A ledger is a hash chain of entries. `reserve` charges a whole task before its first round, `round`
fixes the one update of a round, `release` gives back the rounds that an ended task never asked for.

The lifetime limit is a privacy filter (`privacy.filters`): the sum over tasks of what was or may
still be released stays within the limit's budget, although later tasks are chosen after seeing
earlier outputs. Which filter it is the first entry says, for the ledger's whole life. Charges round
up, the budget rounds down; all sums are integers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from dao.errors import BudgetError, RecordError, VaultRefusal
from dao.records import PrivacyPolicy
from privacy.filters import GDP_ORDER, LifetimeLimit, largest_epsilon_micro, spent_epsilon_micro
from privacy.ledger_entry import GENESIS, BrokenLink, EntryKind, LedgerEntry, Reservation
from privacy.task_spending import TaskSpending


@dataclass(frozen=True)
class LedgerState:
    """What a ledger's entries add up to. Every change is a new state."""

    account: str | None = None
    """Whose vault's; None before the first entry where the reader does not know."""
    order: int | None = None
    """Of the filter that the ledger is kept by; None before the first entry."""
    head: str = GENESIS
    length: int = 0
    tasks: dict[str, TaskSpending] = field(default_factory=dict)

    @classmethod
    def replay(cls, entries: Iterable[LedgerEntry]) -> LedgerState:
        """Fold the entries from the first; RecordError names the line (from 1) that fails."""
        state = cls()
        for number, entry in enumerate(entries, start=1):
            try:
                state = state.apply(entry)
            except RecordError as error:
                place = f"ledger line {number}"
                raise RecordError(f"{place}: {error.message}", hint=error.hint) from error
        return state

    @property
    def charged_nano(self) -> int:
        """What counts against the limit: whole reservations and answered rounds of ended tasks."""
        return sum(task.charged_nano for task in self.tasks.values())

    @property
    def spent_nano(self) -> int:
        """What has truly left: answered rounds only."""
        return sum(task.spent_nano for task in self.tasks.values())

    def spent_epsilon_micro(self, *, delta_e12: int) -> int:
        """Epsilon of all answered rounds of all tasks in 1e-6, rounded up."""
        return self._epsilon_micro(self.spent_nano, delta_e12)

    def charged_epsilon_micro(self, *, delta_e12: int) -> int:
        """Epsilon of all that counts against the limit in 1e-6, rounded up."""
        return self._epsilon_micro(self.charged_nano, delta_e12)

    def left_nano(self, limit: LifetimeLimit) -> int:
        """Budget that nothing is charged against yet. VaultRefusal as `order_under`."""
        return max(0, limit.room_nano(self.order_under(limit)) - self.charged_nano)

    def left_epsilon_micro(self, limit: LifetimeLimit) -> int:
        """The most that one more full-batch task may cost at the limit's delta, rounded down."""
        order = self.order_under(limit)
        return largest_epsilon_micro(self.left_nano(limit), order=order, delta_e12=limit.delta_e12)

    def order_under(self, limit: LifetimeLimit) -> int:
        """The order of the ledger's filter, or of the limit's own where nothing is written yet.

        VaultRefusal where the limit names another filter: one changed after outputs were seen is
        no filter.
        """
        if self.order is None:
            return limit.order()
        kept = "gdp" if self.order == GDP_ORDER else "rdp"
        if kept != limit.filter:
            raise VaultRefusal(
                f"this ledger is kept by the filter {kept!r}, vault.filter is {limit.filter!r}",
                hint=f'set vault.filter = "{kept}" again: a ledger keeps the filter of its first'
                " entry for life",
            )
        return self.order

    def can_afford(self, policy: PrivacyPolicy, limit: LifetimeLimit) -> bool:
        """Whether all rounds of one more task fit within the lifetime limit."""
        try:
            order = self.order_under(limit)
            reservation = Reservation.of_policy(policy, order=order)
        except VaultRefusal:
            return False
        charge = reservation.charge_nano(reservation.every_round(), order=order)
        return self.charged_nano + charge <= limit.room_nano(order)

    def reserve(
        self, *, task_digest: str, policy: PrivacyPolicy, limit: LifetimeLimit
    ) -> LedgerEntry | None:
        """The entry that charges a whole task, None where it is charged already.

        BudgetError where the whole task is not affordable; VaultRefusal where the task has ended,
        or the ledger's filter cannot hold it.
        """
        known = self.tasks.get(task_digest)
        if known is not None:
            if known.released:
                raise VaultRefusal(f"task {task_digest} has ended in this vault's ledger")
            return None
        order = self.order_under(limit)
        reservation = Reservation.of_policy(policy, order=order)
        charge = reservation.charge_nano(reservation.every_round(), order=order)
        if not self.can_afford(policy, limit):
            cost = reservation.epsilon_micro(reservation.every_round()) / 1e6
            left = self.left_epsilon_micro(limit) / 1e6
            room = max(1, limit.room_nano(order))
            raise BudgetError(
                f"the task costs epsilon {cost:g} (delta {policy.delta_e12 / 1e12:g}), which is"
                f" {charge / room:.1%} of the lifetime budget; {self.left_nano(limit) / room:.1%}"
                f" is left, enough for epsilon {left:g}; the lifetime limit is"
                f" {limit.epsilon_micro / 1e6:g} (delta {limit.delta_e12 / 1e12:g})",
                hint="wait for a cheaper task; raising the lifetime limit"
                " (vault.max_epsilon_micro) is the owner's decision",
            )
        return self._entry(
            "reserve", task_digest, order=order, reservation=reservation, charge_nano=charge
        )

    def answer(
        self, *, task_digest: str, round_number: int, base_model_sha256: str, update_sha256: str
    ) -> LedgerEntry | None:
        """The entry that fixes the one update of a round, None where it is this very one already.

        BudgetError where the task is not reserved or the round is none of its own; VaultRefusal
        where the round was answered on another base or with other bytes, or the task has ended.
        """
        task = self.tasks.get(task_digest)
        if task is None or not 1 <= round_number <= task.reservation.total_rounds:
            raise BudgetError(f"round {round_number} of task {task_digest} is not reserved")
        before = task.answered.get(round_number)
        if before is not None:
            if before == (base_model_sha256, update_sha256):
                return None
            what = "base" if before[0] != base_model_sha256 else "update"
            raise VaultRefusal(
                f"round {round_number} was already answered with another {what}",
                hint="a second update of one round would spend privacy twice",
            )
        if task.released:
            raise VaultRefusal(f"task {task_digest} has ended in this vault's ledger")
        return self._entry(
            "round",
            task_digest,
            order=task.order,
            round_number=round_number,
            digests=(base_model_sha256, update_sha256),
        )

    def release(self, *, task_digest: str) -> LedgerEntry | None:
        """The entry that ends a task and gives unasked rounds back, None where that is done.

        VaultRefusal where the task was never reserved. No round of the task is answered after it.
        """
        task = self.tasks.get(task_digest)
        if task is None:
            raise VaultRefusal(f"task {task_digest} is not in this vault's ledger")
        if task.released:
            return None
        back = task.charged_nano - task.spent_nano
        return self._entry("release", task_digest, order=task.order, charge_nano=back)

    def apply(self, entry: LedgerEntry) -> LedgerState:
        """The state after `entry`. RecordError where it does not follow from this state: BrokenLink
        where all but its `previous` does."""
        self._check_chain(entry)
        try:
            expected = replace(self, account=entry.account)._expected(entry)
        except VaultRefusal as error:
            raise RecordError(error.message) from error
        if expected != entry:
            raise RecordError("it does not say what it should, or says it twice")
        if entry.reservation is not None:
            task = TaskSpending(reservation=entry.reservation, order=entry.order)
        elif entry.base_model_sha256 is not None and entry.update_sha256 is not None:
            known = self.tasks[entry.task_digest]
            fixed = (entry.base_model_sha256, entry.update_sha256)
            task = replace(known, answered={**known.answered, entry.round: fixed})
        else:
            task = replace(self.tasks[entry.task_digest], released=True)
        return LedgerState(
            account=entry.account,
            order=entry.order,
            head=entry.digest(),
            length=self.length + 1,
            tasks={**self.tasks, entry.task_digest: task},
        )

    def _check_chain(self, entry: LedgerEntry) -> None:
        if self.account is not None and entry.account != self.account:
            raise RecordError(
                f"it is of the vault of {entry.account}, this is the vault of {self.account}",
                hint="each vault keeps a ledger of its own: put this vault's own one back",
            )
        if self.order is not None and entry.order != self.order:
            raise RecordError(f"filter order is {entry.order}, the ledger's is {self.order}")
        if entry.sequence != self.length:
            raise RecordError(
                f"sequence is {entry.sequence}, expected {self.length}:"
                " lines were taken out, added or moved"
            )
        if entry.previous != self.head:
            raise BrokenLink(
                f"it does not name what stands before it: previous is {entry.previous},"
                f" expected {self.head}"
            )

    def _expected(self, entry: LedgerEntry) -> LedgerEntry | None:
        """What this state itself would write. The limit is not part of the chain: it may change."""
        if entry.kind == "release":
            return self.release(task_digest=entry.task_digest)
        if entry.base_model_sha256 is not None and entry.update_sha256 is not None:
            return self.answer(
                task_digest=entry.task_digest,
                round_number=entry.round,
                base_model_sha256=entry.base_model_sha256,
                update_sha256=entry.update_sha256,
            )
        if entry.reservation is None or entry.task_digest in self.tasks:
            return None
        reservation, order = entry.reservation, entry.order
        return self._entry(
            "reserve",
            entry.task_digest,
            order=order,
            reservation=reservation,
            charge_nano=reservation.charge_nano(reservation.every_round(), order=order),
        )

    def _entry(
        self,
        kind: EntryKind,
        task_digest: str,
        *,
        order: int,
        reservation: Reservation | None = None,
        round_number: int = 0,
        digests: tuple[str | None, str | None] = (None, None),
        charge_nano: int = 0,
    ) -> LedgerEntry:
        if self.account is None:
            raise VaultRefusal("whose ledger this is, is not known: nothing can be written to it")
        return LedgerEntry(
            kind=kind,
            sequence=self.length,
            previous=self.head,
            account=self.account,
            order=order,
            task_digest=task_digest,
            reservation=reservation,
            round=round_number,
            base_model_sha256=digests[0],
            update_sha256=digests[1],
            charge_nano=charge_nano,
        )

    def _epsilon_micro(self, charge_nano: int, delta_e12: int) -> int:
        order = GDP_ORDER if self.order is None else self.order
        return spent_epsilon_micro(charge_nano, order=order, delta_e12=delta_e12)
