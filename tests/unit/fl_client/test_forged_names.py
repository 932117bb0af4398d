# SPDX-License-Identifier: Apache-2.0
"""A receipt that somebody forged in the name of a vault that was never asked."""

import pytest
from vault_world import ACCOUNT, VaultWorld, world

from dao.cid import blob_ref
from dao.records import Exclusion, Receipt, RoundRecord
from fl_client.own_answers import OwnAnswers
from fl_client.refusals import Code, Refused

__all__ = ["world"]


def test_a_round_that_was_not_asked_holds_no_receipt_in_its_name(world: VaultWorld) -> None:
    """An excluded answer counts for the quorum of a round: forged, it would stand in for one."""
    vault = world.open()
    sent = Receipt.parse(vault.answer(world.request()).receipt)
    place = sent.body.position.model_copy(update={"round": 2})
    body = sent.body.model_copy(update={"position": place})
    forged = Exclusion(
        contributor=ACCOUNT,
        reason="bad-signature",
        detail="not signed by this contributor's registered key",
        receipt=Receipt(body=body, signature="0x" + "11" * 96),
    )
    state = blob_ref(b"a model")
    record = RoundRecord(
        kind="covalue.round/1",
        position=place,
        previous_record=world.task.digest(),
        base_model=state,
        receipts=(),
        exclusions=(forged,),
        norm_clips=(),
        judgements=(),
        judge_floor_pico=None,
        model=state,
    )
    own = OwnAnswers(vault, world.task.digest())
    with pytest.raises(Refused, match="round 2 holds a receipt in this vault's name") as caught:
        own.check_receipts([record])
    assert caught.value.code is Code.MISMATCH
    silent = forged.model_copy(update={"reason": "missing", "detail": "", "receipt": None})
    own.check_receipts([record.model_copy(update={"exclusions": (silent,)})])
