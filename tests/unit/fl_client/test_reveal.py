# SPDX-License-Identifier: Apache-2.0
"""What a vault hands its update out for: one signed list of receipts, with its own among them."""

import dataclasses
from collections.abc import Callable

import pytest
from eth_account import Account
from failing_disk import Disk
from vault_world import ACCOUNT, COORDINATOR_ACCOUNT, VaultWorld, world

from dao.cid import blob_ref
from dao.messages import sign_receipt_list
from dao.records import (
    Checkpoint,
    ListedReceipt,
    Position,
    Receipt,
    ReceiptList,
    RoundRecord,
    SignedReceiptList,
    SignedRoundRecord,
)
from fl_client.refusals import Code, Refused
from fl_client.reveal import reveal
from fl_client.wire import RevealRequest
from rounds.exclusion import RosterMember

__all__ = ["world"]
OTHER = "0x" + "44" * 20


def listed(world: VaultWorld, receipt: bytes, **changes: object) -> ReceiptList:
    """The list of round 1 with this vault's receipt; `changes` are of its position."""
    place = {
        "chain_id": world.chain.state.chain_id,
        "ledger": world.chain.state.ledger,
        "task_id": 7,
        "task_digest": world.task.digest(),
        "round": 1,
    } | changes
    return ReceiptList(
        kind="covalue.receipts/1",
        position=Position.model_validate(place),
        receipts=(ListedReceipt.of(ACCOUNT, Receipt.parse(receipt)),),
    )


def request(world: VaultWorld, data: bytes, round_number: int = 1) -> RevealRequest:
    return RevealRequest(7, world.task.digest(), round_number, data)


def signed(given: ReceiptList) -> bytes:
    return sign_receipt_list(COORDINATOR_ACCOUNT, given).canonical()


def refusal(world: VaultWorld, data: bytes, round_number: int = 1) -> Refused:
    with pytest.raises(Refused) as caught:
        reveal(world.open(), request(world, data, round_number))
    return caught.value


def kept(world: VaultWorld) -> list[str]:
    folder = world.config.folder / "answers" / world.task.digest()
    return sorted(path.name for path in folder.iterdir())


def test_the_update_leaves_for_the_list_with_its_receipt_as_often_as_asked(
    world: VaultWorld,
) -> None:
    answer = world.open().answer(world.request())
    assert kept(world) == ["1.receipt", "1.update"]
    data = signed(listed(world, answer.receipt))
    for _ in range(2):
        assert reveal(world.open(), request(world, data)) == answer.update
    assert kept(world) == ["1.receipt", "1.receipts", "1.update"]
    stored = world.open().lists.shown(world.task.digest(), 1)
    assert stored == SignedReceiptList.parse(data)


def test_a_second_list_is_kept_as_evidence_and_refused(world: VaultWorld) -> None:
    answer = world.open().answer(world.request())
    roster = (*world.chain.state.roster, RosterMember(OTHER, world.key.public_key))
    object.__setattr__(world.chain.state, "roster", roster)
    alone = listed(world, answer.receipt)
    entry = ListedReceipt(contributor=OTHER, sha256="ab" * 32)
    both = alone.model_copy(update={"receipts": (*alone.receipts, entry)})
    reveal(world.open(), request(world, signed(alone)))
    error = refusal(world, signed(both))
    assert error.code is Code.OTHER_RECEIPTS
    assert "1.receipts.other" in str(error.hint)
    folder = world.config.folder / "answers" / world.task.digest()
    assert (folder / "1.receipts").read_bytes() == signed(alone)
    assert (folder / "1.receipts.other").read_bytes() == signed(both)
    assert reveal(world.open(), request(world, signed(alone))) == answer.update


def test_a_round_that_was_not_answered_has_nothing_to_hand_out(world: VaultWorld) -> None:
    answer = world.open().answer(world.request())
    error = refusal(world, signed(listed(world, answer.receipt, round=2)), 2)
    assert (error.code, error.message) == (Code.BAD_REQUEST, "round 2 was not answered")


def _without_own(given: ReceiptList) -> ReceiptList:
    return given.model_copy(update={"receipts": ()})


def _other_receipt(given: ReceiptList) -> ReceiptList:
    entry = ListedReceipt(contributor=ACCOUNT, sha256="ab" * 32)
    return given.model_copy(update={"receipts": (entry,)})


def _twice(given: ReceiptList) -> ReceiptList:
    return given.model_copy(update={"receipts": given.receipts * 2})


def _stranger(given: ReceiptList) -> ReceiptList:
    entry = ListedReceipt(contributor=OTHER, sha256="ab" * 32)
    return given.model_copy(update={"receipts": (*given.receipts, entry)})


def _moved(**change: object) -> Callable[[ReceiptList], ReceiptList]:
    return lambda given: given.model_copy(
        update={"position": given.position.model_copy(update=change)}
    )


LISTS = {
    "without its own": (_without_own, Code.OTHER_RECEIPTS),
    "another in its name": (_other_receipt, Code.OTHER_RECEIPTS),
    "itself twice": (_twice, Code.BAD_REQUEST),
    "nobody of the roster": (_stranger, Code.BAD_REQUEST),
    "of another round": (_moved(round=2), Code.BAD_REQUEST),
    "of another chain": (_moved(chain_id=1), Code.BAD_REQUEST),
    "of another contract": (_moved(ledger=OTHER), Code.BAD_REQUEST),
    "of another task": (_moved(task_digest="cd" * 32), Code.BAD_REQUEST),
}


@pytest.mark.parametrize(("change", "code"), LISTS.values(), ids=LISTS)
def test_no_update_leaves_for_another_list(
    world: VaultWorld, change: Callable[[ReceiptList], ReceiptList], code: Code
) -> None:
    answer = world.open().answer(world.request())
    assert refusal(world, signed(change(listed(world, answer.receipt)))).code is code
    assert kept(world) == ["1.receipt", "1.update"]


def test_no_update_leaves_for_a_list_that_the_coordinator_has_not_signed(
    world: VaultWorld,
) -> None:
    given = listed(world, world.open().answer(world.request()).receipt)
    stranger = Account.from_key("0x" + "33" * 32)
    whole = sign_receipt_list(COORDINATOR_ACCOUNT, given)
    forged = [
        sign_receipt_list(stranger, given).canonical(),
        whole.model_copy(update={"signature": "0x"}).canonical(),
        whole.model_copy(update={"signature": "0x" + "11" * 65}).canonical(),
        given.canonical(),
        b"garbage",
        b"",
    ]
    for data in forged:
        assert refusal(world, data).code is Code.BAD_REQUEST
    assert kept(world) == ["1.receipt", "1.update"]


def test_no_update_leaves_where_the_task_does_not_run(world: VaultWorld) -> None:
    data = signed(listed(world, world.open().answer(world.request()).receipt))
    object.__setattr__(world.chain.state, "state", "Aborted")
    assert refusal(world, data).code is Code.NOT_APPROVED


def test_no_update_leaves_before_its_list_is_on_disk(world: VaultWorld) -> None:
    answer = world.open().answer(world.request())
    data = signed(listed(world, answer.receipt))
    path = world.config.folder / "answers" / world.task.digest() / "1.receipts"
    for step in (1, 2, 3):
        vault = world.open()
        with pytest.MonkeyPatch.context() as patch:
            Disk(fails_at=step).install(patch)
            with pytest.raises(Refused) as caught:
                reveal(vault, request(world, data))
        assert caught.value.code is Code.UNAVAILABLE
        assert not path.exists()
    assert reveal(world.open(), request(world, data)) == answer.update


def test_a_damaged_list_hands_nothing_out(world: VaultWorld) -> None:
    data = signed(listed(world, world.open().answer(world.request()).receipt))
    reveal(world.open(), request(world, data))
    path = world.config.folder / "answers" / world.task.digest() / "1.receipts"
    path.write_bytes(data[:-1])
    error = refusal(world, data)
    assert (error.code, str(path) in error.message) == (Code.LEDGER, True)
    path.unlink()
    path.mkdir()
    assert refusal(world, data).code is Code.LEDGER


def commit_round_1(world: VaultWorld, *receipts: Receipt) -> None:
    """Let the chain hold a checkpoint of round 1 whose record counts these receipts."""
    place, state = receipts[0].body.position, blob_ref(b"a model")
    record = RoundRecord(
        kind="covalue.round/1",
        position=place,
        previous_record=world.task.digest(),
        base_model=state,
        receipts=receipts,
        exclusions=(),
        norm_clips=(),
        judgements=(),
        judge_floor_pico=None,
        model=state,
    )
    signed_record = SignedRoundRecord(record=record, signature="0x" + "11" * 65)
    checkpoint = Checkpoint(
        kind="covalue.checkpoint/1",
        chain_id=place.chain_id,
        ledger=place.ledger,
        task_id=place.task_id,
        task_digest=place.task_digest,
        index=0,
        first_round=1,
        last_round=1,
        records=(world.store.put(signed_record.canonical()),),
        record_digests=(record.digest(),),
        model=state,
    )
    world.store.put(checkpoint.canonical())
    world.chain.roots[0] = checkpoint.digest()
    world.chain.state = dataclasses.replace(world.chain.state, last_round=1, checkpoint_count=1)


def test_nothing_more_leaves_once_a_committed_record_differs_from_a_list(
    world: VaultWorld,
) -> None:
    """A quorum that was shown another list commits without this vault: it finds out by itself."""
    own = Receipt.parse(world.open().answer(world.request()).receipt)
    reveal(world.open(), request(world, signed(listed(world, own.canonical()))))
    second = world.open().answer(world.request(2))
    data = signed(listed(world, second.receipt, round=2))

    commit_round_1(world, own)
    assert reveal(world.open(), request(world, data, 2)) == second.update
    body = own.body.model_copy(update={"contributor": OTHER})
    commit_round_1(world, own, own.model_copy(update={"body": body}))
    error = refusal(world, data, 2)
    assert (error.code, f"of {OTHER} the record holds" in error.message) == (Code.MISMATCH, True)
