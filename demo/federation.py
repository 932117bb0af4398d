# SPDX-License-Identifier: Apache-2.0
"""A task in Flower's deployment runtime on one machine: the coordinator's SuperLink, and for each
contributor the process that `covalue contributor run` starts, with SuperNode and vault.

Over TLS, with SuperNodes that must show the key of which the registry holds the hash.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dao.cid import of_digest
from dao.contracts.task_types import TaskState
from dao.deployment import Contracts
from dao.errors import CovalueError
from dao.records import Task
from dao.settings import Settings
from dao.store import Store
from demo import supervised
from demo.contributing import SuperLinkPlace
from demo.deployment import admit_nodes, certificates_of, run_task, superlink
from fl_server.context import Progress

STOP_SECONDS = 30.0
"""For a contributor to finish what its vault is doing, and to stop its SuperNode."""
LOG = "run.log"
"""What a contributor's process says, in its home."""

OnProgress = Callable[[Progress], None]


def place_of(coordinator: Settings) -> SuperLinkPlace:
    """Where contributors find the SuperLink of these settings."""
    return SuperLinkPlace(
        address=coordinator.coordinator.superlink_address,
        root_certificate=certificates_of(coordinator).ca,
    )


def federate(
    dao: Contracts,
    store: Store,
    *,
    task_id: int,
    coordinator: Settings,
    home: Path,
    vaults: Sequence[Path],
    tell: Callable[[str], None],
    progress: OnProgress,
) -> None:
    """Train a started task to its close on chain.

    `coordinator` are the settings that lie in `home`; `vaults` are the contributors' settings
    files. `progress` is called from this thread, and opens the sealed parts at `revealing`.
    CovalueError where a process ends before its time. Every process is stopped at the end.
    """
    task = Task.parse(store.get(of_digest(dao.ledger.task_of(task_id).task_digest)))
    address = coordinator.coordinator.superlink_address
    tell(f"SuperLink: starts at {address} with TLS; only SuperNodes of the roster are let in.")
    with superlink(coordinator, settings_folder=home, environment={}) as control:
        missing = admit_nodes(control, dao, store, coordinator, task_id)
        if missing:
            raise CovalueError(f"the store has no SuperNode key of {', '.join(missing)}")
        tell(f"Contributors: {len(vaults)} processes start, each with a SuperNode and its vault.")
        with _contributors(vaults) as running:
            watch = _Watch(dao, task_id, running, progress)
            run_task(
                control,
                coordinator,
                task_id=task_id,
                task_bundle_sha256=task.bundle_sha256,
                on_entry=lambda entry: _tell_entry(entry, task.total_rounds, progress),
                meanwhile=watch.look,
            )
            watch.look()
    tell("Stopped: SuperLink, SuperNodes and vaults.")


@dataclass(frozen=True)
class _Contributor:
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def _contributors(vaults: Sequence[Path]) -> Iterator[tuple[_Contributor, ...]]:
    """One process a vault, for as long as the block runs."""
    packages = str(Path(__file__).resolve().parents[1])
    # settings of whoever runs the demo are not those of its contributors
    environment = {name: value for name, value in os.environ.items() if "COVALUE_" not in name}
    environment |= {"PYTHONPATH": packages, "OMP_NUM_THREADS": "1"}
    running: list[_Contributor] = []
    try:
        for settings in vaults:
            log = settings.parent / LOG
            process = supervised.start(
                [sys.executable, "-m", "cli.main", "contributor", "run"],
                log=log,
                cwd=settings.parent,
                environment=environment,
            )
            running.append(_Contributor(process, log))
        yield tuple(running)
    finally:
        supervised.stop(*(each.process for each in running), seconds=STOP_SECONDS)


@dataclass
class _Watch:
    """Looks at the chain and at the contributors' processes while the coordinator trains."""

    dao: Contracts
    task_id: int
    contributors: tuple[_Contributor, ...]
    progress: OnProgress
    checkpoints: int = 0
    told: set[TaskState] = field(default_factory=set)

    def look(self) -> None:
        """Tell what is new on chain; CovalueError where a contributor's process has ended."""
        for each in self.contributors:
            if each.process.poll() is not None:
                raise CovalueError(
                    f"a contributor's process ended with status {each.process.returncode}",
                    hint=f"see {each.log}",
                )
        task = self.dao.ledger.task_of(self.task_id)
        while self.checkpoints < task.checkpoint_count:
            self.progress(Progress("checkpoint", task.last_round, {"index": self.checkpoints}))
            self.checkpoints += 1
        if task.state in self.told:
            return
        self.told.add(task.state)
        if task.state is TaskState.REVEALING:
            self.progress(
                Progress("revealing", task.last_round, {"deadline": task.reveal_deadline})
            )
        elif task.state is TaskState.CLOSED:
            self.progress(Progress("closed", task.last_round, {}))


def _tell_entry(entry: Mapping[str, object], rounds: int, progress: OnProgress) -> None:
    """What the coordinator's journal says, as the same events that it tells in simulation."""
    number = entry.get("round")
    if not isinstance(number, int):
        return
    if entry["kind"] == "answers" and entry["refusals"]:
        progress(Progress("refused", number, {"refusals": entry["refusals"]}))
    elif entry["kind"] == "signed":
        progress(Progress("round", number, {"rounds": rounds}))
