# SPDX-License-Identifier: Apache-2.0
"""The answers of one round: everybody's receipt, then for the signed list of them the updates.

Whoever could sign after it had seen others' updates would be paid for sending them again. So the
list of receipts is journaled and signed before any update is asked for, and a start after a crash
asks for the updates of that very list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from flwr.app import Message
from flwr.serverapp import Grid

from dao import bls
from dao.cid import blob_ref
from dao.messages import sign_receipt_list
from dao.records import ListedReceipt, Receipt, ReceiptList, SignedReceiptList
from fl_server.asking import Answers, Question, QuorumError
from fl_server.context import CoordinatorContext
from fl_server.publish import spool_answers, spooled_answers
from fl_server.wire import (
    REVEAL,
    TRAIN,
    read_receipt,
    read_update,
    reveal_content,
    train_content,
)
from rounds.exclusion import Answer, Expected, RosterMember, receipt_problem
from rounds.replay import least_revealed

Reply = TypeVar("Reply")


@dataclass(frozen=True)
class FixedAnswers:
    """What a round is closed with: answers by contributor, who is late, and why who refused."""

    answers: Mapping[str, Answer]
    late: frozenset[str]
    refusals: Mapping[str, str]


def fixed_answers(
    grid: Grid,
    context: CoordinatorContext,
    number: int,
    *,
    base: bytes,
    judged_out: frozenset[str],
) -> FixedAnswers:
    """The answers of a round on this base, from the journal where they are fixed already. Who is
    judged out is not asked. QuorumError where too few answer."""
    journal = context.journal
    if journal.find("receipts", round=number) is None:
        _fix_receipts(grid, context, number, base, judged_out)
    listed = journal.find("receipts", round=number)
    assert listed is not None
    if journal.find("answers", round=number) is None:
        receipts = {
            address: answer.receipt
            for address, answer in spooled_answers(context.spool, listed["receipts"]).items()
        }
        signed = SignedReceiptList.parse(context.spool.get(listed["list"]))
        updates = _updates(grid, context, base, receipts, signed)
        found = {
            address: Answer(receipt, updates.replies.get(address))
            for address, receipt in receipts.items()
        }
        journal.append(
            "answers",
            round=number,
            answers=spool_answers(context.spool, found),
            late=listed["late"],
            refusals=updates.refusals | listed["refusals"],
        )
    fixed = journal.find("answers", round=number)
    assert fixed is not None
    return FixedAnswers(
        answers=spooled_answers(context.spool, fixed["answers"]),
        late=frozenset(fixed["late"]),
        refusals=fixed["refusals"],
    )


def _fix_receipts(
    grid: Grid,
    context: CoordinatorContext,
    number: int,
    base: bytes,
    judged_out: frozenset[str],
) -> None:
    """Ask for receipts, sign their list, and journal both."""
    found = _receipts(grid, context, number, base, judged_out)
    entries = [
        ListedReceipt.of(member.address, found.replies[member.address])
        for member in context.roster
        if member.address in found.replies
    ]
    fixed = ReceiptList(
        kind="covalue.receipts/1", position=context.position(number), receipts=tuple(entries)
    )
    signed = sign_receipt_list(context.account, fixed)
    answers = {address: Answer(receipt, None) for address, receipt in found.replies.items()}
    context.journal.append(
        "receipts",
        round=number,
        receipts=spool_answers(context.spool, answers),
        list=context.spool.put(signed.canonical()).cid,
        late=sorted(found.silent),
        refusals=found.refusals,
    )


def _receipts(
    grid: Grid,
    context: CoordinatorContext,
    number: int,
    base: bytes,
    judged_out: frozenset[str],
) -> Answers[Receipt]:
    members = {member.address: member for member in context.roster}

    def take(message: Message, owner: str | None) -> tuple[str, Receipt] | None:
        """Only what its contributor signed: anything else is nobody's answer."""
        receipt = read_receipt(message)
        if receipt is None:
            return None
        address = receipt.body.contributor
        if address not in members or owner not in (None, address):
            return None
        return (address, receipt) if _signed(receipt, members[address]) else None

    question: Question[Receipt] = Question(
        grid,
        context,
        message_type=TRAIN,
        content=train_content(
            task_id=context.task_id,
            task_digest=context.task_digest,
            round_number=number,
            base=base,
        ),
        group=f"round {number}",
        take=take,
        not_asked=judged_out,
    )
    asked = len(members) - len(judged_out)
    return _enough(context, question, number, asked=asked, needed=min(context.quorum, asked))


def _signed(receipt: Receipt, member: RosterMember) -> bool:
    signature = bytes.fromhex(receipt.signature[2:])
    return bls.verify(member.bls_public_key, receipt.body.signing_digest(), signature)


def _updates(
    grid: Grid,
    context: CoordinatorContext,
    base: bytes,
    receipts: Mapping[str, Receipt],
    signed: SignedReceiptList,
) -> Answers[bytes]:
    """The updates of those listed whose receipt can count."""
    number = signed.body.position.round
    expected = Expected(
        task=context.task,
        position=signed.body.position,
        base_model_sha256=hashlib.sha256(base).hexdigest(),
        allow_seeded=context.allow_seeded,
    )
    wanted = {who for who, each in receipts.items() if receipt_problem(expected, each) is None}

    def take(message: Message, owner: str | None) -> tuple[str, bytes] | None:
        """Only bytes that fit the listed receipt: whatever else comes, there is no update."""
        revealed = read_update(message)
        if revealed is None:
            return None
        address = owner or revealed.account
        receipt = receipts.get(address)
        fits = receipt is not None and blob_ref(revealed.update) == receipt.body.update
        return (address, revealed.update) if fits else None

    question: Question[bytes] = Question(
        grid,
        context,
        message_type=REVEAL,
        content=reveal_content(
            task_id=context.task_id,
            task_digest=context.task_digest,
            round_number=number,
            receipts=signed.canonical(),
        ),
        group=f"updates of round {number}",
        take=take,
        not_asked=frozenset(member.address for member in context.roster) - wanted,
    )
    # Who is excluded by its receipt is not missed: a replay counts it among those listed.
    needed = least_revealed(len(receipts)) - (len(receipts) - len(wanted))
    return _enough(context, question, number, asked=len(wanted), needed=max(0, needed))


def _enough(
    context: CoordinatorContext, question: Question[Reply], number: int, *, asked: int, needed: int
) -> Answers[Reply]:
    """What comes back, from as many as can commit anything."""
    found = question.ask(seconds=context.timing.round, enough=needed)
    if len(found.replies) < needed:
        raise QuorumError(
            f"{len(found.replies)} of {asked} answered round {number}, {needed} are needed to "
            f"commit anything; refusals: {found.refusals or 'none'}",
            hint="resume when more contributors are online; nothing that was answered is lost",
        )
    return found
