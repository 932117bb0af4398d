# SPDX-License-Identifier: Apache-2.0
"""A vault and tasks with sampled steps: which filter takes them, and what they charge."""

from __future__ import annotations

import pytest
from vault_world import VaultWorld, world

from dao.errors import RecordError, VaultRefusal
from dao.records import Receipt, Sampling, Task
from fl_client.refusals import Code, code_of
from privacy.accounting import policy_epsilon_micro
from privacy.ledger_entry import LedgerEntry

__all__ = ["world"]


def sampled(task: Task, *, stated_less: int = 0) -> Task:
    """The world's task with four local steps a round, each on half of the units."""
    policy = task.policy.model_copy(
        update={
            "mechanism": "gaussian-poisson",
            "sampling": Sampling(rate_micro=500_000, steps=4, eta_micro=100_000, local_units=80),
        }
    )
    cost = policy_epsilon_micro(policy)
    stated = policy.model_copy(update={"epsilon_micro": cost - stated_less})
    return task.model_copy(update={"policy": stated})


def test_a_renyi_ledger_answers_a_sampled_task_and_charges_it_once(world: VaultWorld) -> None:
    world.adopt(sampled(world.task))
    first = world.open(filter="rdp").answer(world.request(1))
    assert world.open(filter="rdp").answer(world.request(1)) == first
    event = Receipt.parse(first.receipt).body.event
    assert (event.mechanism, event.sampling) == ("gaussian-poisson", world.task.policy.sampling)
    state = world.open(filter="rdp").ledger_state()
    (spending,) = state.tasks.values()
    assert spending.epsilon_micro == world.task.policy.epsilon_micro
    assert spending.spent_nano * world.task.policy.rounds == state.charged_nano
    line = (world.config.folder / "ledger.jsonl").read_bytes().splitlines()[0]
    assert LedgerEntry.parse(line).order == world.open(filter="rdp").limit.order() >= 2


def test_a_gaussian_ledger_refuses_it_before_its_first_round_and_says_why(
    world: VaultWorld,
) -> None:
    full = world.task
    world.adopt(sampled(full))
    with pytest.raises(VaultRefusal, match="Poisson-sampled") as caught:
        world.open().answer(world.request(1))
    assert code_of(caught.value) is Code.POLICY
    assert 'vault.filter = "rdp"' in (caught.value.hint or "")
    assert world.open().ledger_state().length == 0
    world.adopt(full)
    world.open().answer(world.request(1))
    world.adopt(sampled(full))
    with pytest.raises(VaultRefusal, match="kept by the filter 'gdp'"):
        world.open(filter="rdp").answer(world.request(1))


def test_a_sampled_task_that_states_less_than_it_costs_is_refused(world: VaultWorld) -> None:
    world.adopt(sampled(world.task, stated_less=3_000))
    with pytest.raises(VaultRefusal, match="but it costs") as caught:
        world.open(filter="rdp").answer(world.request(1))
    assert code_of(caught.value) is Code.POLICY


def test_a_mechanism_that_does_not_say_that_it_samples_is_refused(world: VaultWorld) -> None:
    policy = sampled(world.task).policy.model_copy(update={"mechanism": "gaussian-full-batch"})
    world.adopt(world.task.model_copy(update={"policy": policy}))
    with pytest.raises(RecordError, match="disagree"):
        world.open(filter="rdp").answer(world.request(1))
