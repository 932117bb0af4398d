# SPDX-License-Identifier: Apache-2.0
"""The installed Flower ServerApp. In deployment the bundle names `app`, which reads the settings of
this machine and the task id of the run config; in simulation `make_server_app` is given a context.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from dao.errors import InputError
from dao.settings import load_settings
from fl_server.context import CoordinatorContext, Progress
from fl_server.coordinate import train_task
from fl_server.opening import open_context

Log = logging.getLogger("covalue.coordinator")


def make_server_app(open_for: Callable[[Context], CoordinatorContext]) -> ServerApp:
    """A ServerApp that trains the task of the context it opens."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        coordinator = open_for(context)
        try:
            train_task(grid, coordinator)
        finally:
            coordinator.journal.close()

    return app


def _installed_context(context: Context) -> CoordinatorContext:
    task_id = context.run_config.get("task-id")
    if not isinstance(task_id, int) or task_id < 1:
        raise InputError(
            f"run config task-id is {task_id!r}, expected the id of a task on chain",
            hint="covalue coordinator run TASK starts the run",
        )
    return open_context(
        load_settings(None), task_id=task_id, progress=_log_progress, authenticated=True
    )


def _log_progress(progress: Progress) -> None:
    Log.info("%s %s %s", progress.kind, progress.round, dict(progress.detail))


app = make_server_app(_installed_context)
"""What the bundle names."""
