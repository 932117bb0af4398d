# SPDX-License-Identifier: Apache-2.0
"""What a refusing vault tells its owner: what was wrong, what was expected, what to do; and that
a refusal costs nothing and lets nothing but its code out."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from vault_world import VaultWorld, world

from dao.errors import BudgetError, CovalueError
from fl_client.refusals import Code, code_of
from fl_client.wire import TrainRequest
from privacy.accounting import epsilon_of_mu, mu_of_epsilon

__all__ = ["world"]


def refusal(world: VaultWorld, request: TrainRequest, **limits: Any) -> CovalueError:
    """The refusal of one request, after which the vault's files are what they were."""
    ledger = world.config.folder / "ledger.jsonl"
    before = ledger.read_bytes() if ledger.exists() else b""
    with pytest.raises(CovalueError) as caught:
        world.open(**limits).answer(request)
    assert (ledger.read_bytes() if ledger.exists() else b"") == before
    return caught.value


def test_an_unapproved_task_is_named_with_the_one_that_was_approved(world: VaultWorld) -> None:
    approved = world.task.digest()
    other = world.task.model_copy(update={"title": "Another task"})
    world.store.put(other.canonical())
    request = dataclasses.replace(world.request(), task_digest=other.digest())
    error = refusal(world, request)
    assert code_of(error) is Code.NOT_APPROVED
    assert f"on chain has digest {approved}" in error.message
    assert f"names {other.digest()}" in error.message
    assert "only what the vote approved is trained" in str(error.hint)


def test_a_task_before_its_start_is_named_with_the_state_that_was_expected(
    world: VaultWorld,
) -> None:
    world.chain.state = dataclasses.replace(world.chain.state, state="Open")
    assert "task 7 is Open, expected Running" in refusal(world, world.request()).message


def test_an_exhausted_ledger_says_what_is_charged_what_it_would_be_and_the_limit(
    world: VaultWorld,
) -> None:
    limit = {"lifetime_epsilon_micro": 9_000_000}
    world.open(**limit).answer(world.request())
    world.adopt(world.task.model_copy(update={"title": "The task after it"}))
    error = refusal(world, world.request(), **limit)
    assert isinstance(error, BudgetError)
    # mu^2 of epsilon 8 is 82.4 % of that of epsilon 9, and the rest is that of epsilon 3.25.
    mu_sq_8, mu_sq_9 = (mu_of_epsilon(epsilon, 1e-5) ** 2 for epsilon in (8.0, 9.0))
    assert round(100 * mu_sq_8 / mu_sq_9, 1) == 82.4
    assert epsilon_of_mu(math.sqrt(mu_sq_9 - mu_sq_8), 1e-5) == pytest.approx(3.2466, abs=1e-3)
    for words in ("costs epsilon 7.99", "82.4%", "enough for epsilon 3.246", "limit is 9 (delta"):
        assert words in error.message
    assert "vault.max_epsilon_micro" in str(error.hint)


def test_a_second_base_is_named_with_the_first_and_the_first_reply_stands(
    world: VaultWorld,
) -> None:
    first = world.request(1)
    answer = world.open().answer(first)
    second = dataclasses.replace(world.request(2), round=1)
    error = refusal(world, second)
    assert code_of(error) is Code.OTHER_BASE
    assert "round 1 was answered on base" in error.message
    assert "asked again on" in error.message
    assert "spend privacy twice" in str(error.hint)
    assert world.open().answer(first) == answer
