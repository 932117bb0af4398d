# SPDX-License-Identifier: Apache-2.0
"""Promises 5 and 7 over a whole small task on a real chain: all that left the vaults, and what an
audit finds when anything is changed afterwards."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from typing import Any

import pytest

import audit.task
from audit.chain_state import TaskOnChain, read_chain
from dao.cid import blob_ref, parse_cid
from dao.contracts.task_types import TaskState
from dao.records import Position, Receipt
from demo.devnet import Devnet
from rounds.phases import event_of, release_of
from tests.federation_town import COORDINATOR, address, bls_key
from tests.playing_town import CONTRIBUTORS, ROUNDS, Played, small_town


@pytest.fixture(scope="module", params=["sum", "wiener"])
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    """The task trained, closed and finalised, by either rule."""
    with Devnet() as net:
        town = small_town(tmp_path_factory.mktemp("town"), net, rule=request.param)
        found = Played(town)
        found.train()
        net.advance(town.task.terms.challenge_seconds + 1)
        town.send(COORDINATOR, town.dao.ledger.finalise(town.task_id))
        yield found


@pytest.mark.promise(5)
def test_promise_5_replies_hold_nothing_that_the_coordinator_does_not_know_but_updates(
    played: Played,
) -> None:
    """Every byte of a reply but the update's follows from public facts and from that update:
    so no count, loss, name or time of the contributor can be in it."""
    task, ledger = played.town.task, played.town.dao.ledger
    keys = {address(10 + place): bls_key(played.town, place) for place in range(CONTRIBUTORS)}
    assert task.total_rounds == ROUNDS + (task.aggregation.rule == "wiener")
    assert task.terms.checkpoint_length == 2
    kinds = {"train": 0, "query.reveal": 0, "query.cosign": 0}
    receipts: dict[tuple[str, int], Receipt] = {}
    for account, message, reply in played.replies:
        assert not reply.has_error()
        assert set(reply.content) == {"covalue"}
        fields: dict[str, Any] = dict(reply.content["covalue"].items())
        asked: dict[str, Any] = dict(message.content["covalue"].items())
        kinds[message.metadata.message_type] += 1
        if message.metadata.message_type == "query.cosign":
            assert set(fields) == {"account", "signature"}
            assert fields["account"] == account
            assert len(fields["signature"]) == 96
            continue
        if message.metadata.message_type == "query.reveal":
            assert set(fields) == {"account", "update"}
            assert fields["account"] == account
            assert len(fields["update"]) == 8 * release_of(task, asked["round"]).length
            assert blob_ref(fields["update"]) == receipts[account, asked["round"]].body.update
            continue
        assert set(fields) == {"receipt"}
        receipt = Receipt.parse(fields["receipt"])
        receipts[account, asked["round"]], body = receipt, receipt.body
        expected = body.model_copy(
            update={
                "position": Position(
                    chain_id=31337,
                    ledger=ledger.address,
                    task_id=played.town.task_id,
                    task_digest=task.digest(),
                    round=asked["round"],
                ),
                "contributor": account,
                "base_model_sha256": blob_ref(asked["base"]).sha256,
                "event": event_of(task, asked["round"], seeded=True),
            }
        )
        signature = "0x" + keys[account].sign(expected.signing_digest()).hex()
        assert fields["receipt"] == Receipt(body=expected, signature=signature).canonical()
    assert kinds == {
        "train": CONTRIBUTORS * task.total_rounds,
        "query.reveal": CONTRIBUTORS * task.total_rounds,
        # every stretch of the task, and the scores
        "query.cosign": CONTRIBUTORS * (-(-task.total_rounds // 2) + 1),
    }


@pytest.mark.promise(5)
def test_promise_5_the_public_store_holds_only_what_chain_and_records_name(played: Played) -> None:
    """The vaults of this town write into the very store that is served to the world."""
    store = played.town.store
    named = {store.block_path(parse_cid(cid)) for cid in played.published()}
    assert {path for path in store.path.rglob("*") if path.is_file()} == named


@pytest.mark.promise(7)
def test_promise_7_the_audit_recomputes_it_all_and_finds_every_flipped_byte(played: Played) -> None:
    assert played.audit() == ""
    chooser = random.Random(7)
    for cid, place in sorted(played.published().items(), key=lambda each: each[1]):
        block = played.town.store.block_path(parse_cid(cid))
        whole = block.read_bytes()
        spoilt = bytearray(whole)
        spoilt[chooser.randrange(len(whole))] ^= chooser.randrange(1, 256)
        block.write_bytes(bytes(spoilt))
        said = played.audit()
        block.write_bytes(whole)
        assert place.split(",")[0] in said, f"{place}: {said or 'passed'}"
    assert played.audit() == ""


@pytest.mark.promise(7)
@pytest.mark.parametrize(
    ("part", "field"),
    [
        ("final", "payout_total_wei"),
        ("final", "payout_root"),
        ("final", "share_root"),
        ("final", "epsilon_micro"),
        ("task", "model_digest"),
        ("", "funded_wei"),
        ("", "payout_root"),
    ],
)
def test_promise_7_a_false_number_on_chain_is_found(
    played: Played, monkeypatch: pytest.MonkeyPatch, part: str, field: str
) -> None:
    """As a quorum of liars could have put it there."""
    true = read_chain(played.town.dao, played.town.task_id)
    assert true.final is not None
    assert true.task.state is TaskState.FINALISED
    holder: Any = getattr(true, part) if part else true
    value = getattr(holder, field)
    other = value + 1 if isinstance(value, int) else value[:-1] + "01"[value[-1] == "0"]
    changed: Any = dataclasses.replace(holder, **{field: other})
    false: TaskOnChain = dataclasses.replace(true, **{part: changed}) if part else changed
    monkeypatch.setattr(audit.task, "read_chain", lambda _dao, _task_id: false)
    assert str(value) in played.audit()
