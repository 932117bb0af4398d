# SPDX-License-Identifier: Apache-2.0
"""Updates leave their vaults only when the receipts of all are fixed: a coordinator that lets
somebody sign after it has seen others' updates, or shows two lists, gets no co-signature."""

import dataclasses
import shutil
from typing import Any

import pytest
from flwr.app import Message

from dao.cid import blob_ref
from dao.contracts.task_types import TaskState
from dao.messages import recover_receipt_list_signer
from dao.records import Receipt, SignedReceiptList
from fl_server.asking import QuorumError
from rounds.exclusion import Answer
from tests.federation_town import COORDINATOR, address, bls_key
from tests.integration.vault_loop import Loop, built, loop

__all__ = ["built", "loop"]


@pytest.mark.promise(7)
def test_promise_7_whoever_signed_after_others_updates_left_is_not_signed(loop: Loop) -> None:
    """The coordinator shows one list of receipts to get the updates, and records another: the
    last contributor's receipt is replaced by one that it signs when it has seen the others."""
    from fl_server import rounds_loop
    from fl_server.collecting import FixedAnswers, fixed_answers

    town, mimic = loop.town, address(13)

    def late_signed(*args: Any, **kwargs: Any) -> FixedAnswers:
        fixed = fixed_answers(*args, **kwargs)
        copied = fixed.answers[address(10)].update
        assert copied is not None
        body = fixed.answers[mimic].receipt.body.model_copy(update={"update": blob_ref(copied)})
        signature = bls_key(town, 3).sign(body.signing_digest())
        answer = Answer(Receipt(body=body, signature="0x" + signature.hex()), copied)
        return dataclasses.replace(fixed, answers={**fixed.answers, mimic: answer})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds_loop, "fixed_answers", late_signed)
        with pytest.raises(QuorumError, match="0 of 4"):
            loop.train()
    assert set(loop.told[-1].detail["refusals"].values()) == {"mismatch"}


@pytest.mark.promise(7)
def test_promise_7_updates_leave_for_one_list_only(loop: Loop) -> None:
    """A coordinator that lost its journal, and then a receipt, gets no update for the new list."""
    loop.grid.tamper = lambda node, message, reply: (
        None if message.metadata.message_type == "query.cosign" else reply
    )
    with pytest.raises(QuorumError):
        loop.train()
    shutil.rmtree(loop.journal.parent)
    loop.grid.tamper = lambda node, message, reply: (
        None if node == 4 and message.metadata.group_id == "round 2" else reply
    )
    with pytest.raises(QuorumError, match="0 of 3 answered round 2"):
        loop.train()
    assert set(loop.told[-1].detail["refusals"].values()) == {"other-receipts"}
    for place in range(3):
        folder = loop.town.vault_settings(place).parent / "vault" / "answers"
        first, other = (
            SignedReceiptList.parse((folder / loop.town.task.digest() / name).read_bytes())
            for name in ("2.receipts", "2.receipts.other")
        )
        assert [len(each.body.receipts) for each in (first, other)] == [4, 3]
        assert {recover_receipt_list_signer(each) for each in (first, other)} == {
            address(COORDINATOR)
        }


def test_a_listed_contributor_that_falls_silent_does_not_stop_the_task(loop: Loop) -> None:
    """A bare quorum is listed, one of it never answers again, and the fourth comes back."""

    def tamper(node: int, message: Message, reply: Message) -> Message | None:
        first = message.metadata.group_id == "round 1"
        away = node == 4 and first
        dead = node == 3 and not first
        return None if away or dead else reply

    loop.grid.tamper = tamper
    loop.train()
    assert loop.state is TaskState.CLOSED
    left_out = [
        [(each.contributor, each.reason, each.receipt is None) for each in signed.record.exclusions]
        for signed in loop.records()
    ]
    assert left_out == [
        [(address(12), "missing", False), (address(13), "missing", True)],
        *[[(address(12), "missing", True)]] * 3,
    ]


def test_whoever_handed_out_its_updates_and_is_called_missing_does_not_sign(loop: Loop) -> None:
    """In more than a third of them: what it sent could come back in a friend's name."""
    signed: list[int] = []

    def listen(node: int, message: Message, reply: Message) -> Message | None:
        if message.metadata.message_type == "query.cosign" and not reply.has_error():
            signed.append(node)
        lost = node == 2 and message.metadata.group_id == "updates of round 1"
        return None if lost else reply

    loop.grid.tamper = listen
    loop.train()
    assert signed[:3] == [1, 3, 4], "not of the first stretch"
    assert loop.state is TaskState.CLOSED
