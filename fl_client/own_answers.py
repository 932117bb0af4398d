# SPDX-License-Identifier: Apache-2.0
"""What the records say of this vault's own answers, held against what it sent."""

from __future__ import annotations

from collections.abc import Sequence

from dao import bls
from dao.records import Receipt, RoundRecord
from fl_client.refusals import Code, Refused
from fl_client.vault import Vault
from privacy.ledger import LedgerState


class OwnAnswers:
    """The answers of one vault to one task."""

    def __init__(self, vault: Vault, task_digest: str) -> None:
        self._vault = vault
        self._task_digest = task_digest
        self._account = vault.config.account

    def check_receipts(self, records: Sequence[RoundRecord]) -> None:
        """Refused where a record holds, in this contributor's name, another receipt than the one
        that was sent (mismatch), or one of this key that the ledger does not know (ledger)."""
        ledger = self._vault.ledger_state()
        for record in records:
            self._check_receipt(ledger, record)

    def refuse_if_left_out(self, records: Sequence[RoundRecord]) -> None:
        """Refused(mismatch) where this vault answered in these rounds, and each of its answers is
        called late or missing. The network may lose some; who signs that it lost all would
        confirm what it knows to be otherwise."""
        answered = self._answered(self._vault.ledger_state())
        silenced = [
            any(
                each.contributor == self._account and each.reason in ("late", "missing")
                for each in record.exclusions
            )
            for record in records
            if record.position.round in answered
        ]
        if silenced and all(silenced):
            raise Refused(
                Code.MISMATCH,
                f"all {len(silenced)} answers of this vault to rounds "
                f"{records[0].position.round} to {records[-1].position.round} are called late or "
                "missing",
                hint="look at the connection; if it is sound, challenge the task",
            )

    def _answered(self, ledger: LedgerState) -> frozenset[int]:
        spending = ledger.tasks.get(self._task_digest)
        return frozenset() if spending is None else frozenset(spending.answered)

    def _check_receipt(self, ledger: LedgerState, record: RoundRecord) -> None:
        number = record.position.round
        named = [each for each in record.receipts if each.body.contributor == self._account]
        exclusion = next(
            (each for each in record.exclusions if each.contributor == self._account), None
        )
        if exclusion is not None and exclusion.receipt is not None:
            named.append(exclusion.receipt)
        if number not in self._answered(ledger):
            if any(self._signed_here(receipt) for receipt in named):
                raise Refused(
                    Code.LEDGER,
                    f"round {number} holds a receipt of this key that the ledger does not know",
                    hint="this ledger is older than the vault's answers: restore the newest one",
                )
            return
        if exclusion is not None and not named:
            return
        stored = self._vault.stored_receipt(self._task_digest, number)
        if [receipt.canonical() for receipt in named] != [stored]:
            raise Refused(
                Code.MISMATCH,
                f"round {number} does not hold the receipt that this vault sent",
                hint="what stands in its place is forged: keep the record, and challenge the task",
            )
        if exclusion is not None and exclusion.reason == "wrong-shape":
            raise Refused(
                Code.MISMATCH,
                f"round {number} says that this vault's update did not fit its receipt; it does",
                hint="keep the record, and challenge the task",
            )

    def _signed_here(self, receipt: Receipt) -> bool:
        signature = bytes.fromhex(receipt.signature[2:])
        return bls.verify(self._vault.public_key, receipt.body.signing_digest(), signature)
