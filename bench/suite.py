# SPDX-License-Identifier: Apache-2.0
"""A suite of measurements, each against its bar: prints a table, writes build/bench-SUITE.json.

    python -m bench.suite learning [--only engine accuracy_bars] [--fresh]

Every part runs in a process of its own, one thread for arithmetic, and its rows are kept as soon as
they are measured, with the code that measured them: a suite that was stopped goes on with the next
part, and measures again what other code has measured. `--fresh` measures all again, `--only` some
parts; the suite's file is written only where all of it is measured. Exits with 1 where a row falls
short, with 2 where a part could not be measured.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

SUITES: dict[str, tuple[str, ...]] = {
    "learning": ("engine", "privacy_audit", "data_check", "forecast", "intervals", "accuracy_bars"),
    "trust": (
        "audit",
        "bls",
        "shapley",
        "mixing",
        "gas",
        "contract_mutants",
        "attacks",
    ),
}
FIELDS = ("name", "ours", "peer", "value", "unit", "bar", "holds")
BUILD = Path("build")
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Code:
    """What measured: the commit, and a digest of what differs from it ("" where nothing does)."""

    commit: str
    changes: str

    def __str__(self) -> str:
        return f"commit {self.commit[:12]}" + (
            f" with changes {self.changes[:8]}" * bool(self.changes)
        )


def code_of(folder: Path) -> Code | None:
    """The code in a checkout; None where git does not know it."""
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "diff", "HEAD", "--binary")
    strange = _git(folder, "ls-files", "--others", "--exclude-standard", "-z")
    if commit is None or changes is None or strange is None:
        return None
    digest = hashlib.sha256(changes)
    for name in filter(None, strange.split(b"\0")):
        file = folder / os.fsdecode(name)
        content = file.read_bytes() if file.is_file() else b""
        digest.update(name + b"\0" + hashlib.sha256(content).digest())
    return Code(commit.decode().strip(), digest.hexdigest() if changes or strange else "")


def _git(folder: Path, *words: str) -> bytes | None:
    try:
        done = subprocess.run(["git", *words], cwd=folder, check=False, capture_output=True)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def rows_of(
    part: str, *, fresh: bool, code: Code | None, tell: Callable[[str], object]
) -> list[dict[str, Any]]:
    """The rows of one part, kept from before or measured now; `tell` is told why they are measured
    again. RuntimeError where it fails."""
    kept = BUILD / "bench" / f"{part}.json"
    if kept.exists() and not fresh:
        rows, stale = _kept(kept, code)
        if not stale:
            return rows
        tell(f"{part} is measured again: {stale}")
    kept.parent.mkdir(parents=True, exist_ok=True)
    staged = kept.with_suffix(".new")
    command = [sys.executable, "-m", "bench.suite", "--part", part, "--out", str(staged)]
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if subprocess.run(command, env=alone, check=False).returncode != 0:
        raise RuntimeError(f"bench.{part} could not be measured; see above")
    measured: list[dict[str, Any]] = json.loads(staged.read_text())
    staged.unlink()
    stamped = {"code": None if code is None else asdict(code), "rows": measured}
    staged.write_text(json.dumps(stamped, indent=1))
    staged.rename(kept)
    return measured


def _kept(file: Path, code: Code | None) -> tuple[list[dict[str, Any]], str]:
    """Rows from before, and why they do not count ("" where they do)."""
    found = json.loads(file.read_text())
    if not isinstance(found, dict) or found.get("code") is None:
        return [], "what is kept does not say which code measured it"
    if code is None:
        return [], "git does not say which code this is"
    before = Code(**found["code"])
    return found["rows"], "" if before == code else f"kept from {before}, this is {code}"


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
    parts = sorted({part for suite in SUITES.values() for part in suite})
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("suite", nargs="?", choices=sorted(SUITES))
    parser.add_argument("--only", nargs="+", metavar="PART", choices=parts, help=", ".join(parts))
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        measure(given.part, given.out)
        return 0
    console = Console()
    suites = [given.suite] if given.suite else sorted(SUITES)
    return max(_run(each, given.only, fresh=given.fresh, console=console) for each in suites)


def _run(suite: str, only: list[str] | None, *, fresh: bool, console: Console) -> int:
    """Measure a suite, or some of its parts, and show it; the exit status."""
    BUILD.mkdir(parents=True, exist_ok=True)
    status = 0
    rows: list[dict[str, Any]] = []
    for part in SUITES[suite]:
        if only and part not in only:
            continue
        console.print(f"{suite}: {part}", style="dim")
        try:
            code = code_of(ROOT)
            rows += rows_of(part, fresh=fresh, code=code, tell=console.print)
        except RuntimeError as error:
            console.print(str(error), style="red")
            status = 2
    show(f"{suite}: ours against peers and bars", rows, console)
    if not only and status == 0:
        (BUILD / f"bench-{suite}.json").write_text(json.dumps(rows, indent=1))
    return status or int(not all(row["holds"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
