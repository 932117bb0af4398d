# SPDX-License-Identifier: Apache-2.0
"""A task at one setting, with its public set-up."""

from __future__ import annotations

from dataclasses import dataclass

from dao.records import Task
from dao.store import MemoryStore
from demo.forecast_settings import Setting, taskfile_at
from fl_client.bundle import bundle_sha256
from privacy import accounting
from valuation.build import build_task
from valuation.family import Family
from valuation.loading import load_family
from valuation.public_fit import PublicFit
from valuation.taskfile import TaskFile


@dataclass(frozen=True)
class BuiltTask:
    """A task at a setting; `initial` are the bytes of its initial model state."""

    setting: Setting
    task: Task
    family: Family
    initial: bytes


def build_at(
    taskfile: TaskFile, public_csv: bytes | None, setting: Setting, *, fits: PublicFit
) -> BuiltTask:
    """Build the task as it would be proposed with these numbers; `fits` are kept from setting to
    setting.

    Raises:
        TaskError, InputError: as `valuation.build.build_task`.
    """
    store = MemoryStore()
    task = build_task(
        taskfile_at(taskfile, setting),
        public_csv,
        store.put,
        bundle_sha256=bundle_sha256(),
        accounting=accounting,
        fits=fits,
    )
    return BuiltTask(
        setting=setting,
        task=task,
        family=load_family(task, store.get(task.model.setup.cid)),
        initial=store.get(task.model.initial.cid),
    )
