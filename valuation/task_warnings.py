# SPDX-License-Identifier: Apache-2.0
"""What the voters of a task should know although it can be built."""

from __future__ import annotations

from valuation.blueprint import Blueprint
from valuation.draft_places import too_wide_remark
from valuation.schema import from_micro, location_of
from valuation.silent_columns import silent_columns
from valuation.taskfile import ZERO_ACCOUNT

_EPSILON_WARNING = 10.0


def task_warnings(plan: Blueprint) -> list[str]:
    """A line each."""
    taskfile, policy = plan.taskfile, plan.policy
    found: list[str] = []
    if policy.delta_e12 * policy.public_n >= 10**12:
        found.append(
            f"delta {policy.delta_e12 * 1e-12:g} is not below 1/N = {1 / policy.public_n:g}: such "
            "a delta allows to publish a whole record; take one well below it"
        )
    if policy.epsilon_micro > _EPSILON_WARNING * 1e6:
        found.append(f"epsilon {policy.epsilon_micro * 1e-6:.3g} protects a unit hardly at all")
    if taskfile.model.family == "kernel" and policy.rounds < 16:
        found.append(f"{policy.rounds} rounds: below 16 the kernel family loses accuracy")
    if taskfile.model.family == "mlp" and policy.rounds < 100:
        found.append(f"{policy.rounds} rounds: below 100 the mlp family loses accuracy")
    if taskfile.terms.coordinator == ZERO_ACCOUNT:
        found.append("terms.coordinator is the zero account: nobody could run the task")
    if taskfile.calibration is not None and plan.calibration is None:
        found.append(
            f"{policy.public_n} units with so much noise are too few to calibrate intervals: there "
            "will be one width for all, from the rows that judge, and no confidence"
        )
    if len(taskfile.part) < 2:
        instead = (
            "the public rows may decide the payouts"
            if plan.public is not None
            else "and no public rows nothing may judge updates, and then nobody is paid"
        )
        found.append(
            f"{len(taskfile.part)} sealed validation parts; with fewer than two holders {instead}"
        )
    if len({part.holder.lower() for part in taskfile.part}) < len(taskfile.part):
        found.append("one account holds two sealed parts")
    if any(part.holder.lower() == taskfile.terms.coordinator.lower() for part in taskfile.part):
        found.append("the coordinator holds a sealed part: it must not")
    place = location_of(plan.schema.features)
    if place is not None:
        west, east = from_micro(place.west_micro), from_micro(place.east_micro)
        found += filter(None, [too_wide_remark(place, west=west, east=east)])
    check = plan.check
    if check is not None and not bool(check.accepted.all()):
        found.append(
            f"{int((~check.accepted).sum())} public rows break the schema and do not count"
        )
    if check is not None and check.duplicates:
        found.append(f"{check.duplicates} public rows equal an earlier one")
    if plan.usable is not None:
        found += silent_columns(plan.schema, plan.usable, family=taskfile.model.family)
    return found
