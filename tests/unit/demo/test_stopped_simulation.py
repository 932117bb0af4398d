# SPDX-License-Identifier: Apache-2.0
"""A simulation that is stopped by a signal: it ends in order, with Flower and Ray as they are."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 240.0
SCRIPT = """
import sys, time
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from cli.stopping import Stopped, stopped_by_signals
from demo.simulation import run_flower

server = ServerApp()

@server.main()
def main(grid, context):
    try:
        while True:
            list(grid.get_node_ids())
            time.sleep(0.05)
    finally:
        print("journal closed", flush=True)

try:
    with stopped_by_signals():
        run_flower(server, ClientApp(), nodes=1, actors=1)
except Stopped as stop:
    print("stopped by", stop.number, flush=True)
    sys.exit(128 + stop.number)
"""


def below(parent: int) -> dict[int, str]:
    """Process number and name of every process that descends from `parent`, as they run now."""
    parents, names = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (place / "stat").read_text().partition("(")[2].rpartition(") ")
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended in between
        if rest.split()[0] != "Z":
            parents[int(place.name)], names[int(place.name)] = int(rest.split()[1]), name
    found: dict[int, str] = {}
    fresh = {parent}
    while fresh:
        fresh = {child for child, above in parents.items() if above in fresh}
        found |= {child: names[child] for child in fresh}
    return found


def test_it_ends_in_order_with_nothing_but_its_own_words(tmp_path: Path) -> None:
    """Ray prints no stack, Flower waits for no worker, and none of their processes stays."""
    log = tmp_path / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT], cwd=ROOT, stdout=subprocess.PIPE, stderr=said, text=True
        )
    try:
        until, running = time.monotonic() + SECONDS, below(process.pid)
        while not any(name.startswith("ray::ClientApp") for name in running.values()):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, running
            time.sleep(0.1)
            running = below(process.pid)
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert told.splitlines() == ["journal closed", f"stopped by {int(signal.SIGTERM)}"]
    assert process.returncode == 128 + signal.SIGTERM
    assert log.read_text() == ""
    assert not [name for pid, name in running.items() if still(pid, name)]


def still(pid: int, name: str) -> bool:
    """Whether this process runs on under the same name."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return f"({name}) " in state and ") Z" not in state
