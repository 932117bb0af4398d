# SPDX-License-Identifier: Apache-2.0
"""Promises 4 and 6 against a coordinator: it asks for another task than the voted one, and it
publishes models beside what the records lead to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dao.cid import blob_ref, of_digest, parse_cid
from dao.contracts.task_types import TaskState
from dao.errors import CovalueError
from dao.records import PrivacyUnit, Task
from dao.settings import load_settings
from demo.devnet import Devnet
from fl_client.opening import open_vault
from fl_client.refusals import Code, Refused
from fl_client.wire import TrainRequest
from fl_server import rounds_loop
from fl_server.asking import QuorumError
from rounds.close import Closed, close_round
from rounds.state import decode_state, encode_state
from tests.federation_town import Town
from tests.playing_town import Played, small_town, town_on

CHANGES: dict[str, Callable[[Task], dict[str, Any]]] = {
    "less noise": lambda task: {
        "policy": task.policy.model_copy(update={"noise_multiplier_micro": 1})
    },
    "a greater clip norm": lambda task: {
        "policy": task.policy.model_copy(
            update={"clip_norm_nano": 1000 * task.policy.clip_norm_nano}
        )
    },
    "more rounds": lambda task: {
        "policy": task.policy.model_copy(update={"rounds": 2 * task.policy.rounds})
    },
    "other features": lambda task: {"features": task.features[:-1]},
    "another unit": lambda task: {"unit": PrivacyUnit(kind="row", column=None, max_rows=9)},
    "another bundle": lambda task: {"bundle_sha256": "cd" * 32},
    "another set-up": lambda task: {
        "model": task.model.model_copy(update={"setup": blob_ref(b"other features")})
    },
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with Devnet() as net:
        yield small_town(tmp_path_factory.mktemp("town"), net)


@pytest.fixture
def town(built: Town, tmp_path: Path) -> Iterator[Town]:
    with town_on(built, tmp_path / "town") as found:
        yield found


@pytest.mark.promise(4)
@pytest.mark.parametrize("change", CHANGES)
def test_promise_4_no_other_task_than_the_voted_one_is_worked_for(town: Town, change: str) -> None:
    vault = open_vault(load_settings(town.vault_settings(0)))
    changed = town.replace_task(**CHANGES[change](town.task))
    town.store.put(changed.canonical())
    base = town.store.get(town.task.model.initial.cid)
    named = TrainRequest(town.task_id, changed.digest(), 1, base)
    with pytest.raises(Refused) as caught:
        vault.answer(named)
    assert caught.value.code is Code.NOT_APPROVED
    # The voted digest is named, and the coordinator's store holds other bytes under it.
    place = town.store.block_path(parse_cid(of_digest(town.task.digest())))
    voted = place.read_bytes()
    place.write_bytes(changed.canonical())
    asked = TrainRequest(town.task_id, town.task.digest(), 1, base)
    with pytest.raises(CovalueError):
        vault.answer(asked)
    assert vault.ledger_state().length == 0, "nothing was computed, nothing charged"
    place.write_bytes(voted)
    assert vault.answer(asked).update


def closing_beside(step: int) -> Callable[..., Closed]:
    """`close_round` on such a machine: some coordinates of each model lie `step` grid steps
    beside what others compute."""

    def close(given: Any, *, recorded: Any = None) -> Closed:
        closed = close_round(given, recorded=recorded)
        state = decode_state(given.task, closed.model)
        state[0, 1::3] += step
        state[0, 2::3] -= step
        model = encode_state(state)
        record = closed.record.model_copy(update={"model": blob_ref(model)})
        return dataclasses.replace(closed, model=model, record=record)

    return close


@pytest.mark.promise(6)
def test_promise_6_a_model_one_step_beside_is_cosigned_and_audited(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds_loop, "close_round", closing_beside(1))
    found = Played(town)
    found.train()
    assert town.dao.ledger.task_of(town.task_id).state is TaskState.CLOSED
    assert found.audit() == ""


@pytest.mark.promise(6)
def test_promise_6_a_model_two_steps_beside_is_signed_by_nobody(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds_loop, "close_round", closing_beside(2))
    with pytest.raises(QuorumError, match="mismatch"):
        Played(town).train()
    assert town.dao.ledger.task_of(town.task_id).checkpoint_count == 0
