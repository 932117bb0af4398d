# SPDX-License-Identifier: Apache-2.0
"""What transactions cost, against the bars and against a bare OpenZeppelin Governor.

    python -m bench.gas

forge runs `contracts/test/Gas.t.sol` with isolation: each measured call is a transaction of its
own, so a figure is what its receipt says, with the base cost of 21,000, calldata, cold storage and
refunds. The Governor beside ours is OpenZeppelin's with the same extensions over OpenZeppelin's own
votes token (`contracts/test/BareGovernor.sol`); both execute the same call, in the same run.

The root is posted by `fund`, sent as a transaction of its own: the money, and the two slots that
it overwrites, are there since `openTask`, as in every task. What that costs is the snapshot's
`reserve`; a remainder of the budget, where there is one, is burned at the same time and costs more.

Revenue claims are of the current release, with a proof of four hashes; the first is of an account
that holds none of the asset. What an ended release's cost is in the snapshot, without a bar.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SNAPSHOTS = Path("build/gas")
ABSENT = 5
"""Members that do not sign in the checkpoint "11 of 16"."""
CHECKPOINT_BAR, ABSENT_BAR = 275_000, 7_000
LATER_CLAIM_BAR, FIRST_CLAIM_BAR, ROOT_BAR = 58_000, 90_000, 45_000
GOVERNOR_BAR = 1.1
GAS_UNIT = "gas of the transaction"

Row = dict[str, Any]
Measured = dict[str, dict[str, int]]


def measured() -> Measured:
    """Gas by group and name, as forge measures it now. RuntimeError where a test fails."""
    command = ["node", "contracts/forge.mjs", "test", "--match-contract", "^GasTest$"]
    environment = {
        **os.environ,
        "FOUNDRY_SNAPSHOTS": str(SNAPSHOTS),
        "FORGE_SNAPSHOT_CHECK": "false",
        "FORGE_SNAPSHOT_EMIT": "true",
    }
    (ROOT / SNAPSHOTS).mkdir(parents=True, exist_ok=True)
    for old in (ROOT / SNAPSHOTS).glob("*.json"):
        old.unlink()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"forge measured no gas:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return {
        file.stem: {name: int(gas) for name, gas in json.loads(file.read_text()).items()}
        for file in sorted((ROOT / SNAPSHOTS).glob("*.json"))
    }


def _row(name: str, gas: float, bar: int, unit: str = GAS_UNIT) -> Row:
    return {
        "name": name,
        "ours": gas,
        "peer": "none",
        "value": gas,
        "unit": unit,
        "bar": f"<= {bar:,}",
        "holds": gas <= bar,
    }


def rows() -> list[Row]:
    """Every row of the gas bars."""
    found = measured()
    ledger, payouts, revenue = found["ledger"], found["payouts"], found["revenue"]
    everybody = ledger["checkpoint, 16 of 16 sign"]
    absent = (ledger["checkpoint, 11 of 16 sign"] - everybody) / ABSENT
    table = [
        _row("checkpoint, all 16 of the roster sign", everybody, CHECKPOINT_BAR),
        _row("checkpoint, each absent member", absent, ABSENT_BAR, "gas more"),
        _row("payout, later claim", payouts["claim"], LATER_CLAIM_BAR),
        _row("payout, first claim", payouts["claim, first of the account"], FIRST_CLAIM_BAR),
        _row("revenue, later claim", revenue["claim"], LATER_CLAIM_BAR),
        _row("revenue, first claim", revenue["first claim"], FIRST_CLAIM_BAR),
        _row("payout, post a root over reserved money", payouts["fund with a root"], ROOT_BAR),
    ]
    for step in ("propose", "vote", "queue", "execute"):
        ours, bare = (found["governance"][f"{step}, {whose}"] for whose in ("ours", "bare"))
        table.append(
            {
                "name": f"governance, {step}",
                "ours": ours,
                "peer": f"OpenZeppelin Governor with the same extensions: {bare}",
                "value": ours / bare,
                "unit": "ratio of gas",
                "bar": f"<= {GOVERNOR_BAR:g}",
                "holds": ours <= GOVERNOR_BAR * bare,
            }
        )
    return table


def main() -> int:
    """Measure and print; 1 where a row falls short."""
    from rich.console import Console

    from bench.suite import show

    table = rows()
    show("Gas", table, Console())
    return 0 if all(row["holds"] for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
