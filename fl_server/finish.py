# SPDX-License-Identifier: Apache-2.0
"""After the last round: wait for the sealed parts, score, have the result co-signed, close.

`finalise` pays out after the challenge window; anyone may do it, the coordinator does it as a
service.
"""

from __future__ import annotations

import time

from flwr.serverapp import Grid

from dao.chain import Call
from dao.contracts.task_types import ChainTask, FinalReport, TaskState
from dao.deploy import DEV_CHAIN_IDS
from dao.errors import ChainError, MissingBlobError, UnreadableBlobError
from dao.messages import final_message
from dao.records import OpenedPart, RoundRecord, ScoreReport, SeedBlock
from dao.seed_blocks import final_block, seed_blocks
from fl_server.checkpoint import checkpoint_bounds, collect_signatures
from fl_server.context import CoordinatorContext
from fl_server.publish import StoreContent
from fl_server.rounds_loop import TrainingPoint
from rounds.report import ReportInput, make_report
from rounds.stretch import ScoredRound


def finish_task(grid: Grid, context: CoordinatorContext, point: TrainingPoint) -> None:
    """From Revealing to Closed; nothing to do where the task is closed already."""
    if context.ledger.task_of(context.task_id).state >= TaskState.CLOSED:
        return
    _await_parts(context)
    blocks = _await_seed_blocks(context)
    report = _fixed_report(context, point, blocks)
    digest = report.digest()
    final = FinalReport(
        score_digest=digest,
        score_cid=context.store.put(report.canonical()).cid,
        payout_root=report.payout_root,
        payout_total_wei=report.payout_total_wei,
        share_root=report.share_root,
        epsilon_micro=max((each.epsilon_micro for each in report.results), default=0),
    )
    context.store.pin(final.score_cid)
    context.tell(
        "scored",
        context.task.total_rounds,
        judged_on=report.judged_on,
        payout_total_wei=str(report.payout_total_wei),
        r2_micro=report.card.studies[0].r2_micro if report.card.studies else None,
    )
    message = final_message(
        chain_id=context.chain.chain_id,
        ledger=context.ledger.address,
        task_id=context.task_id,
        task_digest=context.task_digest,
        model_digest=point.model.sha256,
        score_digest=digest,
        payout_root=report.payout_root,
        payout_total_wei=report.payout_total_wei,
        share_root=report.share_root,
        epsilon_micro=final.epsilon_micro,
    )
    signers, signature = collect_signatures(
        grid, context, kind="final", record=digest, message=message
    )
    call = context.ledger.close(context.task_id, final, signers=signers, signature=signature)
    outcome = context.chain.send(call, context.account)
    context.tell(
        "closed",
        context.task.total_rounds,
        signers=signers.bit_count(),
        gas=outcome.gas,
        transaction=outcome.transaction,
    )


def finalise_task(context: CoordinatorContext) -> bool:
    """Finalise if the challenge window is over; whether the task is final now."""
    task = context.ledger.task_of(context.task_id)
    if task.state is TaskState.FINALISED:
        return True
    if (
        task.state is not TaskState.CLOSED
        or task.challenged
        or context.chain.now() <= task.challenge_deadline
    ):
        return False
    outcome = context.chain.send(context.ledger.finalise(context.task_id), context.account)
    context.tell("finalised", context.task.total_rounds, transaction=outcome.transaction)
    return True


def scored_stretches(
    context: CoordinatorContext, records: list[RoundRecord]
) -> tuple[tuple[ScoredRound, ...], ...]:
    """The rounds of every checkpoint with the bytes that scores need, from the public store."""
    content = StoreContent(context.store)
    scored = []
    for record in records:
        content.add_record(record)
        scored.append(ScoredRound.read(record, content))
    length = context.task.terms.checkpoint_length
    stretches = []
    index = 0
    while index * length < len(scored):
        first, last = checkpoint_bounds(index=index, length=length, rounds=len(scored))
        stretches.append(tuple(scored[first - 1 : last]))
        index += 1
    return tuple(stretches)


def opened_parts(context: CoordinatorContext) -> tuple[tuple[OpenedPart, bytes], ...]:
    """The parts that were opened on chain and whose bytes can be had, in order of index."""
    found = []
    for event in context.ledger.opened_parts(context.task_id, from_block=context.deployment_block):
        try:
            data = context.store.get(event.part_cid)
        except (MissingBlobError, UnreadableBlobError):
            continue
        reference = context.store.put(data)
        if reference.sha256 == event.part_digest:
            context.store.pin(reference.cid)
            part = OpenedPart(index=event.part, salt=event.salt, rows=reference)
            found.append((part, data))
    return tuple(sorted(found, key=lambda each: each[0].index))


def _fixed_report(
    context: CoordinatorContext, point: TrainingPoint, blocks: tuple[SeedBlock, ...]
) -> ScoreReport:
    """The score report, made once: floats may come out otherwise on another machine."""
    before = context.journal.find("report")
    if before is not None:
        return ScoreReport.parse(context.spool.get(before["cid"]))
    report = make_report(
        ReportInput(
            task=context.task,
            place=context.position(0),
            roster=tuple(member.address for member in context.roster),
            family=context.family,
            stretches=scored_stretches(context, [each.signed.record for each in point.published]),
            blocks=blocks,
            parts=opened_parts(context),
            model=point.model,
            state=point.model_bytes,
        )
    )
    context.journal.append("report", cid=context.spool.put(report.canonical()).cid)
    return report


def _await_parts(context: CoordinatorContext) -> ChainTask:
    """Wait until every part is opened or the reveal window (chain time) is over."""
    told = False
    while True:
        task = context.ledger.task_of(context.task_id)
        if task.state is not TaskState.REVEALING:
            raise ChainError(
                f"task {context.task_id} is {task.state.name.title()}, expected Revealing",
                hint="was it aborted or challenged? covalue audit shows its state",
            )
        if task.parts_opened >= len(context.task.parts) or (
            context.chain.now() > task.reveal_deadline
        ):
            return task
        if not told:
            context.tell(
                "revealing",
                context.task.total_rounds,
                opened=task.parts_opened,
                parts=len(context.task.parts),
                deadline=task.reveal_deadline,
            )
            told = True
        time.sleep(max(context.timing.poll, 0.5))


def _await_seed_blocks(context: CoordinatorContext) -> tuple[SeedBlock, ...]:
    """Wait until the block after the last checkpoint is final; those after all checkpoints."""
    checkpoints = context.ledger.task_of(context.task_id).checkpoint_count
    told = False
    while True:
        blocks = seed_blocks(
            context.ledger,
            context.task_id,
            checkpoints=checkpoints,
            from_block=context.deployment_block,
            until=final_block(context.chain),
        )
        if len(blocks) == checkpoints:
            return blocks
        if not told:
            context.tell("seeding", context.task.total_rounds, seeds=len(blocks), of=checkpoints)
            told = True
        _prompt_block(context)
        time.sleep(max(context.timing.poll, 0.5))


def _prompt_block(context: CoordinatorContext) -> None:
    """A devnet makes a block where somebody sends a transaction: send one that does nothing."""
    if context.chain.chain_id in DEV_CHAIN_IDS:
        nothing = Call(to=context.account.address, data=b"", value=0, description="make a block")
        context.chain.send(nothing, context.account)
