# SPDX-License-Identifier: Apache-2.0
"""Auditing a task from the chain and the store alone.

Nothing of the coordinator is asked or trusted. Every record, update and model is fetched by the
digests that stand on chain, every round is closed again, scores, payouts, shares and epsilons are
recomputed, and each digest is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from audit.chain_state import TaskOnChain, read_chain
from audit.published import (
    PublishedContent,
    naming,
    opened_parts,
    read_blob,
    read_checkpoint,
    read_records,
    read_report,
    read_task,
    scored_rounds,
)
from audit.report import AuditReport, Check
from dao import bls
from dao.cid import blob_ref, of_digest
from dao.contracts.task_types import TaskState
from dao.deployment import Contracts
from dao.errors import MissingBlobError, RecordError, ReplayMismatch, StoreError
from dao.messages import recover_round_record_signer
from dao.records import Checkpoint, SignedRoundRecord, Task
from dao.store import Store
from dao.task_terms import terms_problems
from privacy.accounting import policy_epsilon_micro, states_enough
from rounds.replay import ReplayInput, ReplayPoint, replay_round
from rounds.report import ReportInput, check_report
from rounds.stretch import ScoredRound
from valuation.family import Family
from valuation.loading import load_family

Progress = Callable[[str], None]


def audit_task(
    dao: Contracts,
    store: Store,
    task_id: int,
    *,
    allow_seeded: bool = False,
    progress: Progress = lambda place: None,
) -> AuditReport:
    """Audit one task as of the latest block.

    Args:
        store: where content is read; every block is verified against its CID.
        allow_seeded: accept noise from a fixed seed (simulations and tests).
        progress: told each place before it is checked.

    Differences do not raise: the report's first failure names the place. ChainError does, when the
    endpoint fails.
    """
    chain = read_chain(dao, task_id)
    report = AuditReport(task_id=task_id, block=chain.block)
    audit = _Audit(chain, store, report, allow_seeded=allow_seeded, progress=progress)
    with suppress(_Failed):  # the failed check stands in the report
        audit.run()
    return report


class _Failed(Exception):
    """A check failed; it stands in the report."""


class _Audit:
    def __init__(
        self,
        chain: TaskOnChain,
        store: Store,
        report: AuditReport,
        *,
        allow_seeded: bool,
        progress: Progress,
    ) -> None:
        self._chain = chain
        self._store = store
        self._report = report
        self._allow_seeded = allow_seeded
        self._progress = progress
        self._content = PublishedContent(store)

    def run(self) -> None:
        task, family = self._task()
        stretches = self._training(task, family)
        if self._chain.final is not None:
            self._result(task, family, stretches)
            self._money()
            self._releases()

    @contextmanager
    def _check(self, place: str) -> Iterator[None]:
        """A failing or passing check of this place."""
        self._progress(place)
        try:
            yield
        except ReplayMismatch as error:
            self._fail(place, error.message)
        except (StoreError, RecordError) as error:
            self._fail(place, error.message)
        else:
            self._report.checks.append(Check(place=place, ok=True, detail=""))

    def _fail(self, place: str, detail: str) -> None:
        self._report.checks.append(Check(place=place, ok=False, detail=detail))
        raise _Failed(place)

    def _equal(self, place: str, *, on_chain: object, recomputed: object) -> None:
        if on_chain != recomputed:
            raise ReplayMismatch(
                place=place, recorded=f"{on_chain} (on chain)", recomputed=str(recomputed)
            )

    # --- the task -----------------------------------------------------------------------

    def _task(self) -> tuple[Task, Family]:
        chain = self._chain
        with self._check("task record"):
            task = read_task(self._store, chain.task.task_digest)
        with self._check("task terms"):
            problems = terms_problems(task, of_digest(chain.task.task_digest), chain.terms)
            if problems:
                raise RecordError("; ".join(problems))
            self._equal("rounds", on_chain=chain.terms.rounds, recomputed=task.total_rounds)
        with self._check("task epsilon"):
            if not states_enough(task.policy):
                raise ReplayMismatch(
                    place="policy.epsilon_micro",
                    recorded=str(task.policy.epsilon_micro),
                    recomputed=f"at least {policy_epsilon_micro(task.policy)}",
                )
        with self._check("task set-up"):
            setup = read_blob(self._store, task.model.setup, place="set-up")
            with naming("set-up"):
                family = load_family(task, setup)
        if task.public_rows is not None:
            with self._check("task public rows"):
                read_blob(self._store, task.public_rows, place="public rows")
        with self._check("SuperNode keys"):
            self._node_keys()
        return task, family

    def _node_keys(self) -> None:
        """Those that contributors published; nothing in the record depends on them."""
        for member, digest in zip(self._chain.roster, self._chain.node_keys, strict=True):
            with naming(f"SuperNode key of {member.address}"), suppress(MissingBlobError):
                self._store.get(of_digest(digest))

    # --- the rounds ---------------------------------------------------------------------

    def _training(self, task: Task, family: Family) -> list[tuple[ScoredRound, ...]]:
        chain = self._chain
        if not chain.checkpoints:
            return []
        with self._check("initial model"):
            initial = read_blob(self._store, task.model.initial, place="initial model")
            point = ReplayPoint.start(task, chain.roster, initial_state=initial)
        given = ReplayInput(
            task=task,
            place=chain.place,
            roster=chain.roster,
            family=family,
            content=self._content,
            verify=bls.verify,
            verify_many=bls.verify_many,
            ref=blob_ref,
            coordinator_signed=self._coordinator_signed,
            allow_seeded=self._allow_seeded,
        )
        stretches = []
        for committed in chain.checkpoints:
            place = f"checkpoint {committed.index}"
            with self._check(f"{place}, record"):
                checkpoint = read_checkpoint(
                    self._store, committed.records_root, index=committed.index
                )
                self._checkpoint_fields(checkpoint, committed.index)
                records = read_records(self._store, checkpoint)
            for signed in records:
                number = signed.record.position.round
                with self._check(f"round {number}"):
                    self._content.learn(signed.record)
                    point = replay_round(given, point, signed)
            with self._check(f"{place}, model"):
                self._equal(
                    f"{place}, model",
                    on_chain=committed.model_digest,
                    recomputed=point.model.sha256,
                )
                if checkpoint.model != point.model:
                    raise ReplayMismatch(
                        place=f"{place}, record, model",
                        recorded=checkpoint.model.cid,
                        recomputed=point.model.cid,
                    )
                stretches.append(scored_rounds(records, self._content))
        with self._check("last model"):
            self._equal(
                "model digest", on_chain=chain.task.model_digest, recomputed=point.model.sha256
            )
        return stretches

    def _checkpoint_fields(self, checkpoint: Checkpoint, index: int) -> None:
        chain, committed = self._chain, self._chain.checkpoints[index]
        expected = {
            "chain_id": chain.chain_id,
            "ledger": chain.ledger,
            "task_id": chain.task_id,
            "task_digest": chain.task.task_digest,
            "index": index,
            "first_round": committed.first_round,
            "last_round": committed.last_round,
        }
        for name, value in expected.items():
            self._equal(
                f"checkpoint {index}, {name}", on_chain=value, recomputed=getattr(checkpoint, name)
            )

    def _coordinator_signed(self, signed: SignedRoundRecord) -> bool:
        signer = recover_round_record_signer(
            signed.record.position,
            signed.record.digest(),
            bytes.fromhex(signed.signature.removeprefix("0x")),
        )
        return signer == self._chain.terms.coordinator.lower()

    # --- the result ---------------------------------------------------------------------

    def _result(self, task: Task, family: Family, stretches: list[tuple[ScoredRound, ...]]) -> None:
        final = self._chain.final
        assert final is not None
        with self._check("score report, record"):
            report = read_report(self._store, final.score_digest)
        with self._check("validation parts"):
            parts = opened_parts(self._store, self._chain.opened)
        with self._check("score report"):
            check_report(
                report,
                ReportInput(
                    task=task,
                    place=self._chain.place,
                    roster=tuple(member.address for member in self._chain.roster),
                    family=family,
                    stretches=tuple(stretches),
                    parts=parts,
                    model=stretches[-1][-1].record.model,
                    state=stretches[-1][-1].model,
                ),
            )
        self._report.card = report.card
        with self._check("final report on chain"):
            on_chain = {
                "payout_root": final.payout_root,
                "payout_total_wei": final.payout_total_wei,
                "share_root": final.share_root,
            }
            for name, value in on_chain.items():
                self._equal(name, on_chain=value, recomputed=getattr(report, name))
            self._equal(
                "epsilon_micro",
                on_chain=final.epsilon_micro,
                recomputed=max((each.epsilon_micro for each in report.results), default=0),
            )

    def _money(self) -> None:
        chain, final = self._chain, self._chain.final
        assert final is not None
        with self._check("claims"):
            if chain.task.state is TaskState.FINALISED:
                self._equal("funded root", on_chain=chain.payout_root, recomputed=final.payout_root)
                self._equal(
                    "funded total", on_chain=chain.funded_wei, recomputed=final.payout_total_wei
                )
            if chain.claimed_wei > chain.funded_wei or chain.funded_wei > chain.terms.budget_wei:
                raise ReplayMismatch(
                    place="claims",
                    recorded=f"{chain.claimed_wei} claimed of {chain.funded_wei} funded",
                    recomputed=f"claimed <= funded <= budget {chain.terms.budget_wei}",
                )

    def _releases(self) -> None:
        final = self._chain.final
        assert final is not None
        for release in self._chain.releases:
            with self._check(f"release {release.number}"):
                self._equal(
                    "model digest",
                    on_chain=release.model_digest,
                    recomputed=self._chain.task.model_digest,
                )
                self._equal("share root", on_chain=release.share_root, recomputed=final.share_root)
