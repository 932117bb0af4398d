# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of a vault's privacy ledger; the file itself belongs to the vault.

A ledger is a hash chain of entries. `reserve` charges a whole task before its first round, `round`
fixes the one update of a round, `release` gives back the rounds that an ended task never asked for.

The lifetime limit is a privacy filter: the sum of mu^2 over all that was or may still be released
stays below mu_limit^2. For Gaussian DP this holds although later tasks are chosen after seeing
earlier outputs (Smith and Thakurta, "Fully Adaptive Composition for Gaussian Differential
Privacy", 2022, arXiv 2210.17520). Charges round up, the limit rounds down; all sums are integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from pydantic import model_validator

from dao.canonical import BigInt, Count, Digest, Positive, Record
from dao.errors import BudgetError, RecordError, VaultRefusal
from dao.records import PrivacyPolicy
from privacy.accounting import epsilon_of_mu, mu_of_epsilon, mu_squared_nano

GENESIS = "0" * 64
"""`previous` of a ledger's first entry."""


class LedgerEntry(Record):
    """One line of the ledger: canonical JSON, chained by SHA-256 of the line before.

    `mu_sq_nano` (1e-9, rounded up) is what the entry charges: the whole task for `reserve`, the
    unused rounds given back for `release`, 0 for `round` (already reserved)."""

    kind: Literal["reserve", "round", "release"]
    sequence: Count
    previous: Digest
    task_digest: Digest
    rounds: Count
    """T for `reserve`; 0 else."""
    noise_multiplier_micro: Count
    """sigma of the task for `reserve`; 0 else."""
    round: Count
    """1 to T for `round`; 0 else."""
    base_model_sha256: Digest | None
    update_sha256: Digest | None
    mu_sq_nano: BigInt

    @model_validator(mode="after")
    def _fields_fit_the_kind(self) -> Self:
        is_round = self.kind == "round"
        is_reserve = self.kind == "reserve"
        if is_round != (self.round > 0) or is_reserve != (self.rounds > 0):
            raise ValueError(f"{self.kind}: round {self.round}, rounds {self.rounds} do not fit")
        if is_reserve != (self.noise_multiplier_micro > 0):
            raise ValueError(f"{self.kind}: noise multiplier {self.noise_multiplier_micro}")
        if is_round != (self.base_model_sha256 is not None and self.update_sha256 is not None):
            raise ValueError(f"{self.kind}: digests do not fit")
        if self.mu_sq_nano < 0 or (is_round and self.mu_sq_nano != 0):
            raise ValueError(f"{self.kind}: mu_sq_nano {self.mu_sq_nano}")
        return self


class LifetimeLimit(Record):
    """A contributor's own limit: epsilon at delta over everything its vault ever answers."""

    epsilon_micro: Positive
    delta_e12: Positive

    def mu_sq_nano(self) -> int:
        """mu_limit^2 in 1e-9, rounded down."""
        mu = mu_of_epsilon(self.epsilon_micro / 1e6, self.delta_e12 / 1e12)
        return math.floor(mu * mu * 1e9)


@dataclass(frozen=True)
class TaskSpending:
    """What one task reserved, and `answered`: round -> (base digest, update digest)."""

    rounds: int
    noise_multiplier_micro: int
    released: bool = False
    answered: dict[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def charged_mu_sq_nano(self) -> int:
        """All T rounds; after a release only the answered ones."""
        rounds = len(self.answered) if self.released else self.rounds
        return mu_squared_nano(rounds=rounds, noise_multiplier_micro=self.noise_multiplier_micro)

    @property
    def spent_mu_sq_nano(self) -> int:
        """The answered rounds."""
        return mu_squared_nano(
            rounds=len(self.answered), noise_multiplier_micro=self.noise_multiplier_micro
        )


@dataclass(frozen=True)
class LedgerState:
    """What a ledger's entries add up to. Every change is a new state."""

    head: str = GENESIS
    length: int = 0
    tasks: dict[str, TaskSpending] = field(default_factory=dict)

    @classmethod
    def replay(cls, entries: Iterable[LedgerEntry]) -> LedgerState:
        """Fold the entries from the first; RecordError names the entry that does not follow."""
        state = cls()
        for entry in entries:
            state = state.apply(entry)
        return state

    @property
    def charged_mu_sq_nano(self) -> int:
        """What counts against the limit: whole reservations and answered rounds of ended tasks."""
        return sum(task.charged_mu_sq_nano for task in self.tasks.values())

    @property
    def spent_mu_sq_nano(self) -> int:
        """What has truly left: answered rounds only."""
        return sum(task.spent_mu_sq_nano for task in self.tasks.values())

    def spent_epsilon_micro(self, *, delta_e12: int) -> int:
        """Epsilon of all answered rounds of all tasks in 1e-6, rounded up."""
        return _epsilon_micro(self.spent_mu_sq_nano, delta_e12)

    def charged_epsilon_micro(self, *, delta_e12: int) -> int:
        """Epsilon of all that counts against the limit in 1e-6, rounded up."""
        return _epsilon_micro(self.charged_mu_sq_nano, delta_e12)

    def can_afford(self, policy: PrivacyPolicy, limit: LifetimeLimit) -> bool:
        """Whether all rounds of one more task fit within the lifetime limit."""
        return self.charged_mu_sq_nano + _task_mu_sq_nano(policy) <= limit.mu_sq_nano()

    def reserve(
        self, *, task_digest: str, policy: PrivacyPolicy, limit: LifetimeLimit
    ) -> LedgerEntry | None:
        """The entry that charges a whole task, None where it is charged already.

        BudgetError where the whole task is not affordable; VaultRefusal where the task has ended.
        """
        known = self.tasks.get(task_digest)
        if known is not None:
            if known.released:
                raise VaultRefusal(f"task {task_digest} has ended in this vault's ledger")
            return None
        if not self.can_afford(policy, limit):
            charged = self.charged_mu_sq_nano
            whole = charged + _task_mu_sq_nano(policy)
            raise BudgetError(
                f"the ledger has charged epsilon {_epsilon_text(charged, limit)}; with this task it"
                f" would be {_epsilon_text(whole, limit)}, the lifetime limit is"
                f" {limit.epsilon_micro / 1e6:g} (all at delta {limit.delta_e12 / 1e12:g})",
                hint="wait for a cheaper task; raising the lifetime limit"
                " (vault.max_epsilon_micro) is the owner's decision",
            )
        return self._entry(
            kind="reserve",
            task_digest=task_digest,
            rounds=policy.rounds,
            noise_multiplier_micro=policy.noise_multiplier_micro,
            mu_sq_nano=_task_mu_sq_nano(policy),
        )

    def answer(
        self, *, task_digest: str, round_number: int, base_model_sha256: str, update_sha256: str
    ) -> LedgerEntry | None:
        """The entry that fixes the one update of a round, None where it is this very one already.

        BudgetError where the task is not reserved or the round is none of its own; VaultRefusal
        where the round was answered on another base or with other bytes, or the task has ended.
        """
        task = self.tasks.get(task_digest)
        if task is None or not 1 <= round_number <= task.rounds:
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
            kind="round",
            task_digest=task_digest,
            round=round_number,
            base_model_sha256=base_model_sha256,
            update_sha256=update_sha256,
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
        back = task.charged_mu_sq_nano - task.spent_mu_sq_nano
        return self._entry(kind="release", task_digest=task_digest, mu_sq_nano=back)

    def apply(self, entry: LedgerEntry) -> LedgerState:
        """The state after `entry`. RecordError where it does not follow from this state."""
        place = f"ledger entry {entry.sequence}"
        if entry.sequence != self.length or entry.previous != self.head:
            raise RecordError(
                f"{place}: sequence {entry.sequence}, previous {entry.previous};"
                f" expected {self.length}, {self.head}",
                hint="the ledger was cut, reordered or changed; restore it from a whole copy",
            )
        try:
            expected = self._expected(entry)
        except VaultRefusal as error:
            raise RecordError(f"{place}: {error.message}") from error
        if expected != entry:
            raise RecordError(f"{place}: does not say what it should, or says it twice")
        known = self.tasks.get(entry.task_digest)
        if entry.kind == "reserve":
            task = TaskSpending(
                rounds=entry.rounds, noise_multiplier_micro=entry.noise_multiplier_micro
            )
        else:
            assert known is not None
            if entry.kind == "round":
                assert entry.base_model_sha256 is not None
                assert entry.update_sha256 is not None
                fixed = (entry.base_model_sha256, entry.update_sha256)
                task = replace(known, answered={**known.answered, entry.round: fixed})
            else:
                task = replace(known, released=True)
        return LedgerState(
            head=entry.digest(),
            length=self.length + 1,
            tasks={**self.tasks, entry.task_digest: task},
        )

    def _expected(self, entry: LedgerEntry) -> LedgerEntry | None:
        """What this state itself would write. The limit is not part of the chain: it may change."""
        if entry.kind == "release":
            return self.release(task_digest=entry.task_digest)
        if entry.kind == "round":
            assert entry.base_model_sha256 is not None
            assert entry.update_sha256 is not None
            return self.answer(
                task_digest=entry.task_digest,
                round_number=entry.round,
                base_model_sha256=entry.base_model_sha256,
                update_sha256=entry.update_sha256,
            )
        if entry.task_digest in self.tasks:
            return None
        return self._entry(
            kind="reserve",
            task_digest=entry.task_digest,
            rounds=entry.rounds,
            noise_multiplier_micro=entry.noise_multiplier_micro,
            mu_sq_nano=mu_squared_nano(
                rounds=entry.rounds, noise_multiplier_micro=entry.noise_multiplier_micro
            ),
        )

    def _entry(
        self,
        *,
        kind: Literal["reserve", "round", "release"],
        task_digest: str,
        rounds: int = 0,
        noise_multiplier_micro: int = 0,
        round: int = 0,
        base_model_sha256: str | None = None,
        update_sha256: str | None = None,
        mu_sq_nano: int = 0,
    ) -> LedgerEntry:
        return LedgerEntry(
            kind=kind,
            sequence=self.length,
            previous=self.head,
            task_digest=task_digest,
            rounds=rounds,
            noise_multiplier_micro=noise_multiplier_micro,
            round=round,
            base_model_sha256=base_model_sha256,
            update_sha256=update_sha256,
            mu_sq_nano=mu_sq_nano,
        )


def _task_mu_sq_nano(policy: PrivacyPolicy) -> int:
    return mu_squared_nano(
        rounds=policy.rounds, noise_multiplier_micro=policy.noise_multiplier_micro
    )


def _epsilon_micro(mu_sq_nano: int, delta_e12: int) -> int:
    return math.ceil(epsilon_of_mu(math.sqrt(mu_sq_nano / 1e9), delta_e12 / 1e12) * 1e6)


def _epsilon_text(mu_sq_nano: int, limit: LifetimeLimit) -> str:
    return f"{_epsilon_micro(mu_sq_nano, limit.delta_e12) / 1e6:g}"
