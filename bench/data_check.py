# SPDX-License-Identifier: Apache-2.0
"""What `covalue contributor check` costs on a million rows, CSV and Parquet, beside pandera.

    python -m bench.data_check [--rows 1000000]

A million generated sales of 400,000 owners, one cell in a hundred broken, are checked against a
task drafted from 500 public rows, by the command itself, with --json and --html. Peer: pandas reads
the same file and pandera (lazy validation) checks the same bounds; duplicates and rows beyond a
unit's limit by pandas. It reports nothing of drift and no line numbers.

Each is a process of its own on one thread: wall seconds from start to end, and the largest resident
set. It is started by a small process, because Linux counts what the parent held as the child's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROWS = 1_000_000
SECONDS_BAR, GIB_BAR = 60.0, 1.0
TARGET, OWNER, MAX_ROWS = "sale_price", "owner", 3


def rows(count: int = ROWS) -> list[dict[str, Any]]:
    """Rows of the learning suite; see bench/suite.py."""
    with tempfile.TemporaryDirectory(prefix="covalue-bench-") as folder:
        home = Path(folder)
        _python("--make", str(count), folder=home)
        found: list[dict[str, Any]] = []
        for kind in ("csv", "parquet"):
            ours = _measured(_check(kind), home)
            peer = _measured([*_self(), "--peer", f"mine.{kind}"], home)
            found += _against_bars(f"check of {count:,} rows, {kind}", ours, peer)
        return found


def _against_bars(name: str, ours: dict[str, Any], peer: dict[str, Any]) -> list[dict[str, Any]]:
    """Three rows: seconds, memory, and whether both found the same rows."""
    by = f"pandera {version('pandera')}"
    told = [each["result"] for each in (ours, peer)]
    counts = [(each["rows_rejected"], each["duplicates"], each["uncounted"]) for each in told]
    return [
        {
            "name": f"{name}: time",
            "ours": ours["wall"],
            "peer": f"{by}: {peer['wall']:.1f} s ({peer['cpu']:.1f} s CPU)",
            "value": ours["wall"],
            "unit": f"s wall ({ours['cpu']:.1f} s CPU)",
            "bar": f"<= {SECONDS_BAR:g}",
            "holds": ours["wall"] <= SECONDS_BAR,
        },
        {
            "name": f"{name}: memory",
            "ours": ours["gib"],
            "peer": f"{by}: {peer['gib']:.2f} GiB",
            "value": ours["gib"],
            "unit": "GiB",
            "bar": f"<= {GIB_BAR:g}",
            "holds": ours["gib"] <= GIB_BAR,
        },
        {
            "name": f"{name}: rows rejected, duplicate, beyond their unit's limit",
            "ours": "{} / {} / {}".format(*counts[0]),
            "peer": "{}: {} / {} / {}".format(by, *counts[1]),
            "value": counts[0][0],
            "unit": "rows rejected",
            "bar": "equal",
            "holds": counts[0] == counts[1],
        },
    ]


def _check(kind: str) -> list[str]:
    command = [sys.executable, "-m", "cli.main", "contributor", "check", f"mine.{kind}"]
    return [*command, "--task", "task.toml", "--json", "--html", f"report-{kind}.html"]


def _self() -> list[str]:
    return [sys.executable, "-m", "bench.data_check"]


def _python(*words: str, folder: Path) -> None:
    """This module in a process of its own."""
    subprocess.run([*_self(), *words], cwd=folder, env=_environment(), check=True)


def _environment() -> dict[str, str]:
    home = str(Path(__file__).resolve().parents[1])
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"}
    return {**os.environ, **threads, "PYTHONPATH": home}


def _measured(command: list[str], folder: Path) -> dict[str, Any]:
    """Run a command through the small process; its cost and what it printed."""
    _python("--measure", *command, folder=folder)
    found: dict[str, Any] = json.loads((folder / "cost.json").read_text())
    told = json.loads((folder / "out.json").read_text().splitlines()[-1])
    if "units" in told:
        told["uncounted"] = told["units"]["uncounted_rows"]
    return found | {"result": told}


def measure(command: list[str]) -> None:
    """Run a command here; its output to out.json, its cost to cost.json."""
    with Path("out.json").open("wb") as out:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
    if status != 0:
        raise SystemExit(f"{' '.join(command)}: status {status}; {Path('out.json').read_text()}")
    unit = 1 if sys.platform == "darwin" else 1024
    cost = {
        "wall": round(wall, 2),
        "cpu": round(usage.ru_utime + usage.ru_stime, 2),
        "gib": round(usage.ru_maxrss * unit / 2**30, 3),
    }
    Path("cost.json").write_text(json.dumps(cost))


def make(count: int) -> None:
    """Write public.csv, task.toml, mine.csv and mine.parquet into this folder."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from demo.market import generate_market
    from valuation.draft import draft_task
    from valuation.rows import parse_csv
    from valuation.task_text import render_draft

    generate_market(500, 1, missing=0.1).to_csv("public.csv", index=False)
    draft = draft_task(
        parse_csv(Path("public.csv").read_bytes(), name="public rows"), target=TARGET
    )
    text = render_draft(
        draft,
        title="A million rows",
        asset_class="homes",
        public_rows="public.csv",
        family="kernel",
        public_n=count,
        contributors=10,
        epsilon=8.0,
        coordinator="0x" + "01" * 20,
    )
    rows_of_unit = 'kind = "row"\nmax_rows = 1\n'
    if rows_of_unit not in text:
        raise RuntimeError("the drafted task has another unit than a row")
    unit = f'kind = "column"\ncolumn = "{OWNER}"\nmax_rows = {MAX_ROWS}\n'
    Path("task.toml").write_text(text.replace(rows_of_unit, unit))

    random = np.random.default_rng(7)
    frame = generate_market(count, 2, missing=0.1)
    frame.insert(0, OWNER, [f"owner {i:06d}" for i in random.integers(0, count * 2 // 5, count)])
    frame.to_csv("typed.csv", index=False)
    # text cells, so that anything can stand in them
    cells = pd.read_csv("typed.csv", dtype=str, keep_default_na=False)
    for column, wrong in (("living_area_m2", "1e9"), (TARGET, "1"), ("rooms", "many")):
        where = random.integers(0, count, count // 100)
        cells.loc[where, column] = wrong
    again = random.integers(0, count, count // 500)
    cells.iloc[random.integers(0, count, len(again))] = cells.iloc[again].to_numpy()
    cells.to_csv("mine.csv", index=False)
    pq.write_table(
        pa.table({name: pa.array(cells[name].tolist(), pa.string()) for name in cells}),
        "mine.parquet",
    )


def peer(name: str) -> None:
    """pandera's lazy validation of the task's bounds; prints what it found."""
    import pandas as pd
    import pandera.pandas as pandera

    from valuation.taskfile import (
        CategorySection,
        DateSection,
        LocationSection,
        NumberSection,
        parse_taskfile,
    )

    task = parse_taskfile(Path("task.toml").read_text())
    columns: dict[str, Any] = {OWNER: pandera.Column(str, pandera.Check.str_length(min_value=1))}

    def number(low: float, high: float, *, missing: bool = False) -> Any:
        return pandera.Column(float, pandera.Check.in_range(low, high), nullable=missing)

    columns[task.target.column] = number(task.target.lower, task.target.upper)
    for each in task.feature:
        if isinstance(each, NumberSection):
            columns[each.column] = number(
                each.lower, each.upper, missing=each.missing == "indicate"
            )
        elif isinstance(each, LocationSection):
            columns[each.latitude] = number(each.south, each.north)
            columns[each.longitude] = number(each.west, each.east)
        elif isinstance(each, DateSection):
            days = pandera.Check.in_range(pd.Timestamp(each.first), pd.Timestamp(each.last))
            columns[each.column] = pandera.Column("datetime64[us]", days)
        elif isinstance(each, CategorySection) and not each.other:
            columns[each.column] = pandera.Column(str, pandera.Check.isin(each.values))
    reader = pd.read_csv if name.endswith(".csv") else pd.read_parquet
    frame = reader(name, **({"dtype": str} if name.endswith(".csv") else {}))
    duplicates = int(frame.duplicated().sum())
    # Broken cells must become missing first: pandera cannot coerce a column that holds one.
    for column, rule in columns.items():
        if str(rule.dtype) == "float64":
            numbers = pd.to_numeric(frame[column].replace("", None), errors="coerce")
            frame[column] = numbers.astype("float64")
        elif "datetime" in str(rule.dtype):
            frame[column] = pd.to_datetime(frame[column], errors="coerce").astype("datetime64[us]")
    wrong: set[int] = set()
    try:
        pandera.DataFrameSchema(columns).validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        wrong = set(error.failure_cases["index"].dropna().astype(int))
    kept = frame[OWNER].drop(index=list(wrong))
    over = int((kept.groupby(kept).cumcount() >= MAX_ROWS).sum())
    found = {"rows_rejected": len(wrong), "duplicates": duplicates, "uncounted": over}
    sys.stdout.write(json.dumps(found) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--make", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make is not None:
        make(given.make)
    elif given.peer is not None:
        peer(given.peer)
    elif given.measure is not None:
        measure(given.measure)
    else:
        found = rows(given.rows)
        print(json.dumps(found, indent=1))
        return 0 if all(row["holds"] for row in found) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
