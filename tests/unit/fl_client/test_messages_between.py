# SPDX-License-Identifier: Apache-2.0
"""Messages between coordinator and vault: both sides agree, and nothing else gets in or out."""

import json
import logging
from typing import Any

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, Metadata, RecordDict
from vault_world import ACCOUNT, VaultWorld, world

from dao.errors import BudgetError, ChainError, CovalueError, InputError, StoreError
from fl_client import wire as vault_side
from fl_client.client_app import make_client_app
from fl_client.executor import Executor
from fl_client.flower_runtime import NodeLink, Work
from fl_client.refusals import Code, Refused, code_of
from fl_client.vault import Vault
from fl_server import wire as coordinator_side

__all__ = ["world"]
DIGEST = "ab" * 32


def message(content: RecordDict, kind: str = "train") -> Message:
    metadata = Metadata(
        run_id=1,
        message_id="m",
        src_node_id=1,
        dst_node_id=2,
        reply_to_message_id="",
        group_id="",
        created_at=0.0,
        ttl=1e12,
        message_type=kind,
        src_task_id=None,
        dst_task_id=None,
    )
    return Message(content=content, metadata=metadata)  # type: ignore[call-overload,no-any-return]


def context() -> Context:
    return Context(run_id=1, node_id=2, node_config={}, state=RecordDict(), run_config={})


def test_both_sides_agree_on_requests() -> None:
    sent = coordinator_side.train_content(
        task_id=3, task_digest=DIGEST, round_number=4, base=b"model"
    )
    assert vault_side.read_train_request(sent) == vault_side.TrainRequest(3, DIGEST, 4, b"model")
    sent = coordinator_side.cosign_content(
        task_id=3, task_digest=DIGEST, kind="final", record="cd" * 32
    )
    expected = vault_side.CosignRequest(3, DIGEST, "final", "cd" * 32)
    assert vault_side.read_cosign_request(sent) == expected
    sent = coordinator_side.reveal_content(
        task_id=3, task_digest=DIGEST, round_number=4, receipts=b"list"
    )
    assert vault_side.read_reveal_request(sent) == vault_side.RevealRequest(3, DIGEST, 4, b"list")
    assert coordinator_side.TRAIN == "train"
    assert coordinator_side.REVEAL == "query.reveal"
    assert coordinator_side.COSIGN == "query.cosign"


def test_both_sides_agree_on_answers(world: VaultWorld) -> None:
    answer = world.open().answer(world.request())
    receipt = coordinator_side.read_receipt(message(vault_side.train_content(answer.receipt)))
    assert receipt is not None
    assert receipt.canonical() == answer.receipt
    sent = vault_side.reveal_content(account=ACCOUNT, update=answer.update)
    revealed = coordinator_side.read_update(message(sent))
    assert revealed == coordinator_side.Revealed(ACCOUNT, answer.update)
    cosigned = vault_side.cosign_content(account=ACCOUNT, signature=b"s" * 96)
    back = coordinator_side.read_cosignature(message(cosigned))
    assert back == coordinator_side.Cosignature(ACCOUNT, b"s" * 96)


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"covalue": ConfigRecord({})}),
        RecordDict({"covalue": ArrayRecord()}),
        RecordDict({"other": ConfigRecord({"task_id": 1})}),
    ],
)
def test_foreign_forms_are_bad_requests_and_no_answers(content: RecordDict) -> None:
    for read in (
        vault_side.read_train_request,
        vault_side.read_reveal_request,
        vault_side.read_cosign_request,
    ):
        with pytest.raises(Refused) as caught:
            read(content)
        assert caught.value.code is Code.BAD_REQUEST
    assert coordinator_side.read_receipt(message(content)) is None
    assert coordinator_side.read_update(message(content)) is None
    assert coordinator_side.read_cosignature(message(content)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"task_id": 0},
        {"task_id": "1"},
        {"task_id": True},
        {"round": 0},
        {"task_digest": "AB" * 32},
        {"task_digest": DIGEST + "00"},
        {"base": "text"},
        {"noise_multiplier_micro": 0},
    ],
)
def test_promise_4_a_request_has_no_field_that_could_weaken_the_task(
    change: dict[str, Any],
) -> None:
    fields = {"task_id": 1, "task_digest": DIGEST, "round": 1, "base": b"x"} | change
    with pytest.raises(Refused) as caught:
        vault_side.read_train_request(RecordDict({"covalue": ConfigRecord(fields)}))
    assert caught.value.code is Code.BAD_REQUEST


SECRET = "4711 rows, Mrs Miller, /home/miller/records.csv"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused(Code.POLICY, SECRET), "policy"),
        (BudgetError(SECRET), "budget"),
        (ChainError(SECRET), "unavailable"),
        (StoreError(SECRET), "unavailable"),
        (InputError(SECRET), "data"),
        (CovalueError(SECRET), "internal"),
        (ValueError(SECRET), "internal"),
        (FloatingPointError(SECRET), "internal"),
        (MemoryError(SECRET), "internal"),
    ],
)
def test_promise_5_an_error_leaves_as_a_code_without_its_text(
    world: VaultWorld, error: Exception, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Vault):
        def answer(self, request: vault_side.TrainRequest) -> vault_side.TrainAnswer:
            raise error

    vault = Failing(world.config, key=world.key, store=world.store, chain=world.chain)
    app = make_client_app(lambda _context: vault)
    request = coordinator_side.train_content(
        task_id=7, task_digest=world.task.digest(), round_number=1, base=b""
    )
    with caplog.at_level(logging.WARNING):
        reply = app(message(request), context())
    assert reply.has_error()
    assert reply.error.reason == f"covalue:{code}"
    assert SECRET not in json.dumps(reply.error.__dict__)
    assert SECRET in caplog.text, "the owner's own log says why"
    assert coordinator_side.refusal_code(reply) == code


def test_promise_5_every_code_is_a_plain_word() -> None:
    for code in Code:
        assert code.value.replace("-", "").isalpha()
    assert code_of(KeyError(SECRET)) is Code.INTERNAL


def test_the_app_answers_through_the_vault(world: VaultWorld) -> None:
    vault = world.open()
    app = make_client_app(lambda _context: vault)
    sent = world.request()
    request = coordinator_side.train_content(
        task_id=7, task_digest=sent.task_digest, round_number=1, base=sent.base
    )
    reply = app(message(request), context())
    assert vault_side.train_content(vault.answer(sent).receipt) == reply.content
    assert set(reply.content) == {"covalue"}


@pytest.mark.parametrize("kind", ["evaluate", "query", "query.other", "train.other"])
def test_a_message_of_another_kind_gets_a_bare_code_and_ends_nothing(
    world: VaultWorld, kind: str
) -> None:
    link = NodeLink("127.0.0.1:1", b"secret")
    app = make_client_app(lambda _context: world.open())
    executor = Executor(link, app, bundle_sha256="ab" * 32)
    asked = Work(message(RecordDict(), kind), context(), "ab" * 32)
    assert executor.answer(asked).error.reason == "covalue:internal"
    link.close()
