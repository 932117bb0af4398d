# SPDX-License-Identifier: Apache-2.0
"""What a task costs one privacy unit, told alike before the vote, before joining and after.

The number is always the recomputed one; what the record itself states stands beside it only where
it differs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from dao.calldata import Action
from dao.cid import of_digest
from dao.errors import CovalueError, MissingBlobError
from dao.records import PrivacyPolicy, Task
from dao.store import Store


@dataclass(frozen=True)
class TaskCost:
    """Epsilon (1e-6, rounded up) at the task's delta over all its rounds."""

    title: str
    epsilon_micro: int
    stated_epsilon_micro: int
    delta_e12: int
    training_rounds: int
    total_rounds: int
    """With the survey and the calibration, where the task has them."""

    def as_dict(self) -> dict[str, object]:
        """For --json; `rounds` are all of them."""
        return {
            "title": self.title,
            "epsilon_micro": self.epsilon_micro,
            "stated_epsilon_micro": self.stated_epsilon_micro,
            "delta_e12": self.delta_e12,
            "rounds": self.total_rounds,
            **self.rounds_as_dict(),
        }

    def rounds_as_dict(self) -> dict[str, object]:
        """For --json: both counts, named alike wherever a task's rounds are told."""
        return {"training_rounds": self.training_rounds, "total_rounds": self.total_rounds}

    def line(self) -> str:
        """For people."""
        text = (
            f"costs each privacy unit epsilon {show_epsilon(self.epsilon_micro)} at delta "
            f"{self.delta_e12 / 1e12:g} over all {self.total_rounds} rounds"
        )
        if self.stated_epsilon_micro < self.epsilon_micro:
            stated = show_epsilon(self.stated_epsilon_micro)
            return f"{text}; WARNING: its record states {stated}, and vaults will refuse it"
        return text


def cost_of(task: Task) -> TaskCost:
    """What a task's record amounts to."""
    return policy_cost(task.title, task.policy)


def policy_cost(title: str, policy: PrivacyPolicy) -> TaskCost:
    """What a policy amounts to. TaskError where it cannot be accounted for."""
    from privacy.accounting import policy_epsilon_micro

    histograms = (policy.survey_noise_micro, policy.calibration_noise_micro)
    return TaskCost(
        title=title,
        epsilon_micro=policy_epsilon_micro(policy),
        stated_epsilon_micro=policy.epsilon_micro,
        delta_e12=policy.delta_e12,
        training_rounds=policy.rounds,
        total_rounds=policy.rounds + sum(noise > 0 for noise in histograms),
    )


def read_task(store: Store, digest: str) -> Task:
    """A task's record by its digest, from the store; MissingBlobError says what to do."""
    try:
        task = Task.parse(store.get(of_digest(digest)))
    except MissingBlobError as error:
        raise MissingBlobError(
            f"the record of task {digest} cannot be had, so nobody can say what it costs",
            hint="name the coordinator's store under store.peers in covalue.toml",
        ) from error
    return task


def proposed_costs(store: Store, actions: Iterable[Action]) -> list[dict[str, object]]:
    """For each task that a proposal would open: its digest with its cost, or why there is none."""
    found: list[dict[str, object]] = []
    for action in actions:
        if (action.contract, action.function) != ("TaskLedger", "openTask"):
            continue
        arguments = {item.name: item.raw for item in action.arguments}
        digest = arguments["terms.taskDigest"].removeprefix("0x")
        try:
            cost = cost_of(read_task(store, digest))
            says = f"The task {cost.line()}."
            found.append({"task_digest": digest, **cost.as_dict(), "says": says})
        except CovalueError as error:
            says = f"What the task costs is not known: {error.message}"
            found.append({"task_digest": digest, "epsilon_micro": None, "says": says})
    return found


def show_epsilon(epsilon_micro: int, *, down: bool = False) -> str:
    """Epsilon with three digits after the point, rounded up (or, what is left, down)."""
    thousandths = epsilon_micro // 1000 if down else math.ceil(epsilon_micro / 1000)
    return f"{thousandths / 1000:g}"
