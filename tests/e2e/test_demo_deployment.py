# SPDX-License-Identifier: Apache-2.0
"""The demo in Flower's deployment runtime: it comes to an audited model, and whether it ends by
itself or is told to, none of its processes stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo.loop import play
from demo.market import TARGET, generate_market
from demo.options import DemoOptions
from fl_server.context import Progress

ROOT = Path(__file__).resolve().parents[2]
ROWS, CONTRIBUTORS, ROUNDS = 1_600, 3, 4
SECONDS = 200.0


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of sales, apart from the runs' folders."""
    path = tmp_path_factory.mktemp("sales") / "rows.csv"
    generate_market(ROWS, 3).to_csv(path, index=False)
    return path


def processes_of(folder: Path) -> list[str]:
    """Command lines of other processes that name the folder, were given it or work in it."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes()
            said = (
                command + (place / "environ").read_bytes() + os.fsencode((place / "cwd").readlink())
            )
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended in between, or not ours
        if int(place.name) != os.getpid() and os.fsencode(folder) in said:
            found.append(command.replace(b"\0", b" ").decode())
    return found


def test_whole_loop_in_deployment_passes_its_audit_and_leaves_no_process(
    sales: Path, tmp_path: Path
) -> None:
    options = DemoOptions(
        data=sales,
        target=TARGET,
        out=tmp_path / "out",
        contributors=CONTRIBUTORS,
        rounds=ROUNDS,
        deployment=True,
    )
    events: list[str] = []
    training: list[str] = []

    def on_progress(event: Progress) -> None:
        events.append(event.kind)
        if event.kind == "round" and not training:
            training.extend(processes_of(tmp_path))

    with play(options, tell=lambda line: None, on_progress=on_progress) as (result, _api):
        assert result.audit_ok, result.audit_failure
        assert not [each for each in processes_of(tmp_path) if "anvil" not in each]
    assert processes_of(tmp_path) == []
    assert sum("flower-supernode" in each for each in training) == CONTRIBUTORS
    assert sum("flower-superlink" in each for each in training) == 1
    assert sum("flwr-serverapp" in each for each in training) == 1
    # the survey and all training rounds but the last are the first stretch
    rounds = ["round"] * ROUNDS + ["checkpoint", "round", "checkpoint"]
    assert events == [*rounds, "revealing", "closed"]
    assert (result.provenance.contributors, result.provenance.rounds) == (CONTRIBUTORS, ROUNDS)
    assert [each.claimed_wei for each in result.standings] == [
        each.payout_wei for each in result.standings
    ]


def test_a_stopped_demo_says_so_in_a_line_and_leaves_no_process(
    sales: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    words = ["--deployment", "--contributors", "2", "--target", TARGET]
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "demo", *words, "--data", sales, "--out", out],
            cwd=ROOT,
            stdout=said,
            stderr=said,
        )
    try:
        journal = out / "coordinator" / "task-1.jsonl"
        until = time.monotonic() + SECONDS
        while not (journal.exists() and '"signed"' in journal.read_text()):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        assert any("flwr-serverapp" in each for each in processes_of(out))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    assert processes_of(out) == []
    told = log.read_text().rstrip()
    assert told.endswith("\nstopped by SIGTERM")
    assert not any(word in told for word in ("Traceback", "***", "ERROR", "rror:"))
