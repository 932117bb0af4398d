# SPDX-License-Identifier: Apache-2.0
"""The coordinator's loop and the vaults' co-signatures over a real chain, in one process: what a
crash, a liar, a silent node or a missing quorum does."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from dao.chain import Chain
from dao.cid import of_digest
from dao.contracts.task_types import TaskState
from dao.records import Receipt, ScoreReport, SeedBlock
from dao.seed_blocks import seed_blocks
from fl_server.asking import QuorumError
from fl_server.context import Progress
from fl_server.coordinate import train_task
from fl_server.finish import finalise_task
from fl_server.journal import read_entries
from tests.federation_town import Town, address
from tests.integration.vault_loop import Loop, built, loop, loop_on

__all__ = ["built", "loop"]


class Killed(BaseException):
    """The process dies here."""


@pytest.fixture(scope="module")
def undisturbed(built: Town, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Digests of the records of a run that nothing disturbs."""
    with loop_on(built, tmp_path_factory.mktemp("undisturbed") / "town") as loop:
        loop.train()
        assert loop.state is TaskState.CLOSED
        kinds = [each.kind for each in loop.told]
        assert kinds.count("round") == 4
        assert kinds.count("checkpoint") == 2
        assert kinds[-1] == "closed"
        return [each.record.digest() for each in loop.records()]


def test_a_task_runs_to_its_close_and_is_paid_out(loop: Loop) -> None:
    loop.train()
    town, ledger = loop.town, loop.town.dao.ledger
    final = ledger.final_of(town.task_id)
    report = ScoreReport.parse(town.store.get(of_digest(final.score_digest)))
    assert report.judged_on == "sealed-rows"
    assert final.payout_total_wei == sum(each.payout_wei for each in report.results)
    assert final.payout_total_wei <= town.task.terms.budget_wei
    context = loop.context()
    assert not finalise_task(context)
    town.net.advance(town.task.terms.challenge_seconds + 1)
    assert finalise_task(context)
    context.journal.close()
    funded, paid = town.dao.distributor.funded_of(town.task_id)
    assert (funded, paid) == (final.payout_total_wei, 0)


def _kill_after(loop: Loop, kind: str, count: int) -> None:
    """Run until the journal gets its `count`-th entry of a kind, and die there."""
    from fl_server.journal import Journal

    context = loop.context()
    real = Journal.append

    def append(journal: Journal, entry_kind: str, **fields: Any) -> None:
        real(journal, entry_kind, **fields)
        found = [each for each in journal.entries if each["kind"] == kind]
        if entry_kind == kind and len(found) == count:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", append)
        with pytest.raises(Killed):
            train_task(loop.grid, context)
    context.journal.close()
    loop.vaults.clear()


@pytest.mark.parametrize(
    ("kind", "count"), [("answers", 1), ("signed", 1), ("answers", 3), ("signed", 4), ("report", 1)]
)
def test_promise_13_killed_anywhere_it_resumes_to_the_same_records(
    loop: Loop, undisturbed: list[str], kind: str, count: int
) -> None:
    _kill_after(loop, kind, count)
    loop.train()
    assert loop.state is TaskState.CLOSED
    assert [each.record.digest() for each in loop.records()] == undisturbed
    signed = [entry["digest"] for entry in read_entries(loop.journal) if entry["kind"] == "signed"]
    assert signed == undisturbed, "no round is signed twice"


def test_promise_13_killed_after_a_commit_it_is_not_committed_twice(
    loop: Loop, undisturbed: list[str]
) -> None:
    context = loop.context()
    progress = context.progress

    def die_after_commit(each: Progress) -> None:
        progress(each)
        if each.kind == "checkpoint":
            raise Killed

    context = dataclasses.replace(context, progress=die_after_commit)
    with pytest.raises(Killed):
        train_task(loop.grid, context)
    context.journal.close()
    assert loop.town.dao.ledger.task_of(loop.town.task_id).checkpoint_count == 1
    loop.train()
    assert [each.record.digest() for each in loop.records()] == undisturbed


def test_a_silent_contributor_is_excluded_as_missing_and_training_goes_on(loop: Loop) -> None:
    loop.grid.silent = {4}
    loop.train()
    records = loop.records()
    assert len(records) == 4
    for each in records:
        assert [found.reason for found in each.record.exclusions] == ["missing"]
        assert each.record.exclusions[0].contributor == address(13)
        assert len(each.record.receipts) == 3


def _change_answer(
    message: Message, reply: Message, change: Callable[[dict[str, Any]], None]
) -> Message:
    fields = dict(reply.content["covalue"].items())
    change(fields)
    return Message(RecordDict({"covalue": ConfigRecord(fields)}), reply_to=message)


def test_a_forged_receipt_is_nobodys_answer(loop: Loop) -> None:
    """Listed, it would stand in for one that a quorum needs."""

    def tamper(node: int, message: Message, reply: Message) -> Message:
        if node != 2 or message.metadata.message_type != "train":
            return reply

        def forge(fields: dict[str, Any]) -> None:
            receipt = Receipt.parse(fields["receipt"])
            other = "0x" + "c0" + receipt.signature[4:]
            fields["receipt"] = receipt.model_copy(update={"signature": other}).canonical()

        return _change_answer(message, reply, forge)

    loop.grid.tamper = tamper
    loop.train()
    for each in loop.records():
        assert [(e.contributor, e.reason) for e in each.record.exclusions] == [
            (address(11), "missing")
        ]
        assert each.record.exclusions[0].receipt is None
        assert len(each.record.receipts) == 3


def test_whose_receipt_cannot_count_is_not_waited_for(loop: Loop) -> None:
    """Whatever is asked of it after the list, it does not answer; the round does not wait."""
    calls: list[str] = []

    def tamper(node: int, message: Message, reply: Message) -> Message | None:
        if node != 2:
            return reply
        calls.append(message.metadata.message_type)
        if message.metadata.message_type != "train":
            return None

        def elsewhere(fields: dict[str, Any]) -> None:
            receipt = Receipt.parse(fields["receipt"])
            body = receipt.body.model_copy(update={"base_model_sha256": "ab" * 32})
            signature = "0x" + loop.vaults[1].sign(body.signing_digest()).hex()
            fields["receipt"] = Receipt(body=body, signature=signature).canonical()

        return _change_answer(message, reply, elsewhere)

    loop.grid.tamper = tamper
    loop.train()
    assert "query.reveal" not in calls
    for each in loop.records():
        reasons = [(e.contributor, e.reason) for e in each.record.exclusions]
        assert reasons == [(address(11), "wrong-base")]


def test_promise_7_below_the_quorum_nothing_is_committed(loop: Loop) -> None:
    loop.grid.tamper = lambda node, message, reply: (
        None if node > 2 and message.metadata.message_type == "query.cosign" else reply
    )
    with pytest.raises(QuorumError, match="2 of 4"):
        loop.train()
    task = loop.town.dao.ledger.task_of(loop.town.task_id)
    assert (task.checkpoint_count, task.last_round) == (0, 0)
    loop.grid.tamper = None
    loop.train()
    assert loop.state is TaskState.CLOSED


def test_a_vault_does_not_sign_what_does_not_replay(loop: Loop) -> None:
    """The coordinator publishes a model that the records do not lead to."""
    from fl_server import rounds_loop
    from rounds.close import Closed, close_round

    def lying(*args: Any, **kwargs: Any) -> Closed:
        closed = close_round(*args, **kwargs)
        model = bytearray(closed.model)
        model[1] ^= 0xFF
        from dao.cid import blob_ref

        record = closed.record.model_copy(update={"model": blob_ref(bytes(model))})
        return dataclasses.replace(closed, model=bytes(model), record=record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds_loop, "close_round", lying)
        with pytest.raises(QuorumError, match="mismatch"):
            loop.train()
    assert loop.town.dao.ledger.task_of(loop.town.task_id).checkpoint_count == 0


def test_a_vault_does_not_sign_false_payouts(loop: Loop) -> None:
    from fl_server import finish
    from rounds.report import make_report

    def generous(given: Any) -> ScoreReport:
        report = make_report(given)
        first = report.results[0]
        raised = first.model_copy(update={"payout_wei": first.payout_wei + 1})
        return report.model_copy(update={"results": (raised, *report.results[1:])})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "make_report", generous)
        with pytest.raises(QuorumError, match="mismatch"):
            loop.train()
    assert loop.state is TaskState.REVEALING


def test_a_vault_does_not_sign_a_result_that_draws_from_another_block(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever else follows from it: one block later, with its true hash."""
    from fl_server import finish

    def chosen(ledger: Any, task_id: int, **given: Any) -> tuple[SeedBlock, ...]:
        first, *others = seed_blocks(ledger, task_id, **given)
        found = ledger.chain.request("eth_getBlockByNumber", hex(first.number + 1), False)
        return (SeedBlock(number=first.number + 1, hash=found["hash"][2:]), *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "seed_blocks", chosen)
        with pytest.raises(QuorumError, match="mismatch"):
            loop.train()
    assert loop.state is TaskState.REVEALING
    assert "stretches[0].seed.number" in caplog.text


def test_a_vault_does_not_sign_a_hash_that_its_own_chain_does_not_have(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    from fl_server import finish

    def ground(*given: Any, **named: Any) -> tuple[SeedBlock, ...]:
        *others, last = seed_blocks(*given, **named)
        return (*others, last.model_copy(update={"hash": "12" * 32}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "seed_blocks", ground)
        with pytest.raises(QuorumError, match="mismatch"):
            loop.train()
    assert loop.state is TaskState.REVEALING
    assert "stretches[1].seed.hash" in caplog.text


def test_a_vault_signs_no_result_before_its_own_chain_calls_the_seed_block_final(
    loop: Loop,
) -> None:
    from fl_client import approval

    def behind(chain: Chain) -> int:
        committed = loop.town.dao.ledger.checkpoint_blocks(loop.town.task_id, from_block=0)
        return max(committed.values())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(approval, "final_block", behind)
        with pytest.raises(QuorumError, match="unavailable"):
            loop.train()
    assert loop.state is TaskState.REVEALING


def test_without_any_other_transaction_the_coordinator_prompts_a_devnets_next_block(
    loop: Loop,
) -> None:
    """Where nothing happens after the last commitment, and no part is awaited."""
    from fl_server import finish

    town = loop.town
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "_await_parts", lambda context: None)
        patch.setattr(
            finish, "collect_signatures", lambda *given, **named: (_ for _ in ()).throw(Killed)
        )
        with pytest.raises(Killed):
            loop.train()
    assert [each.kind for each in loop.told if each.kind in ("seeding", "scored")] == [
        "seeding",
        "scored",
    ]
    committed = town.dao.ledger.checkpoint_blocks(town.task_id, from_block=0)
    assert town.net.chain.block().number == max(committed.values()) + 1


def test_a_second_version_of_signed_rounds_is_not_signed(loop: Loop) -> None:
    """A vault that replayed one history refuses another one for the same rounds."""
    loop.grid.tamper = lambda node, message, reply: (
        None if message.metadata.message_type == "query.cosign" else reply
    )
    with pytest.raises(QuorumError):
        loop.train()
    shutil.rmtree(loop.journal.parent)
    loop.grid.tamper = lambda node, message, reply: (
        None if node == 4 and message.metadata.group_id == "updates of round 2" else reply
    )
    with pytest.raises(QuorumError):
        loop.train()
    assert set(loop.told[-1].detail["refusals"].values()) == {"mismatch"}


def test_nodes_of_others_are_not_asked_in_an_authenticated_federation(loop: Loop) -> None:
    """Only SuperNodes whose key stands in the registry get messages; and a node answers for its
    own contributor only."""
    from fl_client.node_key import public_pem
    from fl_server.opening import read_node_owners

    keys = {
        place + 1: public_pem(loop.town.vault_settings(place).parent / "vault" / "node.pub")
        for place in range(4)
    }
    loop.grid.public_keys = keys
    loop.grid.nodes = [1, 2, 3, 4, 5]
    context = loop.context()
    owners = read_node_owners(loop.town.dao, context.roster)
    assert set(owners.values()) == {address(10 + place) for place in range(4)}
    context.journal.close()
    loop.train(node_owners=owners)
    assert {node for node, _, _ in loop.grid.asked} == {1, 2, 3, 4}
    assert loop.state is TaskState.CLOSED


def test_too_few_answers_fix_nothing(loop: Loop) -> None:
    loop.grid.silent = {3, 4}
    with pytest.raises(QuorumError, match="2 of 4 answered round 1"):
        loop.train()
    assert [entry["kind"] for entry in read_entries(loop.journal)] == ["header"]
    loop.grid.silent = set()
    loop.train()
    assert loop.state is TaskState.CLOSED


def test_a_refusing_vault_is_reported_by_code_only(loop: Loop) -> None:
    (loop.town.vault_settings(1).parent / "vault" / "records.csv").unlink()
    loop.train()
    codes = [
        entry["refusals"] for entry in read_entries(loop.journal) if entry["kind"] == "answers"
    ]
    assert codes[0] == {"node 2": "data"}
    assert "records.csv" not in json.dumps(read_entries(loop.journal))
