# SPDX-License-Identifier: Apache-2.0
"""The coordinator's own SuperLink process: TLS, authenticated SuperNodes, no `uv sync`.

It runs the ServerApp that is installed here as a subprocess; the bundle's folder holds no code.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from dao.errors import InputError
from fl_server.certificates import Certificates

STOP_SECONDS = 10.0


@dataclass(frozen=True)
class SuperLinkConfig:
    """Where the SuperLink keeps its state and listens."""

    folder: Path
    """Its FLWR_HOME, database and log."""
    settings_folder: Path
    """Where covalue.toml lies: the ServerApp's working directory."""
    host: str
    port: int
    certificates: Certificates


class SuperLink:
    """A running `flower-superlink`. A context manager; leaving it stops the process."""

    def __init__(self, config: SuperLinkConfig, *, environment: Mapping[str, str]) -> None:
        """Start it. `environment` is added to Flower's own settings (COVALUE_* for the ServerApp).

        InputError where the certificates are missing."""
        for path in (config.certificates.ca, config.certificates.certificate):
            if not path.exists():
                raise InputError(
                    f"{path} is missing", hint="make it: covalue coordinator certs --host NAME"
                )
        config.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._home = config.folder
        self._log: IO[bytes] = (config.folder / "superlink.log").open("ab")
        self.process = subprocess.Popen(
            [
                str(Path(sysconfig.get_path("scripts")) / "flower-superlink"),
                "--ssl-ca-certfile",
                str(config.certificates.ca),
                "--ssl-certfile",
                str(config.certificates.certificate),
                "--ssl-keyfile",
                str(config.certificates.key),
                "--enable-supernode-auth",
                "--disable-runtime-dependency-installation",
                "--database",
                str(config.folder / "superlink.db"),
                "--host",
                config.host,
                "--port",
                str(config.port),
            ],
            env=flower_environment(config.folder) | dict(environment),
            cwd=config.settings_folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Ask it to end, and make it; then whatever it has started ends too."""
        try:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()
            for pid in processes_of(self._home):
                with suppress(ProcessLookupError):  # it ended by itself
                    os.kill(pid, signal.SIGKILL)
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def processes_of(home: Path) -> list[int]:
    """Processes with this FLWR_HOME: what a SuperLink started outlives it for seconds, since each
    is detached and looks for its parent by itself. None are found where there is no /proc."""
    marker = f"FLWR_HOME={home / 'flwr'}".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = place.read_bytes().split(b"\0")
        except OSError:
            continue  # it ended just now, or is another user's
        if marker in variables:
            found.append(int(place.parent.name))
    return found


def flower_environment(home: Path) -> dict[str, str]:
    """What a Flower process needs, and nothing else of this process's environment.

    No telemetry, no update check, its own FLWR_HOME; this installation's scripts and packages
    come first, so that the processes that Flower starts find the same ones.
    """
    packages = str(Path(__file__).resolve().parents[1])
    scripts = sysconfig.get_path("scripts")
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {
        "PATH": os.pathsep.join([scripts, str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        "PYTHONPATH": packages,
        "FLWR_HOME": str(home / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "OMP_NUM_THREADS": "1",
    }
