# SPDX-License-Identifier: Apache-2.0
"""The whole loop on one machine: from private CSVs to a released, served, audited model.

Reads top to bottom as the story of one task. Everything is real: a chain, votes, stakes, Flower's
messages, vaults with keys and ledgers, a store, an API; only the clock of the devnet is moved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from audit.report import AuditReport
from audit.task import audit_task
from dao.cid import of_digest
from dao.contracts.task_types import TaskState
from dao.deployment import Contracts
from dao.errors import ChainError
from dao.governance import propose_release, propose_task
from dao.peer import BlockServer
from dao.records import ScoreReport, Task
from dao.store import LocalStore
from demo.accounts import write_members
from demo.cast import Cast, assemble, behaviours
from demo.contributing import claim_all, make_vault, misbehave, register_and_join
from demo.coordinating import make_home
from demo.data import load_source
from demo.devnet import Devnet
from demo.federation import federate, place_of
from demo.folder import DemoFolder
from demo.founding import found
from demo.governing import pass_vote, send
from demo.measuring import Measured, first_test_row, measure_task
from demo.options import DemoOptions
from demo.picture import Bar, draw
from demo.result import DemoResult, Provenance, Standing, told_payouts, told_rounds
from demo.serving import ServedApi, curl_line
from demo.simulation import simulate
from demo.tasking import Prepared, acceptable, prepare
from fl_server.context import Progress
from inference.server import build_app

Tell = Callable[[str], None]
OnProgress = Callable[[Progress], None]


@contextmanager
def play(
    options: DemoOptions, *, tell: Tell, on_progress: OnProgress, rpc_port: int | None = None
) -> Iterator[tuple[DemoResult, ServedApi]]:
    """Run the demo; inside the `with` block the API still answers. Nothing is left running."""
    began = time.monotonic()
    # before the folder is cleared: a misspelt column must not cost the last run
    source = load_source(options.data, options.target, seed=options.seed)
    folder = DemoFolder.fresh(options.out)
    tell(f"Data: {source.told}, {len(source.frame):,} rows; target {source.target}.")
    cast = assemble(options.contributor_count)
    with ExitStack() as running:
        running.enter_context(folder.held())
        net = running.enter_context(Devnet(folder.devnet, port=rpc_port))
        dao = found(net.chain, cast)
        dao.deployment.write(folder.deployment)
        tell("Chain: contracts deployed; every role belongs to the timelock.")
        store = LocalStore(folder.store)
        server = running.enter_context(BlockServer(store, port=0))
        home = make_home(
            folder,
            rpc_url=net.rpc_url,
            cast=cast,
            deployment=options.deployment,
            seeded=options.noise_seed is not None,
        )
        write_members(folder, cast, rpc_url=net.rpc_url)

        prepared = prepare(source, options, cast=cast, folder=folder, store=store)
        task = prepared.task
        tell(
            f"Task: {task.model.family} model with {task.model.parameters} parameters, "
            f"{_told_rounds(task)}, ε = {task.policy.epsilon_micro / 1e6:.3f}; "
            f"{prepared.split.told}."
        )
        cid = of_digest(task.digest())
        pass_vote(net, dao, proposing=propose_task(dao, task, cid), members=cast.members)
        task_id = dao.ledger.task_id_of(task.digest())
        tell(f"Vote: members opened task {task_id}.")

        plan = behaviours(prepared.split.by_size(), attackers=options.attackers)
        vaults = []
        for index, player in enumerate(cast.contributors):
            rows = misbehave(prepared.split.contributors[index], task, plan[index])
            vaults.append(
                make_vault(
                    folder,
                    index,
                    player=player,
                    rows=rows,
                    rpc_url=net.rpc_url,
                    store_url=server.url,
                    noise_seed=None
                    if options.noise_seed is None
                    else f"{options.noise_seed}/{index}",
                    superlink=place_of(home) if options.deployment else None,
                )
            )
            register_and_join(dao, folder, index, player=player, task_id=task_id, store=store)
        _post_bonds(dao, cast, task_id, prepared)
        send(dao, cast.coordinator, dao.ledger.start(task_id))
        tell(f"Roster: {len(vaults)} contributors joined with stake; training starts.")

        def progress(event: Progress) -> None:
            on_progress(event)
            if event.kind == "revealing":
                _open_parts(dao, cast, task_id, prepared, store)

        if options.deployment:
            federate(
                dao,
                store,
                task_id=task_id,
                coordinator=home,
                home=folder.root,
                vaults=vaults,
                tell=tell,
                progress=progress,
            )
        else:
            simulate(
                task_id=task_id,
                vaults=vaults,
                coordinator=home,
                account=cast.coordinator.account,
                store=store,
                progress=progress,
            )
        report = _finalise(net, dao, cast, task_id, store)
        payouts = [each.payout_wei for each in report.results]
        tell(told_payouts(payouts, budget_wei=task.terms.budget_wei))
        claimed = claim_all(dao, store, task_id=task_id, players=cast.contributors)
        pass_vote(net, dao, proposing=propose_release(dao, task_id), members=cast.members)
        release = dao.models.current()
        tell(f"Vote: members released the model as release {release.number}.")

        api = running.enter_context(ServedApi(build_app(home)))
        row = first_test_row(task, acceptable(task, prepared.split.test))
        answer = api.value(row)
        tell("API: one valuation asked, answered and signed. Auditing everything.")
        audited = audit_task(dao, store, task_id, allow_seeded=options.noise_seed is not None)
        measured = measure_task(task, store, dao, task_id, prepared.split, card=report.card)
        standings = _standings(prepared, cast, plan, report, claimed, measured)
        _draw(folder, options, standings, measured, report)
        yield (
            DemoResult(
                source=source.told,
                division=prepared.split.told,
                family=task.model.family,
                standings=standings,
                qualities=measured.qualities,
                provenance=Provenance(
                    release=release.number,
                    task_id=task_id,
                    task_digest=task.digest(),
                    model_sha256=release.model_digest,
                    epsilon_micro=release.epsilon_micro,
                    delta_e12=task.policy.delta_e12,
                    contributors=len(cast.contributors),
                    rounds=task.policy.rounds,
                    block=audited.block,
                ),
                valuation=_valuation(answer),
                audit_ok=audited.ok,
                audit_checks=len(audited.checks),
                audit_failure=_failure(audited),
                picture=folder.picture,
                folder=folder.root,
                curl=curl_line(api.url, row),
                rpc_url=net.rpc_url,
                api_url=api.url,
                seconds=time.monotonic() - began,
            ),
            api,
        )


def _told_rounds(task: Task) -> str:
    policy = task.policy
    return told_rounds(
        policy.rounds,
        survey=policy.survey_noise_micro > 0,
        calibration=policy.calibration_noise_micro > 0,
    )


def _post_bonds(dao: Contracts, cast: Cast, task_id: int, prepared: Prepared) -> None:
    terms = prepared.task.terms
    ledger = dao.ledger.address
    send(dao, cast.coordinator, dao.token.approve(ledger, terms.coordinator_bond_wei))
    send(dao, cast.coordinator, dao.ledger.post_bond(task_id))
    for index, holder in enumerate(cast.part_holders):
        send(dao, holder, dao.token.approve(ledger, terms.part_bond_wei))
        send(dao, holder, dao.ledger.post_part_bond(task_id, index))


def _open_parts(
    dao: Contracts, cast: Cast, task_id: int, prepared: Prepared, store: LocalStore
) -> None:
    for index, (holder, part) in enumerate(zip(cast.part_holders, prepared.parts, strict=True)):
        ref = store.put(part.rows)
        call = dao.ledger.open_part(
            task_id, index, salt=part.salt, part_digest=part.digest, part_cid=ref.cid
        )
        send(dao, holder, call)


def _finalise(
    net: Devnet, dao: Contracts, cast: Cast, task_id: int, store: LocalStore
) -> ScoreReport:
    """Let the challenge window pass, finalise, and read the report that the chain names."""
    task = dao.ledger.task_of(task_id)
    if task.state is not TaskState.CLOSED:
        raise ChainError(f"task {task_id} is {task.state.name}, expected CLOSED after training")
    net.advance_to(task.challenge_deadline + 1)
    send(dao, cast.members[0], dao.ledger.finalise(task_id))
    return ScoreReport.parse(store.get(of_digest(dao.ledger.final_of(task_id).score_digest)))


def _standings(
    prepared: Prepared,
    cast: Cast,
    plan: tuple[str, ...],
    report: ScoreReport,
    claimed: dict[str, int],
    measured: Measured,
) -> tuple[Standing, ...]:
    results = {each.contributor: each for each in report.results}
    return tuple(
        Standing(
            name=player.name,
            behaviour=plan[index],
            rows=len(prepared.split.contributors[index]),
            epsilon_micro=results[player.address].epsilon_micro,
            score_pico=results[player.address].score_pico,
            standard_error_pico=results[player.address].standard_error_pico,
            threshold_pico=results[player.address].threshold_pico,
            payout_wei=results[player.address].payout_wei,
            claimed_wei=claimed[player.address],
            excluded=measured.excluded.get(player.address, ""),
        )
        for index, player in enumerate(cast.contributors)
    )


def _draw(
    folder: DemoFolder,
    options: DemoOptions,
    standings: tuple[Standing, ...],
    measured: Measured,
    report: ScoreReport,
) -> None:
    draw(
        folder.picture,
        curve=measured.curve,
        lines={each.name: each.r2 for each in measured.qualities[1:]},
        bars=[
            Bar(
                label=each.name
                if each.behaviour == "honest"
                else f"{each.name} ({each.behaviour})",
                score=each.score_pico / 1e12,
                threshold=each.threshold_pico / 1e12,
                paid=each.payout_wei > 0,
            )
            for each in standings
        ],
        title=f"{report.card.title}, ε = {options.epsilon:g}",
    )


def _valuation(answer: dict[str, Any]) -> dict[str, Any]:
    valuation: dict[str, Any] = answer["valuations"][0]
    body = valuation["body"]
    value, lower, upper = (
        int(body[name]) / 1e6 for name in ("value_micro", "lower_micro", "upper_micro")
    )
    level = body["interval_level_micro"] / 1e6
    told = f"{value:,.0f} {body['currency']} ({level:.0%} between {lower:,.0f} and {upper:,.0f})"
    if body["confidence_micro"] is not None:
        told += f"; {body['confidence_micro'] / 1e6:.0%} sure to be within 10%"
    return {**valuation, "told": told}


def _failure(audited: AuditReport) -> str:
    failure = audited.first_failure
    return "" if failure is None else f"{failure.place}: {failure.detail}"
