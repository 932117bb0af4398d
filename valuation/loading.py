# SPDX-License-Identifier: Apache-2.0
"""From a task's set-up blob to its model family."""

from __future__ import annotations

from dao.errors import RecordError
from dao.records import Task
from valuation.family import Family
from valuation.kernel import KernelFamily
from valuation.mlp import MlpFamily


def load_family(task: Task, setup: bytes) -> Family:
    """The family that the task names, from the bytes of `task.model.setup`.

    Raises:
        RecordError: the bytes are not a set-up of that family for that schema.
    """
    family: Family
    if task.model.family == "kernel":
        family = KernelFamily.load(task, setup)
    else:
        family = MlpFamily.load(
            task, setup, hidden=task.model.hidden, public=task.public_rows is not None
        )
    if family.parameters != task.model.parameters:
        raise RecordError(
            f"set-up: the model has {family.parameters} parameters, the task says "
            f"{task.model.parameters}"
        )
    cells = family.survey_cells if isinstance(family, KernelFamily) else 0
    if cells != task.aggregation.survey_cells:
        raise RecordError(
            f"set-up: the survey has {cells} cells, the task says {task.aggregation.survey_cells}"
        )
    return family
