# SPDX-License-Identifier: Apache-2.0
"""Recomputing what came of a task: scores and payouts, what the chain paid, what it released."""

from __future__ import annotations

from audit.chain_state import TaskOnChain
from audit.checks import Checks, equal
from audit.published import opened_parts, read_blob, read_report
from audit.report import AuditReport
from dao.contracts.task_types import FinalReport, TaskState
from dao.errors import ReplayMismatch
from dao.records import ScoreReport, Task
from dao.store import Store
from rounds.report import ReportInput, check_report
from rounds.stretch import ScoredRound
from valuation.family import Family


def audit_result(
    checks: Checks,
    report: AuditReport,
    chain: TaskOnChain,
    final: FinalReport,
    store: Store,
    *,
    task: Task,
    family: Family,
    stretches: list[tuple[ScoredRound, ...]],
) -> None:
    """Check the score report against the rounds and the opened parts, and the chain against it."""
    with checks.of("score report, record"):
        recorded = read_report(store, final.score_digest)
    with checks.of("validation parts"):
        _named_parts(chain, recorded, store)
        parts = opened_parts(store, chain.opened)
    with checks.of("score report"):
        check_report(
            recorded,
            ReportInput(
                task=task,
                place=chain.place,
                roster=tuple(member.address for member in chain.roster),
                family=family,
                stretches=tuple(stretches),
                blocks=chain.seed_blocks,
                parts=parts,
                model=stretches[-1][-1].record.model,
                state=stretches[-1][-1].model,
            ),
        )
    report.card = recorded.card
    with checks.of("final report on chain"):
        on_chain = {
            "payout_root": final.payout_root,
            "payout_total_wei": final.payout_total_wei,
            "share_root": final.share_root,
        }
        for name, value in on_chain.items():
            equal(name, on_chain=value, recomputed=getattr(recorded, name))
        equal(
            "epsilon_micro",
            on_chain=final.epsilon_micro,
            recomputed=max((each.epsilon_micro for each in recorded.results), default=0),
        )
    _money(checks, chain, final)
    _releases(checks, chain, final)


def _named_parts(chain: TaskOnChain, recorded: ScoreReport, store: Store) -> None:
    """A part that the report counts and that cannot be had now is withheld: to leave it out would
    give other scores and blame the report."""
    opened = {(each.part, each.part_digest, each.part_cid) for each in chain.opened}
    for part in recorded.parts:
        if (part.index, part.rows.sha256, part.rows.cid) in opened:
            read_blob(store, part.rows, place=f"validation part {part.index}")


def _money(checks: Checks, chain: TaskOnChain, final: FinalReport) -> None:
    with checks.of("claims"):
        if chain.task.state is TaskState.FINALISED:
            equal("funded root", on_chain=chain.payout_root, recomputed=final.payout_root)
            equal("funded total", on_chain=chain.funded_wei, recomputed=final.payout_total_wei)
        if chain.claimed_wei > chain.funded_wei or chain.funded_wei > chain.terms.budget_wei:
            raise ReplayMismatch(
                place="claims",
                recorded=f"{chain.claimed_wei} claimed of {chain.funded_wei} funded",
                recomputed=f"claimed <= funded <= budget {chain.terms.budget_wei}",
            )


def _releases(checks: Checks, chain: TaskOnChain, final: FinalReport) -> None:
    for release in chain.releases:
        with checks.of(f"release {release.number}"):
            equal(
                "model digest",
                on_chain=release.model_digest,
                recomputed=chain.task.model_digest,
            )
            equal("share root", on_chain=release.share_root, recomputed=final.share_root)
