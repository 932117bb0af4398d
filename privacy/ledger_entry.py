# SPDX-License-Identifier: Apache-2.0
"""One line of a vault's privacy ledger, and what it charges.

All that a charge follows from stands in the entry as integers: whoever reads a ledger again, on any
processor, adds up the same numbers.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dao.canonical import Address, Amount, Count, Digest, Positive, Record
from dao.errors import RecordError
from dao.records import PrivacyPolicy, Sampling
from privacy.accounting import Releases, releases_epsilon_micro
from privacy.filters import GDP_ORDER, ORDERS, releases_charge_nano, round_charge_nano

EntryKind = Literal["reserve", "round", "release"]
GENESIS = "0" * 64
"""`previous` of a ledger's first entry."""


class BrokenLink(RecordError):
    """An entry names another past than what stands before it: one of the two was changed."""


class Reservation(Record):
    """What a task releases, as its policy says: all that its charge follows from."""

    rounds: Annotated[int, Field(strict=True, ge=1, le=10_000)]
    """Training rounds; bounded as a task's are, for a charge is added up round by round."""
    noise_multiplier_micro: Positive
    survey_noise_micro: Count
    calibration_noise_micro: Count
    sampling: Sampling | None
    round_nano: Amount
    """Charge of one sampled training round in 1e-9, as found when it was reserved; 0 for full
    batches, whose charge is exact."""
    delta_e12: Positive
    """The task's own delta, at which its epsilon is told."""

    @classmethod
    def of_policy(cls, policy: PrivacyPolicy, *, order: int) -> Reservation:
        """Of a whole task. VaultRefusal where the filter of this order cannot hold it."""
        return cls(
            rounds=policy.rounds,
            noise_multiplier_micro=policy.noise_multiplier_micro,
            survey_noise_micro=policy.survey_noise_micro,
            calibration_noise_micro=policy.calibration_noise_micro,
            sampling=policy.sampling,
            round_nano=round_charge_nano(policy, order),
            delta_e12=policy.delta_e12,
        )

    @model_validator(mode="after")
    def _sampled_rounds_are_charged(self) -> Self:
        if (self.sampling is not None) != (self.round_nano > 0):
            raise ValueError(f"sampling and round_nano {self.round_nano} do not fit")
        return self

    @property
    def total_rounds(self) -> int:
        """Survey, training and calibration rounds, in this order."""
        return self._surveys + self.rounds + int(self.calibration_noise_micro > 0)

    @property
    def _surveys(self) -> int:
        return int(self.survey_noise_micro > 0)

    def releases(self, answered: frozenset[int]) -> Releases:
        """What a unit gave in these rounds, counted from 1."""
        training = range(1 + self._surveys, 1 + self._surveys + self.rounds)
        surveyed = self._surveys > 0 and 1 in answered
        calibrated = self.calibration_noise_micro > 0 and self.total_rounds in answered
        return Releases(
            trained=sum(number in training for number in answered),
            noise_micro=self.noise_multiplier_micro,
            survey_noise_micro=self.survey_noise_micro if surveyed else 0,
            calibration_noise_micro=self.calibration_noise_micro if calibrated else 0,
            sampling=self.sampling,
        )

    def every_round(self) -> frozenset[int]:
        """The numbers of all rounds."""
        return frozenset(range(1, self.total_rounds + 1))

    def charge_nano(self, answered: frozenset[int], *, order: int) -> int:
        """What these rounds charge in the filter's own measure, in 1e-9, rounded up."""
        releases = self.releases(answered)
        return releases_charge_nano(releases, round_nano=self.round_nano, order=order)

    def epsilon_micro(self, answered: frozenset[int]) -> int:
        """What these rounds alone cost at the task's delta, as the task itself tells it."""
        return releases_epsilon_micro(self.releases(answered), delta_e12=self.delta_e12)


class LedgerEntry(Record):
    """One line of the ledger: canonical JSON, chained by SHA-256 of the line before.

    `charge_nano` (1e-9, rounded up) is what the entry charges: the whole task for `reserve`, the
    unused rounds given back for `release`, 0 for `round` (already reserved)."""

    kind: EntryKind
    sequence: Count
    previous: Digest
    account: Address
    """Whose vault this is: a ledger that was copied from another vault is found out."""
    order: Annotated[int, Field(strict=True, ge=0, le=ORDERS.stop - 1)]
    """Of the lifetime filter: 0 for Gaussian DP, else the order of Renyi divergences."""
    task_digest: Digest
    reservation: Reservation | None
    """For `reserve`."""
    round: Count
    """1 to the task's last for `round`; 0 else."""
    base_model_sha256: Digest | None
    update_sha256: Digest | None
    charge_nano: Amount

    @model_validator(mode="after")
    def _fields_fit_the_kind(self) -> Self:
        is_round = self.kind == "round"
        if is_round != (self.round > 0):
            raise ValueError(f"{self.kind}: round {self.round} does not fit")
        if (self.kind == "reserve") != (self.reservation is not None):
            raise ValueError(f"{self.kind}: reservation does not fit")
        digests = {self.base_model_sha256 is not None, self.update_sha256 is not None}
        if digests != {is_round}:
            raise ValueError(f"{self.kind}: digests do not fit a round")
        if is_round and self.charge_nano:
            raise ValueError(f"{self.kind}: charge_nano {self.charge_nano} does not fit a round")
        sampled = self.reservation is not None and self.reservation.sampling is not None
        if self.order == 1 or (sampled and self.order == GDP_ORDER):
            raise ValueError(f"{self.kind}: order {self.order} does not fit")
        return self
