# SPDX-License-Identifier: Apache-2.0
"""A suite of measurements, each against its bar: prints a table, writes build/bench-SUITE.json.

    python -m bench.suite learning [--only engine accuracy_bars] [--fresh]

Every part runs in a process of its own, one thread for arithmetic, and its rows are kept as soon as
they are measured: a suite that was stopped goes on with the next part. `--fresh` measures all
again. Exits with 1 where a row falls short, with 2 where a part could not be measured.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

SUITES: dict[str, tuple[str, ...]] = {
    "learning": ("engine", "privacy_audit", "data_check", "forecast", "intervals", "accuracy_bars"),
}
FIELDS = ("name", "ours", "peer", "value", "unit", "bar", "holds")
BUILD = Path("build")


def rows_of(part: str, *, fresh: bool) -> list[dict[str, Any]]:
    """The rows of one part, kept from before or measured now. RuntimeError where it fails."""
    kept = BUILD / "bench" / f"{part}.json"
    if fresh or not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        staged = kept.with_suffix(".new")
        command = [sys.executable, "-m", "bench.suite", "--part", part, "--out", str(staged)]
        alone = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        if subprocess.run(command, env=alone, check=False).returncode != 0:
            raise RuntimeError(f"bench.{part} could not be measured; see above")
        staged.rename(kept)
    rows: list[dict[str, Any]] = json.loads(kept.read_text())
    return rows


def measure(part: str, out: Path) -> None:
    """Run `bench.PART.rows()` in this process and write its rows."""
    rows = importlib.import_module(f"bench.{part}").rows()
    for row in rows:
        missing = [field for field in FIELDS if field not in row]
        if missing:
            raise ValueError(f"bench.{part}: row {row.get('name')!r} lacks {missing}")
    out.write_text(json.dumps(rows, indent=1))


def show(title: str, rows: list[dict[str, Any]], console: Console) -> None:
    """The table of a suite."""
    table = Table(title=title, title_justify="left")
    for column in FIELDS[:-1]:
        table.add_column(column, overflow="fold")
    table.add_column("holds")
    for row in rows:
        cells = [_text(row[field]) for field in FIELDS[:-1]]
        table.add_row(*cells, "yes" if row["holds"] else "[red]NO[/]")
    console.print(table)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("suite", nargs="?", choices=sorted(SUITES))
    parser.add_argument("--only", nargs="+", metavar="PART")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        measure(given.part, given.out)
        return 0
    console = Console()
    status = 0
    for suite in [given.suite] if given.suite else sorted(SUITES):
        rows: list[dict[str, Any]] = []
        for part in SUITES[suite]:
            if given.only and part not in given.only:
                continue
            console.print(f"{suite}: {part}", style="dim")
            try:
                rows += rows_of(part, fresh=given.fresh)
            except RuntimeError as error:
                console.print(str(error), style="red")
                status = 2
        show(f"{suite}: ours against peers and bars", rows, console)
        (BUILD / f"bench-{suite}.json").write_text(json.dumps(rows, indent=1))
        if status == 0 and not all(row["holds"] for row in rows):
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
