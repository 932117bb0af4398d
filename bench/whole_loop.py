# SPDX-License-Identifier: Apache-2.0
"""How long `covalue demo` takes and how much memory all its processes hold together.

    python -m bench.whole_loop [--data FILE --target COLUMN] [--seeds 0 1 2] [--no-attackers]

Rows: the file named, else California in the folder COVALUE_DATA, else what the demo finds itself.

Wall seconds from start to the last process's end; memory is the sum of the proportional set sizes
(PSS) of the process and all its descendants, sampled every half second (Linux only).
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

SAMPLE_SECONDS = 0.5
WALL_BAR_SECONDS = 180
MEMORY_BAR_GIB = 4.0
CALIFORNIA = "california_housing.csv"


def descendants(root: int) -> list[int]:
    """The process and all below it, by /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue  # it ended meanwhile
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def pss_bytes(pid: int) -> int:
    """Proportional set size of a process; 0 when it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(
        (int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0
    )


def measure(arguments: list[str]) -> dict[str, Any]:
    """Run one demo; its wall seconds, peak GiB and what it found."""
    with tempfile.TemporaryDirectory(prefix="covalue-bench-") as folder:
        out = Path(folder) / "out.json"
        began = time.monotonic()
        with out.open("wb") as result, (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "cli.main", "demo", "--json"),
                    *("--out", f"{folder}/demo"),
                    *arguments,
                ],
                stdout=result,
                stderr=log,
            )
            peak = 0
            while process.poll() is None:
                peak = max(peak, sum(pss_bytes(pid) for pid in descendants(process.pid)))
                time.sleep(SAMPLE_SECONDS)
        if process.returncode != 0:
            raise RuntimeError((Path(folder) / "log").read_text()[-2000:])
        found = json.loads(out.read_text().splitlines()[-1])
        return {
            "wall_seconds": round(time.monotonic() - began, 1),
            "peak_gib": round(peak / 2**30, 2),
            "r2": round(found["qualities"][0]["r2"], 4),
            "public_r2": round(found["qualities"][1]["r2"], 4),
            "attackers_paid_wei": sum(
                int(each["payout_wei"])
                for each in found["standings"]
                if each["behaviour"] != "honest"
            ),
            "honest_excluded": sum(
                bool(each["excluded"])
                for each in found["standings"]
                if each["behaviour"] == "honest"
            ),
            "audit_ok": found["audit_ok"],
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--data")
    parser.add_argument("--target")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--no-attackers", action="store_true")
    given = parser.parse_args()
    common = ["--no-attackers"] if given.no_attackers else []
    rows = Path(os.environ.get("COVALUE_DATA", "")) / CALIFORNIA
    if given.data:
        common += ["--data", given.data, "--target", given.target or ""]
    elif "COVALUE_DATA" in os.environ and rows.is_file():
        common += ["--data", str(rows), "--target", "median_house_value"]
    holds = True
    for seed in given.seeds:
        row = measure([*common, "--seed", str(seed)])
        print(json.dumps({"seed": seed, **row}), flush=True)
        holds &= row["wall_seconds"] <= WALL_BAR_SECONDS and row["peak_gib"] <= MEMORY_BAR_GIB
        holds &= row["attackers_paid_wei"] == 0 and row["audit_ok"]
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
