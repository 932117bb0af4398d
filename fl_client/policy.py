# SPDX-License-Identifier: Apache-2.0
"""The contributor's own limits: what no vote and no coordinator can make the vault do.

A task that the DAO approved is still refused when it breaks one of these. They come from the
contributor's settings and are checked before the ledger is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from dao.records import Task
from fl_client.refusals import Code, Refused
from privacy.accounting import policy_epsilon_micro, states_enough
from privacy.filters import FilterKind, LifetimeLimit


@dataclass(frozen=True)
class PolicyFloor:
    """Limits of one vault. `None` means that the limit is not set."""

    lifetime_epsilon_micro: int
    """What all tasks together may cost at `delta_e12`, forever."""
    delta_e12: int
    """The delta of the lifetime limit; a task's own delta may not be greater."""
    max_task_epsilon_micro: int | None = None
    min_noise_multiplier_micro: int | None = None
    max_clip_norm_nano: int | None = None
    max_rounds: int | None = None
    max_rows_per_unit: int | None = None
    unit_columns: tuple[str, ...] | None = None
    """Privacy units this contributor agrees to, by column (`row` for single rows)."""
    filter: FilterKind = "gdp"
    """How the lifetime limit adds tasks up; the ledger's first entry fixes it for good."""
    allow_seeded_noise: bool = False
    """Noise from a fixed seed protects nothing: for simulations and tests only."""

    @property
    def lifetime_limit(self) -> LifetimeLimit:
        """The limit that the ledger is held against."""
        return LifetimeLimit(
            epsilon_micro=self.lifetime_epsilon_micro, delta_e12=self.delta_e12, filter=self.filter
        )


def check_policy(task: Task, floor: PolicyFloor) -> None:
    """Refused(policy) naming the limit that the task breaks, or the epsilon that it misstates."""
    policy = task.policy
    epsilon_micro = policy_epsilon_micro(policy)
    if not states_enough(policy):
        raise Refused(
            Code.POLICY,
            f"the task says that it costs epsilon {policy.epsilon_micro / 1e6}, but it costs "
            f"{epsilon_micro / 1e6}",
            hint="the task is wrong: tell its proposer, and challenge it",
        )
    _at_most("delta (e-12)", policy.delta_e12, floor.delta_e12)
    _at_most("epsilon (micro)", epsilon_micro, floor.max_task_epsilon_micro)
    _at_most("clip norm (nano)", policy.clip_norm_nano, floor.max_clip_norm_nano)
    _at_most("rounds", task.total_rounds, floor.max_rounds)
    _at_most("rows per unit", task.unit.max_rows, floor.max_rows_per_unit)
    least = floor.min_noise_multiplier_micro
    if least is not None and policy.noise_multiplier_micro < least:
        raise Refused(
            Code.POLICY,
            f"noise multiplier (micro) is {policy.noise_multiplier_micro}, this vault asks for at "
            f"least {least}",
            hint="the limit stands in covalue.toml under [vault]",
        )
    unit = task.unit.column if task.unit.kind == "column" else "row"
    if floor.unit_columns is not None and unit not in floor.unit_columns:
        raise Refused(
            Code.POLICY,
            f"the privacy unit is {unit!r}, this vault agrees to {list(floor.unit_columns)}",
            hint="the limit stands in covalue.toml under [vault]",
        )


def _at_most(name: str, value: int, limit: int | None) -> None:
    if limit is not None and value > limit:
        raise Refused(
            Code.POLICY,
            f"{name} is {value}, this vault allows at most {limit}",
            hint="the limit stands in covalue.toml under [vault]",
        )
