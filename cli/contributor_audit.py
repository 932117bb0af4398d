# SPDX-License-Identifier: Apache-2.0
"""`covalue contributor audit-privacy`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.output import JsonOption, console, emit, guard
from cli.session import ConfigOption, open_contracts, require_task
from dao.errors import InputError
from fl_client.opening import open_vault, read_account

if TYPE_CHECKING:
    from dao.deployment import Contracts
    from fl_client.privacy_audit import Finding, PrivacyAudit
    from fl_client.vault import Vault

CLAIM_REFUTED = 3
_BINS = 48
_BLOCKS = " ▁▂▃▄▅▆▇█"


@guard
def audit_privacy(
    task: Annotated[
        int | None,
        typer.Option(help="The task's number on chain; default the newest one that you joined."),
    ] = None,
    trials: Annotated[
        int,
        typer.Option(
            min=50, help="Updates made with each kind of canary, and without; more are sharper."
        ),
    ] = 4000,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Attack your own vault with canaries: how much epsilon does it spend at the very least?

    Makes thousands of updates as for a coordinator, on a few of your rows with and without
    canaries, and tells the two apart as well as can be. Nothing is sent or charged. Exit code 0:
    nothing contradicts the task's epsilon; 3: it is more, and the mechanism or the task is wrong.
    """
    settings, dao = open_contracts(config)
    vault = open_vault(settings)
    digest = _task_digest(dao, vault, task, read_account(settings.vault.path))
    # torch takes seconds to load
    from fl_client.privacy_audit import audit_vault

    columns = (TextColumn("attacking"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("attacking")
        audit = audit_vault(
            vault,
            digest,
            trials=trials,
            tell=lambda done, of: progress.update(bar, completed=done, total=of),
        )
    result = as_result(audit) | {"task_digest": digest}
    emit(result, as_json=as_json, text=lambda out: tell_audit(out, audit))
    if not audit.holds:
        raise typer.Exit(CLAIM_REFUTED)


def as_result(audit: PrivacyAudit) -> dict[str, object]:
    """The audit as JSON; a noise multiplier that nothing bounds is null."""
    return {
        "holds": audit.holds,
        "claimed_epsilon_micro": audit.claimed_epsilon_micro,
        "proven_epsilon_micro": audit.proven_epsilon_micro,
        "delta_e12": audit.delta_e12,
        "confidence": audit.confidence,
        "seeded": audit.seeded,
        "canary_gradient_over_clip_norm": audit.excess,
        "probes": [
            {
                "round": each.kind,
                "canaries": each.probe.name,
                "units": each.probe.units,
                "rows_per_unit": each.probe.rows,
                "trials": len(each.present),
                "noise_multiplier_claimed": each.sigma,
                "noise_multiplier_at_most": _finite(each.bound.sigma),
                "threshold": each.bound.threshold,
                "false_alarms_at_most": each.bound.false_alarms,
                "misses_at_most": each.bound.misses,
                "holds": each.holds,
            }
            for each in audit.findings
        ],
    }


def tell_audit(out: Console, audit: PrivacyAudit) -> None:
    """The audit in words, with the scores of its sharpest canaries drawn."""

    def line(text: str = "", style: str | None = None) -> None:
        out.print(text, markup=False, soft_wrap=True, style=style)

    sure = f"{audit.confidence:.0%}"
    for finding in audit.findings:
        most = _finite(finding.bound.sigma)
        bound = "nothing shown" if most is None else f"at most {most:.3f}"
        line(
            f"{finding.kind}, {_canaries(finding)}: noise multiplier {finding.sigma:.3f} claimed, "
            f"{bound}",
            style=None if finding.holds else "bold red",
        )
    line()
    for text in picture(audit.sharpest):
        line(text)
    line()
    line(
        f"claimed epsilon {math.ceil(audit.claimed_epsilon_micro / 1e4) / 100:.2f}, proven at "
        f"least {audit.proven_epsilon_micro // 10_000 / 100:.2f} ({sure}) at delta "
        f"{audit.delta_e12 / 1e12:g}",
        style="green" if audit.holds else "bold red",
    )
    if not audit.holds:
        line("the claim does not hold: stop this vault, and compare it with a fresh installation;")
        line("of vaults that are in order one run in twenty at most says so: run it once more")
    if audit.seeded:
        line("the noise of this vault is seeded: whoever knows the seed sees through it")
    line("nothing left this machine, and nothing was charged to the ledger")


def picture(finding: Finding) -> list[str]:
    """Two rows of blocks: how often each score came up without and with the canaries."""
    low = float(min(finding.without.min(), finding.present.min()))
    high = float(max(finding.without.max(), finding.present.max()))
    step = (high - low) / _BINS or 1.0
    labels = ("without canaries", "with " + _canaries(finding))
    called = "called canaries from"
    width = max(len(label) for label in (*labels, called))
    rows = [
        f"{label:>{width}}  {_blocks([int((score - low) / step) for score in scores])}"
        for label, scores in zip(
            labels, (finding.without.tolist(), finding.present.tolist()), strict=True
        )
    ]
    mark = min(max(int((finding.bound.threshold - low) / step), 0), _BINS - 1)
    return [*rows, f"{called:>{width}}  {' ' * mark}^"]


def _blocks(bins: Sequence[int]) -> str:
    counts = [0] * _BINS
    for each in bins:
        counts[min(each, _BINS - 1)] += 1
    top = max(counts)
    return "".join(_BLOCKS[math.ceil((len(_BLOCKS) - 1) * count / top)] for count in counts)


def _canaries(finding: Finding) -> str:
    units, rows = finding.probe.units, finding.probe.rows
    return f"{units} unit{'s' if units > 1 else ''} of {rows} row{'s' if rows > 1 else ''}"


def _finite(sigma: float) -> float | None:
    return sigma if math.isfinite(sigma) else None


def _task_digest(dao: Contracts, vault: Vault, task: int | None, account: str) -> str:
    """The named task's, or that of the newest open one joined, or the ledger's newest."""
    if task is None:
        joined = dao.registry.open_tasks_of(account)
        task = max(joined, default=None)
    if task is not None:
        return require_task(dao, task).task_digest
    known = list(vault.ledger_state().tasks)
    if not known:
        raise InputError(
            "you joined no task, so there is no claimed epsilon to hold the vault to",
            hint="name one: covalue contributor audit-privacy --task N",
        )
    return known[-1]
