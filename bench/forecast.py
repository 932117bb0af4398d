# SPDX-License-Identifier: Apache-2.0
"""What a forecast of a thousand contributors costs, beside what nobody could do without.

    python -m bench.forecast

`covalue task forecast` from a task file and a CSV to the JSON on stdout, payouts included: 1,000
contributors, 20,000 training rows of the market generator (besides 5,000 that test and some 4,000
that calibrate), 100 rounds, epsilon 8. A process of its own, on one thread.

Peer: the same draws of noise and the same products of rows and models as one block a round, with
nothing around them, on one thread. No way of keeping contributors' noise apart does with less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CONTRIBUTORS, ROUNDS = 1_000, 100
PUBLIC_ROWS, TRAINING_ROWS, TEST_ROWS = 500, 20_000, 5_000
OTHER_ROWS = 4_200
"""Generated besides: some calibrate intervals, and a few break the drafted bounds."""
SECONDS_BAR, GIB_BAR = 60.0, 2.0
TARGET = "sale_price"


def rows() -> list[dict[str, Any]]:
    """Rows of the learning suite; see bench/suite.py."""
    with tempfile.TemporaryDirectory(prefix="covalue-bench-") as folder:
        home = Path(folder)
        _measured([*_self(), "--make"], home)
        ours = _measured(
            [
                *(sys.executable, "-m", "cli.main", "task", "forecast", "task.toml", "--json"),
                *("--data", "mine.csv", "--payouts"),
                *("--contributors", str(CONTRIBUTORS), "--rounds", str(ROUNDS)),
            ],
            home,
        )
        (setting,) = ours["result"]["settings"]
        _check(setting)
        floor = _measured([*_self(), "--floor", str(setting["parameters"])], home)
    name = f"forecast: {CONTRIBUTORS:,} contributors, {TRAINING_ROWS:,} rows, {ROUNDS} rounds"
    return [
        {
            "name": f"{name}: time",
            "ours": ours["wall"],
            "peer": f"noise and products alone, one core: {floor['result']['seconds']:.1f} s",
            "value": ours["wall"],
            "unit": f"s wall ({ours['cpu']:.1f} s CPU)",
            "bar": f"<= {SECONDS_BAR:g}",
            "holds": ours["wall"] <= SECONDS_BAR,
        },
        {
            "name": f"{name}: memory",
            "ours": ours["gib"],
            "peer": f"noise and products alone: {floor['gib']:.2f} GiB",
            "value": ours["gib"],
            "unit": "GiB",
            "bar": f"<= {GIB_BAR:g}",
            "holds": ours["gib"] <= GIB_BAR,
        },
    ]


def _check(setting: dict[str, Any]) -> None:
    """That the work was done which the bar names."""
    asked = (CONTRIBUTORS, ROUNDS, CONTRIBUTORS)
    payouts = len(setting["payouts"]["contributors"])
    found = (setting["contributors"], setting["rounds"], payouts)
    if found != asked or setting["trained_rows"] < TRAINING_ROWS:
        raise RuntimeError(
            f"contributors, rounds, payouts: {found}, expected {asked}; "
            f"{setting['trained_rows']} rows trained, expected {TRAINING_ROWS} or more"
        )


def _self() -> list[str]:
    return [sys.executable, "-m", "bench.forecast"]


def _measured(command: list[str], folder: Path) -> dict[str, Any]:
    """Run a command in `folder`: wall and CPU seconds, largest resident set, the JSON it printed.

    This process is small: Linux counts what the parent held as the child's.
    """
    home = str(Path(__file__).resolve().parents[1])
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "PYTHONPATH": home}
    out = folder / "out.json"
    with out.open("wb") as file:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=file, cwd=folder, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
    if status != 0:
        raise RuntimeError(f"{' '.join(command)}: status {status}; {out.read_text()}")
    return {
        "wall": round(wall, 2),
        "cpu": round(usage.ru_utime + usage.ru_stime, 2),
        "gib": round(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**30, 3),
        "result": json.loads(out.read_text() or "null"),
    }


def make() -> None:
    """Write public.csv, task.toml and mine.csv into this folder."""
    from demo.market import generate_market
    from valuation.draft import draft_task
    from valuation.rows import parse_csv
    from valuation.task_text import render_draft

    generate_market(PUBLIC_ROWS, 1).to_csv("public.csv", index=False)
    public = parse_csv(Path("public.csv").read_bytes(), name="public rows")
    text = render_draft(
        draft_task(public, target=TARGET),
        title="A thousand contributors",
        asset_class="homes",
        public_rows="public.csv",
        public_n=TRAINING_ROWS + OTHER_ROWS,
        contributors=10,
        epsilon=8.0,
    )
    Path("task.toml").write_text(text)
    rows = TRAINING_ROWS + TEST_ROWS + OTHER_ROWS
    generate_market(rows, 2).to_csv("mine.csv", index=False)


def floor(parameters: int) -> None:
    """Draw as much noise and multiply as many rows; print the seconds that takes."""
    import numpy as np

    from privacy.noise import SeededNoise

    inputs = np.random.default_rng(0).normal(size=(TRAINING_ROWS, parameters))
    theta = np.zeros(parameters)
    began = time.perf_counter()
    for number in range(ROUNDS):
        noise = SeededNoise(str(number).encode())
        for _ in range(CONTRIBUTORS // 50):
            noise.gaussian(50 * parameters)
        theta = 1e-6 * ((inputs @ theta - 1.0) @ inputs)
    print(json.dumps({"seconds": time.perf_counter() - began}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--floor", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        make()
    elif given.floor is not None:
        floor(given.floor)
    else:
        for row in rows():
            print(json.dumps(row))


if __name__ == "__main__":
    main()
