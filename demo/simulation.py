# SPDX-License-Identifier: Apache-2.0
"""A task in Flower's simulation runtime: the coordinator's ServerApp and the contributors'
ClientApp in one process tree, over the same vault folders, chain and store as in deployment.

Ray runs the ClientApp in two actor processes; each opens a contributor's vault when a message for
it arrives and keeps it open. Locks and ledgers on disk make that safe.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from eth_account.signers.local import LocalAccount
from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from dao.settings import Settings, load_settings
from dao.store import Store
from fl_client.client_app import make_client_app
from fl_client.opening import open_vault
from fl_client.vault import Vault
from fl_server.context import CoordinatorContext, Progress
from fl_server.opening import open_context
from fl_server.server_app import make_server_app

POLL_SECONDS = 0.2
STOP_SECONDS = 30.0
"""For Flower's runtime and Ray to end once a simulation is given up."""
OBJECT_STORE_BYTES = 80_000_000
"""Ray's smallest comfortable shared memory; messages are small."""
ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_MEMORY_MONITOR": "1",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
    "RAY_worker_niceness": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""What Flower and Ray read at their start: no telemetry, one thread for arithmetic, no stack at a
SIGTERM, and vaults that do not yield (Ray's 15) to whatever else runs on a newcomer's machine."""

_vaults: dict[str, Vault] = {}
"""Open vaults of this process (an actor), by settings file."""
_replayed: dict[str, object] = {}
"""What the vaults of this process have replayed from published bytes: once an actor, not once a
vault. Each vault still looks for its own receipts before it co-signs."""


def simulate(
    *,
    task_id: int,
    vaults: Sequence[Path],
    coordinator: Settings,
    account: LocalAccount | None = None,
    store: Store | None = None,
    progress: Callable[[Progress], None],
    actors: int = 2,
) -> None:
    """Train a started task to its close on chain.

    `vaults` are the contributors' settings files (covalue.toml), one a simulated SuperNode;
    `coordinator` are the coordinator's settings, of which `account` and `store` may take the place
    of keystore and store. `progress` is called from the ServerApp's thread and may send
    transactions itself (it opens the sealed parts at `revealing`). Raises what the coordinator
    raised.
    """
    files = tuple(str(Path(path).resolve()) for path in vaults)
    opened: list[CoordinatorContext] = []

    def open_for(_context: Context) -> CoordinatorContext:
        opened.append(
            open_context(
                coordinator,
                task_id=task_id,
                progress=progress,
                authenticated=False,
                account=account,
                store=store,
            )
        )
        return opened[0]

    run_flower(
        make_server_app(open_for), simulated_client_app(files), nodes=len(files), actors=actors
    )


def run_flower(server_app: ServerApp, client_app: ClientApp, *, nodes: int, actors: int) -> None:
    """Run the two apps in Flower's simulation runtime until the ServerApp ends, and raise what it
    raised. Ray is shut down at the end, also where the main thread is interrupted: then the
    ServerApp ends at its next message."""
    with _environment(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from flwr.simulation import run_simulation

        logging.getLogger("flwr").setLevel(logging.ERROR)
        given_up = threading.Event()

        def run() -> None:
            run_simulation(
                server_app=_until(given_up, server_app),
                client_app=client_app,
                num_supernodes=nodes,
                backend_config={
                    "client_resources": {"num_cpus": 1.0, "num_gpus": 0.0},
                    "init_args": {
                        "num_cpus": actors,
                        "num_gpus": 0,
                        "object_store_memory": OBJECT_STORE_BYTES,
                        "logging_level": logging.ERROR,
                        "log_to_driver": False,
                        "include_dashboard": False,
                    },
                },
            )

        _run_beside(run, given_up)


def _run_beside(run: Callable[[], None], given_up: threading.Event) -> None:
    """Run Flower's runtime in a thread of its own and raise what it raised. Interrupted, the
    runtime is ended in order first.

    In the main thread it would put Ray's handlers in place of ours, and wait for its own workers
    for ever once it is interrupted.
    """
    raised: list[BaseException] = []
    # an event: in Python 3.11 a thread whose join was interrupted passes for ended
    ended = threading.Event()

    def guarded() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            raised.append(error)
        finally:
            ended.set()

    threading.Thread(target=guarded, name="simulation", daemon=True).start()
    try:
        while not ended.wait(POLL_SECONDS):
            continue
    except BaseException:
        # what breaks off now, breaks off because of us
        for name in ("flwr", "ray"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        given_up.set()
        ended.wait(STOP_SECONDS)
        raise
    if raised:
        raise raised[0]


class GivenUp(Exception):
    """The simulation was interrupted while its coordinator was at work."""


class _Leaving:
    """A Grid until it is given up; then whatever is asked of it raises GivenUp."""

    def __init__(self, grid: Grid, given_up: threading.Event) -> None:
        self._grid, self._given_up = grid, given_up

    def __getattr__(self, name: str) -> Any:
        if self._given_up.is_set():
            raise GivenUp(name)
        return getattr(self._grid, name)


def _until(given_up: threading.Event, app: ServerApp) -> ServerApp:
    """The same ServerApp, which ends at its next message once it is given up: Flower stops its
    runtime, and with it Ray, when the ServerApp has ended."""
    wrapped = ServerApp()

    @wrapped.main()
    def main(grid: Grid, context: Context) -> None:
        app(cast(Grid, _Leaving(grid, given_up)), context)

    return wrapped


@contextmanager
def _environment() -> Iterator[None]:
    """Flower's and Ray's variables for a while: Flower sets PYTHONPATH too, for its workers."""
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def simulated_client_app(files: tuple[str, ...]) -> ClientApp:
    """The installed ClientApp over many vaults: a node's partition id says which."""

    def vault_of(context: Context) -> Vault:
        return open_once(files[int(context.node_config["partition-id"])])

    return make_client_app(vault_of)


def open_once(file: str) -> Vault:
    """The vault of a settings file, opened once in this process."""
    if file not in _vaults:
        _vaults[file] = open_vault(load_settings(Path(file)), replayed=_replayed)
    return _vaults[file]
