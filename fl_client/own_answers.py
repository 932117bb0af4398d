# SPDX-License-Identifier: Apache-2.0
"""What the records say of this vault's own answers, held against what it sent.

A ledger that does not know an answer which stands in a committed record, signed with this vault's
key, is older than the vault's own past: it would let the round be computed, and its privacy be
spent, a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from audit.published import read_checkpoint, read_records
from dao import bls
from dao.errors import RecordError, ReplayMismatch, StoreError
from dao.records import Exclusion, Receipt, RoundRecord
from dao.store import Store
from fl_client.approval import ChainView, TaskOnChain
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
        that was sent (mismatch), or one of this key that the ledger does not know (ledger); or
        where others' are not those that were fixed before this vault's update left (mismatch)."""
        ledger = self._vault.ledger_state()
        for record in records:
            self._check_receipt(ledger, record)
            self._vault.lists.check(self._task_digest, record)

    def refuse_if_left_out(self, records: Sequence[RoundRecord]) -> None:
        """Refused(mismatch) where this vault answered in these rounds, and each of its answers is
        called late or missing; or more than a third of the updates that it handed out. The network
        may lose some; who signs that it lost all would confirm what it knows to be otherwise, and
        an update that was handed out and not published could come back in another's name."""
        answered = self._answered(self._vault.ledger_state())
        silenced, taken = list[bool](), list[bool]()
        for record in records:
            number = record.position.round
            if number in answered:
                silenced.append(
                    any(
                        each.contributor == self._account and each.reason in ("late", "missing")
                        for each in record.exclusions
                    )
                )
                if self._vault.lists.shown(self._task_digest, number) is not None:
                    taken.append(silenced[-1])
        if 3 * sum(taken) > len(taken):
            raise Refused(
                Code.MISMATCH,
                f"of {len(taken)} updates of this vault that were handed out for rounds "
                f"{records[0].position.round} to {records[-1].position.round}, {sum(taken)} are "
                "called missing",
                hint="look at the connection; if it is sound, challenge the task",
            )
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
        named, exclusion = receipts_of(record, self._account)
        if number not in self._answered(ledger):
            if any(signed_with(self._vault.public_key, receipt) for receipt in named):
                raise _stale(self._task_digest, number)
            if named:
                raise Refused(
                    Code.MISMATCH,
                    f"round {number} holds a receipt in this vault's name, which sent none",
                    hint="it is forged, so that the round passes for answered: keep the record, "
                    "and challenge the task",
                )
            return
        if exclusion is not None and not named:
            return
        stored = self._vault.stored_answer(self._task_digest, number)
        assert stored is not None
        if [receipt.canonical() for receipt in named] != [stored.receipt]:
            raise Refused(
                Code.MISMATCH,
                f"round {number} does not hold the receipt that this vault sent",
                hint="what stands in its place is forged: keep the record, and challenge the task",
            )


def receipts_of(record: RoundRecord, account: str) -> tuple[list[Receipt], Exclusion | None]:
    """Receipts in an account's name, counted or excluded, and its exclusion where it has one."""
    named = [each for each in record.receipts if each.body.contributor == account]
    exclusion = next((each for each in record.exclusions if each.contributor == account), None)
    if exclusion is not None and exclusion.receipt is not None:
        named.append(exclusion.receipt)
    return named, exclusion


def signed_with(public_key: bytes, receipt: Receipt) -> bool:
    """Whether the receipt's signature is that of this BLS key (48 bytes)."""
    signature = bytes.fromhex(receipt.signature[2:])
    return bls.verify(public_key, receipt.body.signing_digest(), signature)


def refuse_stale_ledger(
    ledger: LedgerState, *, account: str, chain: ChainView, store: Store, tasks: Iterable[int]
) -> tuple[str, ...]:
    """Hold the ledger against what these tasks have committed on chain.

    Refused(ledger) where a committed record holds an answer, signed with the key that the task's
    roster has for `account`, of which the ledger knows nothing. Returns what could not be looked
    at, because nobody reachable has it, in words.
    """
    unseen = []
    for task_id in tasks:
        on_chain = chain.task(task_id)
        try:
            _refuse_unknown_answers(ledger, on_chain, account=account, chain=chain, store=store)
        except (RecordError, ReplayMismatch, StoreError) as error:
            unseen.append(f"task {task_id}: {error.message}")
    return tuple(unseen)


def _refuse_unknown_answers(
    ledger: LedgerState, on_chain: TaskOnChain, *, account: str, chain: ChainView, store: Store
) -> None:
    member = next((each for each in on_chain.roster if each.address == account), None)
    if member is None:
        return
    spending = ledger.tasks.get(on_chain.task_digest)
    known = frozenset[int]() if spending is None else frozenset(spending.answered)
    for index in range(on_chain.checkpoint_count):
        root = chain.checkpoint_root(on_chain.task_id, index)
        checkpoint = read_checkpoint(store, root, index=index)
        if known.issuperset(range(checkpoint.first_round, checkpoint.last_round + 1)):
            continue
        for signed in read_records(store, checkpoint):
            number = signed.record.position.round
            named, _ = receipts_of(signed.record, account)
            if number not in known and any(
                each.body.position.task_digest == on_chain.task_digest
                and each.body.position.round == number
                and signed_with(member.bls_public_key, each)
                for each in named
            ):
                raise _stale(on_chain.task_digest, number)


def _stale(task_digest: str, number: int) -> Refused:
    return Refused(
        Code.LEDGER,
        f"round {number} of task {task_digest} holds a receipt of this vault's key that the ledger"
        " does not know: the ledger is older than the vault's own answers",
        hint="put the newest ledger.jsonl (and answers/) back; if it is lost, the budget of these "
        "records counts as spent: use them in no vault again (covalue contributor exit gives the "
        "stake back)",
    )
