# SPDX-License-Identifier: Apache-2.0
"""The contributor's SuperNode process, run so that it starts nothing: `--isolation process`.

The vault's executor takes the messages from its Runtime API on the loopback interface; a fresh
shared secret for each start keeps other users of the machine from taking them.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

STOP_SECONDS = 10.0


@dataclass(frozen=True)
class SuperNodeConfig:
    """Where the SuperNode connects and keeps its things."""

    folder: Path
    superlink: str
    """host:port of the coordinator's SuperLink."""
    root_certificate: Path
    """The coordinator's ca.crt."""
    key: Path
    """This node's private key (`node_key.create_node_key`)."""
    port: int
    """Port of its own Runtime API on 127.0.0.1; unique on this machine."""


class SuperNode:
    """A running `flower-supernode`. A context manager; leaving it stops the process."""

    def __init__(self, config: SuperNodeConfig) -> None:
        """Start it with a new secret for the executor."""
        config.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.secret = secrets.token_bytes(32)
        secret_file = config.folder / "executor.secret"
        descriptor = os.open(secret_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self.secret)
        self.address = f"127.0.0.1:{config.port}"
        self._log: IO[bytes] = (config.folder / "supernode.log").open("ab")
        self.process = subprocess.Popen(
            [
                str(Path(sysconfig.get_path("scripts")) / "flower-supernode"),
                "--superlink",
                config.superlink,
                "--root-certificates",
                str(config.root_certificate),
                "--auth-supernode-private-key",
                str(config.key),
                "--isolation",
                "process",
                "--superexec-auth-secret-file",
                str(secret_file),
                "--host",
                "127.0.0.1",
                "--port",
                str(config.port),
            ],
            env=node_environment(config.folder),
            cwd=config.folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def alive(self) -> bool:
        """Whether the process still runs; a node that the SuperLink refuses ends by itself."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Ask it to end, and make it."""
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
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


def node_environment(home: Path) -> dict[str, str]:
    """What the SuperNode needs: nothing of the vault's settings or secrets is handed on."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    scripts = sysconfig.get_path("scripts")
    return kept | {
        "PATH": os.pathsep.join([scripts, str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        "FLWR_HOME": str(home / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "OMP_NUM_THREADS": "1",
    }
