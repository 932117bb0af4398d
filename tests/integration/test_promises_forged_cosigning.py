# SPDX-License-Identifier: Apache-2.0
"""Promise 7 against a coordinator that asks vaults to co-sign what others could not recompute, or
what leaves them out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dao.cid import of_digest
from dao.contracts.task_types import TaskState
from dao.messages import checkpoint_message
from dao.records import BlobRef, Checkpoint, Receipt
from demo.devnet import Devnet
from fl_server import checkpoint as checkpoints
from fl_server import collecting, finish
from fl_server.asking import QuorumError
from tests.federation_town import Town, address
from tests.playing_town import CONTRIBUTORS, Played, small_town, town_on

LIES: dict[str, Callable[[Checkpoint, BlobRef], BlobRef]] = {
    "another size": lambda _, ref: ref.model_copy(update={"size": ref.size + 1}),
    "another digest": lambda _, ref: ref.model_copy(update={"sha256": "ab" * 32}),
    "other content": lambda checkpoint, _: checkpoint.model,
    "nothing at all": lambda _, ref: ref.model_copy(update={"cid": of_digest("cd" * 32)}),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with Devnet() as net:
        yield small_town(tmp_path_factory.mktemp("town"), net)


@pytest.fixture
def town(built: Town, tmp_path: Path) -> Iterator[Town]:
    with town_on(built, tmp_path / "town") as found:
        yield found


def _lying(honest: Checkpoint, lie: Callable[[Checkpoint, BlobRef], BlobRef]) -> Checkpoint:
    first, *others = honest.records
    return honest.model_copy(update={"records": (lie(honest, first), *others)})


@pytest.mark.promise(7)
@pytest.mark.parametrize("lie", LIES)
def test_promise_7_links_that_no_auditor_can_follow_are_signed_by_nobody(
    town: Town, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once where the vaults see the rounds for the first time, once where they have replayed them:
    the digests of the records are right, their links are not."""
    collect = checkpoints.collect_signatures
    refused: list[str] = []

    def asked_for_lies(grid: Any, context: Any, **asked: Any) -> tuple[int, bytes]:
        honest = Checkpoint.parse(context.store.get(of_digest(asked["record"])))
        false = _lying(honest, LIES[lie])
        context.store.put(false.canonical())
        message = checkpoint_message(
            chain_id=false.chain_id,
            ledger=false.ledger,
            task_id=false.task_id,
            task_digest=false.task_digest,
            index=false.index,
            first_round=false.first_round,
            last_round=false.last_round,
            records_root=false.digest(),
            model_digest=false.model.sha256,
        )
        for _ in range(2):
            with pytest.raises(QuorumError, match=r"^0 of 4") as caught:
                collect(grid, context, kind="checkpoint", record=false.digest(), message=message)
            refused.append(str(caught.value))
            signed = collect(grid, context, **asked)
        return signed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "collect_signatures", asked_for_lies)
        Played(town).train()
    assert len(refused) == 4
    assert town.dao.ledger.task_of(town.task_id).state is TaskState.CLOSED


@pytest.mark.promise(7)
def test_promise_7_no_result_is_signed_while_parts_can_be_opened(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result over the public rows alone, kept until the reveal is over, would do without them."""
    awaited = finish._await_parts
    monkeypatch.setattr(finish, "_await_parts", lambda _context: None)
    with pytest.raises(QuorumError, match=r"^0 of 4 .*unavailable"):
        Played(town).train()
    assert town.dao.ledger.task_of(town.task_id).state is TaskState.REVEALING
    town.net.advance(3601)
    monkeypatch.setattr(finish, "_await_parts", awaited)
    Played(town).train()
    assert town.dao.ledger.task_of(town.task_id).state is TaskState.CLOSED


def _changed(monkeypatch: pytest.MonkeyPatch, what: str, change: Callable[[str, Any], Any]) -> None:
    """The coordinator's `_receipts` or `_updates` of each round, changed after they came in."""
    collect = getattr(collecting, what)

    def collected(*args: Any) -> Any:
        answers = collect(*args)
        changed = {who: change(who, answer) for who, answer in answers.replies.items()}
        replies = {who: answer for who, answer in changed.items() if answer is not None}
        return dataclasses.replace(answers, replies=replies)

    monkeypatch.setattr(collecting, what, collected)


def _signers(found: Played) -> set[str]:
    return {
        who
        for who, message, reply in found.replies
        if message.metadata.message_type == "query.cosign" and not reply.has_error()
    }


def _other_signature(receipt: Receipt) -> Receipt:
    return receipt.model_copy(update={"signature": "0x" + "c0" + receipt.signature[4:]})


def _lost(_what: Any) -> None:
    return None


@pytest.mark.promise(7)
@pytest.mark.parametrize(
    ("what", "forge", "reason"),
    [
        ("_receipts", _other_signature, "bad-signature"),
        ("_receipts", _lost, "missing"),
        ("_updates", _lost, "missing"),
    ],
)
def test_promise_7_a_vault_does_not_sign_what_was_forged_or_lost_in_its_name(
    town: Town,
    what: str,
    forge: Callable[[Any], Any],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In every round of a stretch: the network may lose some."""
    victim = address(11)
    _changed(monkeypatch, what, lambda who, sent: forge(sent) if who == victim else sent)
    found = Played(town)
    found.train()
    assert _signers(found) == {address(10 + place) for place in range(CONTRIBUTORS)} - {victim}
    for signed in found.records():
        reasons = {each.contributor: each.reason for each in signed.record.exclusions}
        assert reasons == {victim: reason}
    assert found.audit() == ""


@pytest.mark.promise(7)
def test_promise_7_rounds_of_a_few_friends_are_signed_by_nobody(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All four answered; the record calls two of them missing."""
    friends = {address(10), address(11)}
    _changed(monkeypatch, "_receipts", lambda who, sent: sent if who in friends else None)
    with pytest.raises(QuorumError, match=r"^0 of 4 .*mismatch"):
        Played(town).train()
    assert town.dao.ledger.task_of(town.task_id).checkpoint_count == 0
