# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: the stretch's record, the roster's co-signatures, one transaction.

Below the quorum nothing is committed. The chain is looked at first, so repeating is harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from flwr.app import Message
from flwr.serverapp import Grid

from dao import bls
from dao.contracts.task_types import ChainCheckpoint
from dao.errors import ChainError
from dao.messages import checkpoint_message
from dao.records import Checkpoint
from fl_server.asking import Question, QuorumError
from fl_server.context import CoordinatorContext
from fl_server.publish import PublishedRound
from fl_server.wire import COSIGN, cosign_content, read_cosignature


def checkpoint_bounds(*, index: int, length: int, rounds: int) -> tuple[int, int]:
    """(first round, last round) of a checkpoint, counted from 1; the last one may be shorter."""
    first = index * length + 1
    return first, min(first + length - 1, rounds)


def build_checkpoint(
    context: CoordinatorContext, stretch: Sequence[PublishedRound], *, index: int
) -> Checkpoint:
    """The record of a stretch; its digest is what the roster signs and the chain keeps."""
    records = [each.signed.record for each in stretch]
    return Checkpoint(
        kind="covalue.checkpoint/1",
        chain_id=context.chain.chain_id,
        ledger=context.ledger.address,
        task_id=context.task_id,
        task_digest=context.task_digest,
        index=index,
        first_round=records[0].position.round,
        last_round=records[-1].position.round,
        records=tuple(each.record_ref for each in stretch),
        record_digests=tuple(record.digest() for record in records),
        model=records[-1].model,
    )


def commit_checkpoint(
    grid: Grid, context: CoordinatorContext, stretch: Sequence[PublishedRound], *, index: int
) -> None:
    """Publish, have it co-signed, commit. Nothing to do where the chain has it already.

    QuorumError below the quorum; ChainError where the chain has another one in its place.
    """
    record = build_checkpoint(context, stretch, index=index)
    context.store.pin(context.store.put(record.canonical()).cid)
    on_chain = ChainCheckpoint(
        index=index,
        first_round=record.first_round,
        last_round=record.last_round,
        records_root=record.digest(),
        model_digest=record.model.sha256,
    )
    if context.ledger.task_of(context.task_id).checkpoint_count > index:
        committed = context.ledger.checkpoint_of(context.task_id, index)
        if committed != on_chain:
            raise ChainError(
                f"checkpoint {index} on chain has root {committed.records_root}, "
                f"this journal leads to {record.digest()}",
                hint="this coordinator's journal is not the one that ran the task",
            )
        return
    signers, signature = collect_signatures(
        grid,
        context,
        kind="checkpoint",
        record=record.digest(),
        message=checkpoint_message(
            chain_id=record.chain_id,
            ledger=record.ledger,
            task_id=record.task_id,
            task_digest=record.task_digest,
            index=index,
            first_round=record.first_round,
            last_round=record.last_round,
            records_root=record.digest(),
            model_digest=record.model.sha256,
        ),
    )
    call = context.ledger.commit_checkpoint(
        context.task_id, on_chain, signers=signers, signature=signature
    )
    outcome = context.chain.send(call, context.account)
    context.tell(
        "checkpoint",
        record.last_round,
        index=index,
        root=record.digest(),
        signers=signers.bit_count(),
        gas=outcome.gas,
        transaction=outcome.transaction,
    )


def collect_signatures(
    grid: Grid,
    context: CoordinatorContext,
    *,
    kind: Literal["checkpoint", "final"],
    record: str,
    message: bytes,
) -> tuple[int, bytes]:
    """Ask the roster to co-sign; (bitmap of signers, aggregate signature of 256 bytes).

    Each signature is verified alone before it is added: one bad one would spoil the aggregate.
    """
    keys = {member.address: member.bls_public_key for member in context.roster}

    def take(reply: Message, owner: str | None) -> tuple[str, bytes] | None:
        cosignature = read_cosignature(reply)
        if cosignature is None or cosignature.account not in keys:
            return None
        if owner is not None and owner != cosignature.account:
            return None
        if not bls.verify(keys[cosignature.account], message, cosignature.signature):
            return None
        return cosignature.account, cosignature.signature

    question: Question[bytes] = Question(
        grid,
        context,
        message_type=COSIGN,
        content=cosign_content(
            task_id=context.task_id, task_digest=context.task_digest, kind=kind, record=record
        ),
        group=f"{kind} {record[:8]}",
        take=take,
    )
    answers = question.ask(seconds=context.timing.cosign)
    context.tell("cosigned", 0, what=kind, signed=len(answers.replies), refusals=answers.refusals)
    if len(answers.replies) < context.quorum:
        raise QuorumError(
            f"{len(answers.replies)} of {len(context.roster)} co-signed the {kind}, "
            f"{context.quorum} are needed; refusals: {answers.refusals or 'none'}",
            hint="nothing was committed; resume when more contributors are online",
        )
    bitmap, signatures = 0, []
    for place, member in enumerate(context.roster):
        if member.address in answers.replies:
            bitmap |= 1 << place
            signatures.append(answers.replies[member.address])
    return bitmap, bls.to_eip2537_g2(bls.aggregate(signatures))
