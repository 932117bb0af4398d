# SPDX-License-Identifier: Apache-2.0
"""What a demo run found out, and how it is told."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.baselines import Quality
from demo.cast import COVAL
from valuation.metrics import AS_GOOD


@dataclass(frozen=True)
class Standing:
    """One contributor at the end: epsilon and score as recorded, payout as claimed on chain."""

    name: str
    behaviour: str
    rows: int
    epsilon_micro: int
    score_pico: int
    standard_error_pico: int
    threshold_pico: int
    payout_wei: int
    claimed_wei: int
    excluded: str
    """Empty, or `round 6: judged`."""


@dataclass(frozen=True)
class Provenance:
    """What stands behind the released model."""

    release: int
    task_id: int
    task_digest: str
    model_sha256: str
    epsilon_micro: int
    delta_e12: int
    contributors: int
    rounds: int
    block: int


@dataclass(frozen=True)
class DemoResult:
    """Everything that the closing tables show."""

    source: str
    division: str
    family: str
    standings: tuple[Standing, ...]
    qualities: tuple[Quality, ...]
    """The federated model first, then what it is compared with."""
    provenance: Provenance
    valuation: Mapping[str, object]
    audit_ok: bool
    audit_checks: int
    audit_failure: str
    """Empty, or the first place that differs."""
    picture: Path
    folder: Path
    curl: str
    rpc_url: str
    api_url: str
    seconds: float

    def as_json(self) -> dict[str, object]:
        """Plain values for `--json`; amounts in wei as strings."""
        plain = asdict(self)
        for standing in plain["standings"]:
            standing["payout_wei"] = str(standing["payout_wei"])
            standing["claimed_wei"] = str(standing["claimed_wei"])
        return plain | {
            "valuation": dict(self.valuation),
            "picture": str(self.picture),
            "folder": str(self.folder),
        }


def told_rounds(training: int, *, survey: bool, calibration: bool) -> str:
    """`30 rounds of training and 2 more: survey, calibration`."""
    more = [name for name, there in (("survey", survey), ("calibration", calibration)) if there]
    told = f"{training} rounds of training"
    return told + (f" and {len(more)} more: {', '.join(more)}" if more else "")


def told_payouts(payouts_wei: Sequence[int], *, budget_wei: int) -> str:
    """What the contributors get of the budget, and what becomes of the rest."""
    paid = sum(each > 0 for each in payouts_wei)
    budget = f"{budget_wei / COVAL:,.0f} COVAL"
    if not paid:
        return f"Settled: nobody is paid, {budget} are burned."
    told = f"Settled: {paid} of {len(payouts_wei)} contributors share "
    if (budget_wei - sum(payouts_wei)) * 100 < COVAL:  # no more than rounding down leaves
        return told + f"{budget}."
    return told + f"{sum(payouts_wei) / COVAL:,.2f} of {budget}; the rest is burned."


def tell(result: DemoResult, console: Console) -> None:
    """Print the closing tables."""
    console.print()
    console.print(_contributors(result))
    console.print(_qualities(result))
    ours, *others = result.qualities
    public = max(
        (each.r2 for each in others if each.name.startswith("public rows")), default=-math.inf
    )
    if public >= ours.r2:
        console.print(
            "The public rows alone do as well here: the contributors had little to add, and scores "
            "say so."
            if public < ours.r2 + AS_GOOD
            else "The public rows alone do better here: members who look at this table release "
            "nothing. covalue task new --family mlp drafts another kind of model."
        )
    console.print(_provenance(result))
    verdict = "passed" if result.audit_ok else "FAILED"
    console.print(f"Audit {verdict}: {result.audit_checks} checks, from the chain and store alone.")
    if result.audit_failure:
        console.print(result.audit_failure, soft_wrap=True, markup=False)
    console.print(f"Picture: {result.picture}", soft_wrap=True)
    console.print(f"Everything the run left behind: {result.folder}", soft_wrap=True)
    console.print(
        "To look at it again, bring its chain up, audit, serve its model (Ctrl-C ends that), and "
        "take the chain down:",
        soft_wrap=True,
    )
    state, settings = result.folder / "devnet", result.folder / "covalue.toml"
    port, api_port = (url.rpartition(":")[2] for url in (result.rpc_url, result.api_url))
    # make runs us without our folder on PATH
    command = "covalue" if shutil.which("covalue") else str(Path(sys.prefix) / "bin" / "covalue")
    for line in (
        f"{command} devnet up --state {state} --port {port}",
        f"{command} audit {result.provenance.task_id} --config {settings}",
        f"{command} serve --port {api_port} --config {settings}",
        f"{command} devnet down --state {state}",
    ):
        console.print(f"  {line}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"Done in {result.seconds:.0f} s.")


def _contributors(result: DemoResult) -> Table:
    table = Table(title=f"Contributors ({result.division})", title_justify="left")
    table.add_column("", justify="right", no_wrap=True, min_width=2)
    table.add_column("behaviour", no_wrap=True)
    for column in ("rows", "ε", "score", "noise", "payout"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("excluded")
    for number, each in enumerate(result.standings, start=1):
        honest = each.behaviour == "honest"
        table.add_row(
            str(number),
            each.behaviour if honest else f"[red]{each.behaviour}[/]",
            f"{each.rows:,}",
            f"{each.epsilon_micro / 1e6:.2f}",
            f"{each.score_pico / 1e12:+.4f}",
            f"{each.threshold_pico / 1e12:.4f}",
            f"{each.payout_wei / COVAL:,.1f}",
            each.excluded,
        )
    table.caption = (
        "ε spent; payout in COVAL, claimed on chain. noise: what pure noise in one's name hardly "
        "ever scores; at or below it nothing is paid, honest or not."
    )
    error = max((each.standard_error_pico for each in result.standings), default=0)
    if error:
        table.caption += f" Scores are sampled: standard error at most {error / 1e12:.2g}."
    return table


def _qualities(result: DemoResult) -> Table:
    table = Table(title="Quality on test rows nobody trained on", title_justify="left")
    table.add_column("model")
    table.add_column("R²", justify="right")
    table.add_column("median error", justify="right")
    for index, each in enumerate(result.qualities):
        style = "bold" if index == 0 else ""
        table.add_row(each.name, f"{each.r2:.3f}", f"{each.mdape:.1%}", style=style)
    table.caption = (
        "Contributor alone and central training: gradient boosted trees on the rows themselves, "
        "the attackers' rows as they were before they cheated."
    )
    table.caption_justify = "left"
    return table


def _provenance(result: DemoResult) -> Table:
    found = result.provenance
    # no frame: a digest has 64 digits, a terminal 80 columns
    table = Table(
        title="The released model",
        title_justify="left",
        show_header=False,
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
    )
    table.add_row("release", str(found.release))
    table.add_row("task", f"number {found.task_id} on chain")
    table.add_row("its digest", found.task_digest)
    table.add_row("model SHA-256", found.model_sha256)
    table.add_row(
        "privacy", f"ε = {found.epsilon_micro / 1e6:.4f} at δ = {found.delta_e12 / 1e12:g}"
    )
    table.add_row("trained by", f"{found.contributors} contributors in {found.rounds} rounds")
    table.add_row("seen on chain", f"block {found.block}")
    table.add_row("one answer", str(result.valuation.get("told", "")))
    return table
