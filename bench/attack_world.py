# SPDX-License-Identifier: Apache-2.0
"""A whole task in one process, with contributors of whom some attack.

Every round is closed by `rounds.close.close_round`, every honest update made by
`rounds.contribution.contribution`, and scores and shares come from `rounds.score` and
`rounds.settle`: only keys, chain and network are absent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.attack_market import Floats, Market, update_of
from bench.attack_view import Attack, Seat, View
from dao.cid import blob_ref
from dao.records import BlobRef, Position, Receipt, ReceiptBody, RoundRecord
from demo.forecast import judge
from privacy.mechanism import encode_update
from rounds.close import CloseInput, close_round
from rounds.exclusion import Answer, RosterMember
from rounds.history import History
from rounds.own_parts import stretches_of
from rounds.phases import event_of, release_of
from rounds.rules import steps_of
from rounds.score import judging_rows, score_stretch, surveys_of
from rounds.seeds import simulated_block
from rounds.settle import settle
from rounds.state import decode_update, theta_of, update_to_float
from rounds.stretch import ScoredRound


@dataclass(frozen=True)
class Outcome:
    """How a task ended: R2 on the test rows; share of the budget and score by name; in which round
    who was judged out; and how often who was excluded for another reason."""

    r2: float
    shares: dict[str, float]
    scores: dict[str, float]
    judged: dict[str, int]
    excluded: dict[str, dict[str, int]]


@dataclass
class _Task:
    """A task under way."""

    market: Market
    seats: dict[str, Seat]
    state: bytes
    base: BlobRef
    history: History
    previous: str
    rounds: list[ScoredRound] = field(default_factory=list)
    seen: list[dict[str, Floats]] = field(default_factory=list)


def play(market: Market, seats: Sequence[Seat], attack: Attack | None, *names: str) -> Outcome:
    """The whole task with this roster, in which `names` attack."""
    task, addresses = market.task, tuple(seat.address for seat in seats)
    world = _Task(
        market=market,
        seats={seat.name: seat for seat in seats},
        state=market.initial,
        base=task.model.initial,
        history=History.start(task, addresses),
        previous=task.digest(),
    )
    kept: dict[object, object] = {}
    for number in range(1, task.total_rounds + 1):
        _close(world, _vectors(world, number, attack, names, kept), number)
    return _outcome(world)


def _vectors(
    world: _Task,
    number: int,
    attack: Attack | None,
    names: tuple[str, ...],
    kept: dict[object, object],
) -> dict[str, Floats]:
    """What everybody sends in a round."""
    market, theta = world.market, theta_of(world.market.task, world.state)
    asked = {
        name: seat
        for name, seat in world.seats.items()
        if seat.address not in world.history.judged_out
    }
    sent: dict[str, Floats] = {}
    for name, seat in asked.items():
        if name not in names and seat.rows is not None:
            noise = seat.noise(market, number)
            sent[name] = update_of(market, seat.rows, theta, number, noise)
    view = View(
        market=market,
        number=number,
        theta=theta,
        seats=world.seats,
        attackers=names,
        honest=dict(sent),
        earlier=world.seen,
        surveys=world.history.surveys,
        kept=kept,
    )
    for name in names:
        if attack is not None and name in asked:
            if view.kind == "calibrate":
                answer: Floats | None = view.fresh(name, view.own(name))
            else:
                answer = (attack.survey if view.kind == "survey" else attack.train)(view, name)
            if answer is not None:
                sent[name] = answer
    return sent


def _close(world: _Task, vectors: Mapping[str, Floats], number: int) -> None:
    """Sign, close, and move on."""
    task, market = world.market.task, world.market
    release = release_of(task, number)
    position = Position(
        chain_id=31337,
        ledger="0x" + "1e" * 20,
        task_id=1,
        task_digest=task.digest(),
        round=number,
    )
    answers, updates = {}, {}
    for name, vector in vectors.items():
        seat, data = world.seats[name], encode_update(vector, release)
        body = ReceiptBody(
            kind="covalue.receipt/1",
            position=position,
            contributor=seat.address,
            base_model_sha256=world.base.sha256,
            update=blob_ref(data),
            event=event_of(task, number, seeded=True),
        )
        signature = _signature(seat.key, body.signing_digest())
        answers[seat.address] = Answer(Receipt(body=body, signature="0x" + signature.hex()), data)
        updates[seat.address] = data
    closed = close_round(
        CloseInput(
            task=task,
            position=position,
            roster=tuple(RosterMember(seat.address, seat.key) for seat in world.seats.values()),
            base_model=world.base,
            base_state=world.state,
            previous_record=world.previous,
            answers=answers,
            history=world.history,
            family=market.family,
            verify=lambda key, message, signature: signature == _signature(key, message),
            ref=blob_ref,
            allow_seeded=True,
        )
    )
    record = closed.record
    counted = {receipt.body.contributor for receipt in record.receipts}
    heard = {
        name: update_to_float(release, decode_update(release, updates[seat.address]))
        for name, seat in world.seats.items()
        if seat.address in counted
    }
    total = np.sum(list(heard.values()), axis=0) if heard else np.zeros(release.length)
    world.seen.append(heard | {"sum": total})
    world.rounds.append(ScoredRound(record, world.state, closed.model, updates))
    world.base, world.state = record.model, closed.model
    world.history, world.previous = closed.history, record.digest()


def _outcome(world: _Task) -> Outcome:
    """Scores by the sealed rows, shares, and R2 on the test rows."""
    market, task, rounds = world.market, world.market.task, world.rounds
    addresses = [seat.address for seat in world.seats.values()]
    steps = steps_of(task, market.family, addresses, surveys_of(task, rounds))
    _, rows = judging_rows(market.family, market.sealed)
    length = task.terms.checkpoint_length
    parts = [rounds[first : first + length] for first in range(0, len(rounds), length)]
    stretches = [
        score_stretch(stretch, rows, simulated_block(task, index))
        for index, stretch in enumerate(stretches_of(task, market.family, steps, addresses, parts))
    ]
    records = [each.record for each in rounds]
    settled = settle(task, task_id=1, roster=addresses, records=records, stretches=stretches)
    results = dict(zip(world.seats, settled.results, strict=True))
    name_of = {seat.address: name for name, seat in world.seats.items()}
    theta = theta_of(task, world.state)
    return Outcome(
        r2=judge(task, market.family, theta, market.test).r2,
        shares={name: result.share_wad / 1e18 for name, result in results.items()},
        scores={name: result.score_pico / 1e12 for name, result in results.items()},
        judged={name_of[who]: when for who, when in world.history.judged_out.items()},
        excluded=_excluded(records, name_of),
    )


def _excluded(
    records: Sequence[RoundRecord], name_of: Mapping[str, str]
) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for record in records:
        for each in record.exclusions:
            if each.reason not in ("judged", "missing"):
                of = found.setdefault(name_of[each.contributor], {})
                of[each.reason] = of.get(each.reason, 0) + 1
    return found


def _signature(key: bytes, message: bytes) -> bytes:
    """Keyed hashes, 96 bytes: what BLS signs is measured elsewhere."""
    return hashlib.sha512(key + message).digest() + hashlib.sha256(message + key).digest()
