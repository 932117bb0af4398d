# SPDX-License-Identifier: Apache-2.0
"""One contributor signs a receipt whose link leads nowhere: it is excluded, and stops nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dao.cid import of_digest
from dao.contracts.task_types import TaskState
from dao.records import ReceiptBody
from demo.devnet import Devnet
from fl_client import vault
from tests.federation_town import address
from tests.playing_town import Played, small_town


@pytest.mark.parametrize("cid", [of_digest("cd" * 32), "b" + "a" * 30])
def test_a_receipt_with_a_false_link_is_excluded_and_the_task_goes_on(
    tmp_path: Path, cid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar = address(11)

    def body(**fields: Any) -> ReceiptBody:
        if fields["contributor"] == liar:
            fields["update"] = fields["update"].model_copy(update={"cid": cid})
        return ReceiptBody(**fields)

    monkeypatch.setattr(vault, "ReceiptBody", body)
    with Devnet() as net:
        found = Played(small_town(tmp_path, net))
        found.train()
        ledger, task_id = found.town.dao.ledger, found.town.task_id
        assert ledger.task_of(task_id).state is TaskState.CLOSED
        for signed in found.records():
            reasons = {each.contributor: each.reason for each in signed.record.exclusions}
            assert reasons == {liar: "missing"}
        assert found.audit() == ""
