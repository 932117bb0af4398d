# SPDX-License-Identifier: Apache-2.0
"""`covalue audit`: how long it takes, and whether flipped bytes are found by two readers.

    python -m bench.audit [--rounds 100] [--flips 500] [--only time flips]

Time: a task of 100 training rounds and 10 contributors is played by `covalue demo`'s own loop on
generated sales, then audited by a fresh process with nothing kept. Beside it stands the floor: a
process that reads and hashes the same blobs and verifies the same signatures, and no more. That
every round costs alike is measured in CPU time, round by round.

Flips: of a small finished task with a vault that lies, held by the audit and by the verifier in
tests/independent, which is written from docs/ alone. Each flip is at a random byte of a random
published block. In each block one is found by whole runs of both, which must name that block. The
others are put to what both read blocks with: as it refuses a spoilt block whatever is spoilt, a
whole run would end as the one before. Nothing that they read is kept in between.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audit.checks import Progress
from audit.published import read_checkpoint, read_records
from audit.task import audit_task
from bench.flips import found_flips
from dao import bls
from dao.deployment import Contracts, open_dao
from dao.messages import recover_round_record_signer
from dao.settings import load_settings
from dao.store import LocalStore
from demo.market import TARGET, generate_market

ROUNDS, CONTRIBUTORS, MARKET_ROWS = 100, 10, 6_000
SECONDS_BAR, GROWTH_BAR = 60.0, 1.5
FLIPS = 500
Row = dict[str, Any]


def rows(rounds: int = ROUNDS, flips: int = FLIPS) -> list[Row]:
    """Every row of the bars on audits."""
    return [*time_rows(rounds), *flip_rows(flips)]


def time_rows(rounds: int = ROUNDS) -> list[Row]:
    """What an audit of a played task takes."""
    with played_task(rounds) as settings:
        return rows_of_task(settings, f"{rounds} rounds x {CONTRIBUTORS} contributors")


@contextmanager
def played_task(rounds: int) -> Iterator[Path]:
    """The settings of a finished task; its chain answers as long as the context."""
    from demo.loop import play
    from demo.options import DemoOptions

    with tempfile.TemporaryDirectory(prefix="covalue-bench-") as name:
        folder = Path(name)
        generate_market(MARKET_ROWS, 1).to_csv(folder / "rows.csv", index=False)
        options = DemoOptions(
            data=folder / "rows.csv",
            target=TARGET,
            out=folder / "out",
            contributors=CONTRIBUTORS,
            rounds=rounds,
            attackers=False,
        )
        with play(options, tell=lambda line: None, on_progress=lambda event: None):
            yield folder / "out" / "covalue.toml"


def rows_of_task(settings: Path, name: str) -> list[Row]:
    """Rows of the task number 1 of these settings."""
    ours, floor = _measured("audit", settings), _measured("floor", settings)
    if not ours["ok"]:
        raise RuntimeError(f"the audit failed: {ours['failure']}")
    peer = (
        f"read, hash and verify {floor['signatures']} signatures of {floor['blobs']} blobs: "
        f"{floor['wall']:.1f} s ({floor['cpu']:.1f} s CPU)"
    )
    first, last = _quarters(ours["rounds"])
    return [
        {
            "name": f"audit, {name}",
            "ours": f"{ours['wall']:.1f} s ({ours['cpu']:.1f} s CPU), {ours['checks']} checks",
            "peer": peer,
            "value": ours["wall"],
            "unit": "s wall, start to end of the process",
            "bar": f"<= {SECONDS_BAR:g}",
            "holds": ours["wall"] <= SECONDS_BAR,
        },
        {
            "name": f"audit against the floor, {name}",
            "ours": f"{ours['cpu']:.1f} s CPU",
            "peer": peer,
            "value": ours["cpu"] / floor["cpu"],
            "unit": "ratio of CPU seconds",
            "bar": "stated",
            "holds": True,
        },
        {
            "name": "audit, a round of the last quarter against one of the first",
            "ours": f"{1e3 * last:.0f} ms CPU",
            "peer": f"first quarter: {1e3 * first:.0f} ms CPU",
            "value": last / first,
            "unit": "ratio of medians",
            "bar": f"<= {GROWTH_BAR:g}",
            "holds": last / first <= GROWTH_BAR,
        },
    ]


def _quarters(seconds: list[float]) -> tuple[float, float]:
    """Medians of the first and of the last quarter. The first round that trains is left out: what
    is worked out once for all rounds stands there."""
    trained = seconds[2:-1]
    quarter = max(1, len(trained) // 4)
    first, last = sorted(trained[:quarter]), sorted(trained[-quarter:])
    return first[quarter // 2], last[quarter // 2]


def _measured(what: str, settings: Path) -> dict[str, Any]:
    """What a fresh process says of itself, and how long it took as a whole."""
    command = [sys.executable, "-m", "bench.audit", "--measure", what, "--settings", str(settings)]
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    start = time.perf_counter()
    done = subprocess.run(command, env=alone, check=True, stdout=subprocess.PIPE)
    wall = time.perf_counter() - start
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "wall": wall}


def measure(what: str, settings: Path) -> dict[str, Any]:
    """In this process: the audit of task 1, or the floor below it."""
    given = load_settings(settings)
    dao = open_dao(given.chain.rpc_url, given.chain.deployment)
    store = LocalStore(given.store.path)
    found = _audited(dao, store) if what == "audit" else _floor(dao, store)
    return {**found, "cpu": time.process_time()}


def _audited(dao: Contracts, store: LocalStore) -> dict[str, Any]:
    ends: dict[int, float] = {0: 0.0}

    def tell(each: Progress) -> None:
        if each.rounds_done not in ends:
            ends[each.rounds_done] = time.process_time()
        elif each.place == f"round {each.rounds_done + 1}":
            begins[each.rounds_done + 1] = time.process_time()

    begins: dict[int, float] = {}
    report = audit_task(dao, store, 1, tell=tell)
    failure = report.first_failure
    return {
        "ok": report.ok,
        "failure": None if failure is None else f"{failure.place}: {failure.detail}",
        "checks": len(report.checks),
        "rounds": [ends[number] - begins[number] for number in sorted(begins)],
    }


def _floor(dao: Contracts, store: LocalStore) -> dict[str, Any]:
    """Read and hash every block of the store; verify each record's and each receipt's signature."""
    from audit.chain_state import read_chain
    from dao.cid import parse_cid

    blocks = [path for path in store.path.rglob("*") if path.is_file()]
    for path in blocks:
        store.get_block(parse_cid(path.name))
    chain = read_chain(dao, 1)
    keys = {each.address: each.bls_public_key for each in chain.roster}
    signatures = 0
    for committed in chain.checkpoints:
        checkpoint = read_checkpoint(store, committed.records_root, index=committed.index)
        for signed in read_records(store, checkpoint):
            record = signed.record
            signature = bytes.fromhex(signed.signature[2:])
            signer = recover_round_record_signer(record.position, record.digest(), signature)
            triples = [
                (
                    keys[each.body.contributor],
                    each.body.signing_digest(),
                    bytes.fromhex(each.signature[2:]),
                )
                for each in record.receipts
            ]
            if signer != chain.terms.coordinator.lower() or not all(bls.verify_many(triples)):
                raise RuntimeError(f"round {record.position.round}: a bad signature")
            signatures += 1 + len(triples)
    return {"blobs": len(blocks), "signatures": signatures}


def flip_rows(flips: int = FLIPS) -> list[Row]:
    """How many flipped bytes both readers find and name."""
    with tempfile.TemporaryDirectory(prefix="covalue-bench-") as name:
        found = found_flips(Path(name), flips, random.Random(4))
    tried = f"{flips} flips in {found.blocks} blocks, {found.whole} by whole runs"
    return [
        _flips_row("flipped bytes found and named by the audit", found.audit, flips, tried),
        _flips_row("flipped bytes found and named by the verifier", found.verifier, flips, tried),
        _flips_row("flipped bytes on which both agree", found.agreed, flips, tried),
    ]


def _flips_row(name: str, count: int, flips: int, tried: str) -> Row:
    return {
        "name": name,
        "ours": f"{count} of {flips}",
        "peer": tried,
        "value": count,
        "unit": "flips",
        "bar": f"all {flips}",
        "holds": count == flips,
    }


def main() -> int:
    """Measure and print; 1 where a row falls short."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--flips", type=int, default=FLIPS)
    parser.add_argument("--only", nargs="+", choices=("time", "flips"), default=("time", "flips"))
    parser.add_argument("--settings", type=Path, help="of a finished task 1; else one is played")
    parser.add_argument("--measure", choices=("audit", "floor"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given.settings)))
        return 0
    from rich.console import Console

    from bench.suite import show

    measured: list[Row] = []
    if "time" in given.only:
        measured += (
            rows_of_task(given.settings, given.settings.parent.name)
            if given.settings
            else time_rows(given.rounds)
        )
    if "flips" in given.only:
        measured += flip_rows(given.flips)
    show("Audit", measured, Console())
    return 0 if all(row["holds"] for row in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
