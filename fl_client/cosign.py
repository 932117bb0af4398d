# SPDX-License-Identifier: Apache-2.0
"""Co-signing: a vault signs a checkpoint, or the result, only after it has recomputed it.

It fetches everything by digest from its own store (which reads through to the coordinator's and
verifies each block), replays every round from the last one it trusts, and finds its own receipts
in the records, byte for byte. What it fetched it keeps: a contributor holds all blobs of its tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from audit.published import read_records
from dao import bls
from dao.cid import blob_ref, of_digest
from dao.errors import MissingBlobError, RecordError, StoreError, UnreadableBlobError
from dao.messages import checkpoint_message, final_message, recover_round_record_signer
from dao.records import (
    Checkpoint,
    OpenedPart,
    RoundRecord,
    ScoreReport,
    SignedRoundRecord,
    Task,
)
from dao.store import Store
from fl_client.approval import TaskOnChain, require_approved
from fl_client.own_answers import OwnAnswers
from fl_client.refusals import Code, Refused
from fl_client.vault import Vault
from fl_client.wire import CosignRequest
from rounds.replay import ReplayInput, ReplayPoint, decided_without_bytes, replay_round
from rounds.report import ReportInput, check_report
from rounds.stretch import ScoredRound
from valuation.family import Family


@dataclass(frozen=True)
class Replayed:
    """A task as this vault has recomputed it: the point after its last round, and every round
    with the bytes that its scores follow from."""

    point: ReplayPoint
    rounds: tuple[ScoredRound, ...]

    @property
    def records(self) -> tuple[RoundRecord, ...]:
        """Every record, from round 1."""
        return tuple(each.record for each in self.rounds)


class Content(Mapping[str, bytes]):
    """Blobs by SHA-256, fetched from a store when asked for and kept there."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cids: dict[str, str] = {}
        self._recent: dict[str, bytes] = {}

    def forget(self) -> None:
        """Let go of the bytes held in memory; they stay in the store."""
        self._recent.clear()

    def learn(self, record: RoundRecord) -> None:
        """Note where the blobs lie that a record names."""
        excluded = (
            each.receipt
            for each in record.exclusions
            if each.receipt is not None and not decided_without_bytes(each)
        )
        receipts = (*record.receipts, *excluded)
        for reference in (
            *(receipt.body.update for receipt in receipts),
            record.base_model,
            record.model,
        ):
            self._cids[reference.sha256] = reference.cid

    def __getitem__(self, sha256: str) -> bytes:
        if sha256 not in self._recent:
            self._recent[sha256] = self._store.get(self._cids[sha256])
            self._store.pin(self._cids[sha256])
        return self._recent[sha256]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cids)

    def __len__(self) -> int:
        return len(self._cids)


def cosign(vault: Vault, request: CosignRequest) -> bytes:
    """BLS signature (96 bytes) of what the request names, after recomputing it.

    Refused (not-approved, mismatch, ledger) or another CovalueError where anything is amiss.
    """
    states = ("Running",) if request.kind == "checkpoint" else ("Revealing",)
    on_chain = require_approved(
        vault.chain,
        task_id=request.task_id,
        task_digest=request.task_digest,
        account=vault.config.account,
        public_key=vault.public_key,
        states=states,
    )
    task, family = vault.task(request.task_digest)
    work = _Replay(vault, on_chain, task, family)
    if request.kind == "checkpoint":
        return vault.sign(_checked_checkpoint(work, request))
    return vault.sign(_checked_final(work, request))


class _Replay:
    """One co-signature's work on a task."""

    def __init__(self, vault: Vault, on_chain: TaskOnChain, task: Task, family: Family) -> None:
        self.vault = vault
        self.on_chain = on_chain
        self.task = task
        self.family = family
        self.store = vault.store
        self.content = Content(vault.store)
        self.own = OwnAnswers(vault, on_chain.task_digest)
        self.place = on_chain.position(0)

    def start(self) -> Replayed:
        """Before round 1, or after what this process has replayed of the task already."""
        known = self.vault.replayed.get(self.on_chain.task_digest)
        if isinstance(known, Replayed):
            return known
        initial = self.store.get(self.task.model.initial.cid)
        point = ReplayPoint.start(self.task, self.on_chain.roster, initial_state=initial)
        return Replayed(point=point, rounds=())

    def through(self, done: Replayed, checkpoint: Checkpoint) -> Replayed:
        """Replay a checkpoint's rounds; ReplayMismatch names the place that differs."""
        signed_records = self._signed_records(checkpoint)
        known = [each.digest() for each in done.records[checkpoint.first_round - 1 :]]
        if known:
            if known[: len(checkpoint.record_digests)] != list(checkpoint.record_digests):
                raise Refused(
                    Code.MISMATCH,
                    f"rounds {checkpoint.first_round} to {checkpoint.last_round}: other records "
                    "than this vault was shown before",
                    hint="both are in your store, and two signed records for one round cost the "
                    f"coordinator its bond: covalue contributor prove-equivocation "
                    f"{self.on_chain.task_id}",
                )
            self.own.check_receipts(done.records[checkpoint.first_round - 1 :])
            return done
        given = ReplayInput(
            task=self.task,
            place=self.place,
            roster=self.on_chain.roster,
            family=self.family,
            content=self.content,
            verify=bls.verify,
            verify_many=bls.verify_many,
            ref=blob_ref,
            coordinator_signed=self._coordinator_signed,
            allow_seeded=self.vault.config.floor.allow_seeded_noise,
        )
        point, rounds = done.point, list(done.rounds)
        for signed in signed_records:
            self.content.learn(signed.record)
            point = replay_round(given, point, signed)
            rounds.append(ScoredRound.read(signed.record, self.content))
            self.content.forget()
        replayed = Replayed(point=point, rounds=tuple(rounds))
        self.own.check_receipts(replayed.records[checkpoint.first_round - 1 :])
        self.vault.replayed[self.on_chain.task_digest] = replayed
        return replayed

    def checkpoints_on_chain(self) -> list[Checkpoint]:
        """The records of all committed checkpoints, in order."""
        return [
            self.checkpoint(self.vault.chain.checkpoint_root(self.on_chain.task_id, index))
            for index in range(self.on_chain.checkpoint_count)
        ]

    def checkpoint(self, digest: str) -> Checkpoint:
        """A checkpoint record by its digest; it must be of this task and of whole form."""
        data = self.store.get(of_digest(digest))
        self.store.pin(of_digest(digest))
        record = Checkpoint.parse(data)
        if record.digest() != digest or (
            record.chain_id,
            record.ledger,
            record.task_id,
            record.task_digest,
        ) != (self.place.chain_id, self.place.ledger, self.place.task_id, self.place.task_digest):
            raise Refused(Code.MISMATCH, f"checkpoint {digest} is of another task")
        return record

    def _signed_records(self, checkpoint: Checkpoint) -> tuple[SignedRoundRecord, ...]:
        """What the checkpoint links to, also where its rounds were replayed before: an auditor
        will have nothing but these links."""
        try:
            records = read_records(self.store, checkpoint)
        except MissingBlobError:
            raise
        except (RecordError, StoreError) as error:
            raise Refused(Code.MISMATCH, error.message, hint=error.hint) from error
        for reference, signed in zip(checkpoint.records, records, strict=True):
            self.store.pin(reference.cid)
            if not self._coordinator_signed(signed):
                raise Refused(
                    Code.MISMATCH, f"record {reference.cid} is not signed by the coordinator"
                )
        return records

    def _coordinator_signed(self, signed: SignedRoundRecord) -> bool:
        try:
            signer = recover_round_record_signer(
                self.place.model_copy(update={"round": signed.record.position.round}),
                signed.record.digest(),
                bytes.fromhex(signed.signature[2:]),
            )
        except RecordError:
            return False
        return signer == self.on_chain.coordinator


def _checked_checkpoint(work: _Replay, request: CosignRequest) -> bytes:
    """Replay up to the requested checkpoint; the 32 bytes to sign."""
    done = work.start()
    for earlier in work.checkpoints_on_chain():
        done = work.through(done, earlier)
    record = work.checkpoint(request.record)
    _expect_next(work, record)
    done = work.through(done, record)
    tail = done.records[record.first_round - 1 : record.last_round]
    if [each.digest() for each in tail] != list(record.record_digests):
        raise Refused(Code.MISMATCH, "the checkpoint names other records than were replayed")
    work.own.refuse_if_left_out(tail)
    if record.model != done.records[record.last_round - 1].model:
        raise Refused(Code.MISMATCH, "the checkpoint's model is not that of its last record")
    return checkpoint_message(
        chain_id=record.chain_id,
        ledger=record.ledger,
        task_id=record.task_id,
        task_digest=record.task_digest,
        index=record.index,
        first_round=record.first_round,
        last_round=record.last_round,
        records_root=record.digest(),
        model_digest=record.model.sha256,
    )


def _expect_next(work: _Replay, record: Checkpoint) -> None:
    length = work.task.terms.checkpoint_length
    first = work.on_chain.last_round + 1
    last = min(first + length - 1, work.task.total_rounds)
    if (record.index, record.first_round, record.last_round) != (
        work.on_chain.checkpoint_count,
        first,
        last,
    ):
        raise Refused(
            Code.MISMATCH,
            f"checkpoint {record.index} (rounds {record.first_round} to {record.last_round}) is "
            f"not next; expected rounds {first} to {last}",
        )


def _checked_final(work: _Replay, request: CosignRequest) -> bytes:
    """Recompute scores and payouts from the committed records; the 32 bytes to sign."""
    if work.on_chain.parts_opened < len(work.task.parts) and not work.on_chain.reveal_over:
        raise Refused(
            Code.UNAVAILABLE,
            "validation parts can still be opened: a result signed now could leave them out",
            hint="the coordinator asks again; nothing is to be done",
        )
    report = ScoreReport.parse(work.store.get(of_digest(request.record)))
    work.store.pin(of_digest(request.record))
    checkpoints = work.checkpoints_on_chain()
    blocks = work.vault.chain.seed_blocks(work.on_chain.task_id, checkpoints=len(checkpoints))
    if len(blocks) < len(checkpoints):
        raise Refused(
            Code.UNAVAILABLE,
            f"the block after checkpoint {len(blocks)}, which seeds its scores, is not final yet",
            hint="the coordinator asks again; nothing is to be done",
        )
    done = work.start()
    for checkpoint in checkpoints:
        done = work.through(done, checkpoint)
    work.own.refuse_if_left_out(done.records)
    check_report(
        report,
        ReportInput(
            task=work.task,
            place=work.place,
            roster=tuple(member.address for member in work.on_chain.roster),
            family=work.family,
            stretches=tuple(
                done.rounds[each.first_round - 1 : each.last_round] for each in checkpoints
            ),
            blocks=blocks,
            parts=_checked_parts(work, report),
            model=done.point.model,
            state=done.point.model_bytes,
        ),
    )
    return final_message(
        chain_id=work.place.chain_id,
        ledger=work.place.ledger,
        task_id=work.place.task_id,
        task_digest=work.place.task_digest,
        model_digest=done.point.model.sha256,
        score_digest=request.record,
        payout_root=report.payout_root,
        payout_total_wei=report.payout_total_wei,
        share_root=report.share_root,
        epsilon_micro=max((each.epsilon_micro for each in report.results), default=0),
    )


def _checked_parts(work: _Replay, report: ScoreReport) -> tuple[tuple[OpenedPart, bytes], ...]:
    """Every part that the chain shows as opened, if its bytes can be had; the report's must be
    among them."""
    parts = []
    for part in work.vault.chain.opened_parts(work.on_chain.task_id):
        listed = any(each.index == part.index for each in report.parts)
        try:
            data = work.store.get(part.cid)
        except UnreadableBlobError:
            continue
        except MissingBlobError:
            if listed:
                raise
            continue
        work.store.pin(part.cid)
        reference = blob_ref(data)
        if reference.sha256 == part.sha256:
            parts.append((OpenedPart(index=part.index, salt=part.salt, rows=reference), data))
    return tuple(parts)
