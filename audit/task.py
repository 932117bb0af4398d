# SPDX-License-Identifier: Apache-2.0
"""Auditing a task from the chain and the store alone.

Nothing of the coordinator is asked or trusted. Every record, update and model is fetched by the
digests that stand on chain, every round is closed again, scores, payouts, shares and epsilons are
recomputed, and each digest is compared.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from audit.chain_state import TaskOnChain, read_chain
from audit.checks import Checks, Failed, Progress, Tell, equal
from audit.kept_file import KeptFile
from audit.kept_rounds import kept_name
from audit.published import naming, read_blob, read_task
from audit.report import AuditReport
from audit.result import audit_result
from audit.training import StaleRounds, Training
from dao.cid import of_digest
from dao.deployment import Contracts
from dao.errors import MissingBlobError, RecordError, ReplayMismatch
from dao.records import Task
from dao.store import Store
from dao.task_terms import terms_problems
from privacy.accounting import policy_epsilon_micro, states_enough
from valuation.family import Family
from valuation.loading import load_family


def _say_nothing(progress: Progress) -> None:
    return None


def audit_task(
    dao: Contracts,
    store: Store,
    task_id: int,
    *,
    allow_seeded: bool = False,
    tell: Tell = _say_nothing,
    keep_in: Path | None = None,
    optional: Store | None = None,
) -> AuditReport:
    """Audit one task as of the latest block. Its time grows with rounds times contributors.

    Args:
        store: where content is read; every block is verified against its CID.
        allow_seeded: accept noise from a fixed seed (simulations and tests).
        tell: told what is looked at, and each round that is checked.
        keep_in: a folder of this user alone, in which recomputed rounds are kept after each
            checkpoint, so that an audit that was interrupted, or that found something withheld,
            goes on from there. It is cleared once the result of the task has passed.
        optional: where content is read of which nothing depends; `store` unless given.

    Differences do not raise: the report's first failure names the place. ChainError does, when the
    endpoint fails.
    """
    chain = read_chain(dao, task_id)
    kept = None
    if keep_in is not None:
        kept = KeptFile(keep_in, kept_name(chain, allow_seeded=allow_seeded))

    def audited(kept: KeptFile | None) -> AuditReport:
        report = AuditReport(task_id=task_id, block=chain.block)
        checks = Checks(report, rounds=chain.task.last_round, tell=tell)
        with suppress(Failed):  # the failed check stands in the report
            task, family = _audit_task_record(checks, chain, store, optional or store)
            training = Training(chain, store, task, family, allow_seeded=allow_seeded, kept=kept)
            stretches = training.audit(checks, report)
            if chain.final is not None:
                audit_result(
                    checks,
                    report,
                    chain,
                    chain.final,
                    store,
                    task=task,
                    family=family,
                    stretches=stretches,
                )
        return report

    try:
        report = audited(kept)
    except StaleRounds:
        assert kept is not None
        kept.remove()
        report = audited(kept)
    if kept is not None and report.ok and chain.final is not None:
        kept.remove()
    return report


def _audit_task_record(
    checks: Checks, chain: TaskOnChain, store: Store, optional: Store
) -> tuple[Task, Family]:
    """The task against the terms on chain, its epsilon, and the bytes that it names."""
    with checks.of("task record"):
        task = read_task(store, chain.task.task_digest)
    with checks.of("task terms"):
        problems = terms_problems(task, of_digest(chain.task.task_digest), chain.terms)
        if problems:
            raise RecordError("; ".join(problems))
        equal("rounds", on_chain=chain.terms.rounds, recomputed=task.total_rounds)
    with checks.of("task epsilon"):
        if not states_enough(task.policy):
            raise ReplayMismatch(
                place="policy.epsilon_micro",
                recorded=str(task.policy.epsilon_micro),
                recomputed=f"at least {policy_epsilon_micro(task.policy)}",
            )
    with checks.of("task set-up"):
        setup = read_blob(store, task.model.setup, place="set-up")
        with naming("set-up"):
            family = load_family(task, setup)
    if task.public_rows is not None:
        with checks.of("task public rows"):
            read_blob(store, task.public_rows, place="public rows")
    with checks.of("SuperNode keys"):
        _node_keys(chain, optional)
    return task, family


def _node_keys(chain: TaskOnChain, store: Store) -> None:
    """Those that contributors published; nothing in the record depends on them."""
    for member, digest in zip(chain.roster, chain.node_keys, strict=True):
        with naming(f"SuperNode key of {member.address}"), suppress(MissingBlobError):
            store.get(of_digest(digest))
