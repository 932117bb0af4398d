# SPDX-License-Identifier: Apache-2.0
"""The coordinator's one loop, used by both of Flower's runtimes.

Rounds, a checkpoint after every stretch, then scores and the close. Killed anywhere and started
again, it comes to the same records: see `rounds_loop`.
"""

from __future__ import annotations

from flwr.serverapp import Grid

from dao.contracts.task_types import TaskState
from dao.errors import ChainError
from fl_server.checkpoint import checkpoint_bounds, commit_checkpoint
from fl_server.context import CoordinatorContext
from fl_server.finish import finalise_task, finish_task
from fl_server.rounds_loop import TrainingPoint, run_round


def train_task(grid: Grid, context: CoordinatorContext) -> TrainingPoint:
    """Train a running task to its close on chain; the point after its last round.

    ChainError where the task does not run; QuorumError where too few contributors answer.
    """
    state = context.ledger.task_of(context.task_id).state
    if state not in (TaskState.RUNNING, TaskState.REVEALING, TaskState.CLOSED, TaskState.FINALISED):
        raise ChainError(
            f"task {context.task_id} is {state.name.title()}, expected Running",
            hint="post the bond and start it: covalue coordinator run does both once enough "
            "contributors have joined",
        )
    point = TrainingPoint.start(context)
    done = len([each for each in context.journal.entries if each["kind"] == "signed"])
    if done:
        context.tell("resumed", done)
    rounds, length = context.task.total_rounds, context.task.terms.checkpoint_length
    index = 0
    while index * length < rounds:
        first, last = checkpoint_bounds(index=index, length=length, rounds=rounds)
        for _ in range(first, last + 1):
            point = run_round(grid, context, point)
        commit_checkpoint(grid, context, point.published[first - 1 : last], index=index)
        index += 1
    finish_task(grid, context, point)
    finalise_task(context)
    return point
