# SPDX-License-Identifier: Apache-2.0
"""Child processes that end with us, whatever ends us.

Each runs under a shell that holds the read end of a pipe from us and stops it when the pipe closes,
after SIGKILL too. Ctrl-C at the terminal reaches us alone, so that we stop them in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_SUPERVISE = """
exec 3<&0
"$@" &
child=$!
{ read -r line <&3; kill -TERM "$child"; } 2>/dev/null &
watcher=$!
wait "$child"
code=$?
kill "$watcher" 2>/dev/null
exit "$code"
"""
"""Runs a command until it ends or standard input closes, and ends with its exit code."""


def start(
    command: Sequence[str],
    *,
    log: Path | None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own; what it says goes to `log`, which is written anew.

    Its exit code is that of the returned process. `stop` ends it.
    """
    out = log.open("wb") if log else None
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", _SUPERVISE, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=out or subprocess.DEVNULL,
            stderr=out or subprocess.DEVNULL,
            cwd=cwd,
            env=environment,
            start_new_session=True,
        )
    finally:
        if out is not None:
            out.close()


def stop(*processes: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask all to end, and kill the whole sessions of those that have not after so many seconds."""
    for process in processes:
        if process.stdin is not None:
            process.stdin.close()
    until = time.monotonic() + seconds
    for process in processes:
        try:
            process.wait(max(until - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
