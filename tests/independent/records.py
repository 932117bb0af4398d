# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and round records: links, signatures, exclusions, models, judgements.

docs/SPEC.md §2 and §3, docs/spec/rounds.md §2 to §7.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.independent import judging, norm_clips, signatures
from tests.independent.canonical import Blocks, canonical, cid_of_record, read, sha256
from tests.independent.facts import Chain, Stretch, must
from tests.independent.families import public_judges
from tests.independent.forms import CHECKPOINT, SIGNED_RECORD, of_form
from tests.independent.rows import Array
from tests.independent.steps import Adam, Newton, Walked, taken_back
from tests.independent.terms import Integers, Terms
from tests.independent.updates import Checker, RoundUpdates, Sent
from tests.independent.updates import signed as signed_by
from tests.independent.wiener import Wiener

Rule = Newton | Adam | Wiener
NOT_SEEN = ("late", "missing", "bad-signature")
NOT_ANSWERED = ("bad-signature", "wrong-position")
# the last weights that were computed: task digest (it names the set-up) and histograms make them
_weighed: dict[tuple[str, bytes], Wiener] = {}


@dataclass
class RoundDone:
    """A verified round: recorded states, updates that count by roster place, who fell in it, whose
    signed update became public, coordinates of the model that are one step off."""

    number: int
    base: Array
    after: Array
    updates: dict[int, Integers]
    fallen: set[str]
    answered: set[str]
    off_by_one: int


@dataclass
class Walk:
    """All rounds of a task, one after the other."""

    chain: Chain
    blocks: Blocks
    terms: Terms
    setup: dict[str, Array]
    allow_seeded: bool
    rule: Rule = field(init=False)
    judged: set[str] = field(default_factory=set)
    done: list[RoundDone] = field(default_factory=list)
    _sent: dict[str, Sent] = field(default_factory=dict)
    _walked: dict[str, Walked] = field(default_factory=dict)
    _players: list[Walked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.accounts = [member.account for member in self.chain.roster]
        self._previous = self.chain.task
        self._model = self.terms.record["model"]["initial"]
        if self.terms.adam:
            self.rule = Adam(self.terms)
        elif not self.terms.wiener:
            self.rule = Newton(self.terms, self.setup)
        self._start_walks()

    def _start_walks(self) -> None:
        zero = Walked.zero(self.terms.record["model"]["parameters"])
        self._walked = {each: zero for each in self.accounts if each not in self.judged}
        self._players = [zero] * self.terms.record["aggregation"]["noise_players"]

    def run(self) -> None:
        """Verify every stretch of the chain and every round below it."""
        expected, length = 1, self.terms.record["terms"]["checkpoint_length"]
        for index, stretch in enumerate(self.chain.stretches):
            place = f"checkpoint {index}"
            last = min(expected + length - 1, self.terms.rounds)
            said = (stretch.index, stretch.first, stretch.last)
            must(said == (index, expected, last), place, "not the next rounds")
            records = list(self._signed_records(stretch, place))
            self._verify_together([each for _, each, _ in records])
            for number, signed, digest in records:
                self._round(signed, number, digest)
            must(self._model == self._linked, place, "model is not the last record's")
            must(self._model["sha256"] == stretch.model, place, "model is not the chain's")
            expected = last + 1
        must(expected == self.terms.rounds + 1, "checkpoints", "not all rounds are committed")

    def _verify_together(self, records: list[Any]) -> None:
        """All signatures that should be in order at once, which is faster; where this fails, they
        are looked at one by one."""
        receipts = [each for signed in records for each in signed["record"]["receipts"]]
        receipts += [
            each["receipt"]
            for signed in records
            for each in signed["record"]["exclusions"]
            if each["receipt"] is not None and each["reason"] != "bad-signature"
        ]
        signatures.verify_all([signed_by(self.chain, each) for each in receipts])

    def _signed_records(self, stretch: Stretch, place: str) -> Iterator[tuple[int, Any, str]]:
        if stretch.cosigned is not None:
            cosigned(
                self.chain,
                self.terms,
                stretch.cosigned.signers,
                signatures.checkpoint_message(self.chain, stretch),
                stretch.cosigned.signature,
                place,
            )
        data = self.blocks.file(cid_of_record(stretch.root), place)
        checkpoint = read(data, place)
        of_form(checkpoint, CHECKPOINT, place)
        said = {name: checkpoint[name] for name in ("chain_id", "ledger", "task_id", "task_digest")}
        must(said == self._where(), place, "of another task")
        rounds = (stretch.index, stretch.first, stretch.last)
        named = tuple(checkpoint[name] for name in ("index", "first_round", "last_round"))
        must(named == rounds, place, "of other rounds than the chain says")
        must(checkpoint["model"]["sha256"] == stretch.model, place, "of another model")
        count = stretch.last - stretch.first + 1
        must(
            len(checkpoint["records"]) == count == len(checkpoint["record_digests"]), place, "links"
        )
        numbers = range(stretch.first, stretch.last + 1)
        links = zip(numbers, checkpoint["records"], checkpoint["record_digests"], strict=True)
        for number, reference, digest in links:
            place = f"round {number}, record"
            signed = read(self.blocks.referred(reference, place), place)
            of_form(signed, SIGNED_RECORD, place)
            yield number, signed, digest
        self._linked = checkpoint["model"]

    def _where(self) -> dict[str, Any]:
        chain = self.chain
        return {
            "chain_id": chain.chain_id,
            "ledger": chain.ledger,
            "task_id": chain.task_id,
            "task_digest": chain.task,
        }

    def _round(self, signed: Any, number: int, digest: str) -> None:
        place = f"round {number}"
        record = signed["record"]
        must(sha256(canonical(record)) == digest, place, "digest in the checkpoint differs")
        signer = signatures.record_signer(self.chain, number, digest, signed["signature"])
        must(signer == self.chain.coordinator, place, "not signed by the coordinator")
        must(record["position"] == {**self._where(), "round": number}, place, "position")
        must(record["previous_record"] == self._previous, place, "previous_record")
        must(record["base_model"] == self._model, place, "base_model")
        sent = self._sent.setdefault(self.terms.kind(number).name, Sent())
        checker = Checker(self.chain, self.terms, self.blocks, record, sent, self.allow_seeded)
        found = checker.run(self.judged)
        self._quorum(record, place)
        base = self._state(record["base_model"], place)
        after = self._state(record["model"], f"{place}, model")
        updates = {self.accounts.index(each): found.updates[each] for each in found.counted}
        if self.terms.kind(number).name != "survey":
            sizes = self.rule.sizes() if isinstance(self.rule, Wiener) else None
            updates = norm_clips.heard(self.terms, record, self.accounts, updates, sizes)
        else:
            must(not record["norm_clips"], f"{place}, norm_clips", "only training is clipped")
        fallen, off = self._moved(record, base, after, updates)
        self.judged |= fallen
        self._remember(sent, record, found)
        answered = {each["body"]["contributor"] for each in record["receipts"]} | {
            each["contributor"]
            for each in record["exclusions"]
            if each["receipt"] is not None and each["reason"] not in NOT_ANSWERED
        }
        self.done.append(RoundDone(number, base, after, updates, fallen, answered, off))
        self._previous, self._model = digest, record["model"]

    def _state(self, reference: Any, place: str) -> Array:
        return self.terms.read_state(self.blocks.referred(reference, place), place)

    def _quorum(self, record: Any, place: str) -> None:
        asked = len(self.accounts) - len(self.judged)
        unseen = [each for each in record["exclusions"] if each["reason"] in NOT_SEEN]
        forged = sum(each["reason"] == "bad-signature" for each in unseen)
        listed = asked - forged - sum(each["receipt"] is None for each in unseen)
        needed = min(quorum(self.chain, self.terms), asked)
        must(listed >= needed, place, "fewer answers than the quorum")
        must(asked - len(unseen) >= listed - listed // 3, place, "too few updates")

    def _remember(self, sent: Sent, record: Any, found: RoundUpdates) -> None:
        for update in found.updates.values():
            sent.add(update)
        counted = [found.updates[each["body"]["contributor"]] for each in record["receipts"]]
        if counted:
            sent.add([sum(column) for column in zip(*counted, strict=True)])

    def _moved(
        self, record: Any, base: Array, after: Array, updates: dict[int, Integers]
    ) -> tuple[set[str], int]:
        """Hold the round's model and judgements; who fell, and coordinates one step off."""
        number = record["position"]["round"]
        place = f"round {number}"
        if self.terms.kind(number).name == "survey":
            must(
                record["model"] == record["base_model"], f"{place}, model", "a survey moves nothing"
            )
            must(not record["judgements"], f"{place}, judgements", "nobody is judged in a survey")
            must(record["judge_floor_pico"] is None, f"{place}, judge_floor_pico", "not null")
            self._survey(number, updates)
            return set(), 0
        stepped = self.rule.step(number, base, updates)
        self._advance(number, updates, after)
        fallen = self._judge(record, stepped)
        said = {each["contributor"] for each in record["exclusions"] if each["reason"] == "judged"}
        counted = {each["body"]["contributor"] for each in record["receipts"]}
        must(not fallen & counted, f"{place}, receipts", "one who fell counts")
        must(said - self.judged <= fallen, f"{place}, exclusions", "judged without having fallen")
        for account in self.accounts:
            if account in fallen:
                stepped = taken_back(self.terms, stepped, self._walked.pop(account), place)
        if number in self._judge_rounds() and self.terms.adam:
            self.judged |= fallen
            self._start_walks()
        differences = np.abs(after - stepped)
        must(int(differences.max()) <= 1, f"{place}, model", "does not follow from the record")
        return fallen, int((differences > 0).sum())

    def _judge_rounds(self) -> list[int]:
        if public_judges(self.setup) is None:
            return []
        first = self.terms.surveys
        return [first + t for t in self.terms.record["aggregation"]["judge_rounds"]]

    def _survey(self, number: int, updates: dict[int, Integers]) -> None:
        kind = self.terms.kind(number)
        histograms = np.zeros((len(self.accounts), kind.length))
        for place, update in updates.items():
            histograms[place] = np.array(update, dtype=float) * 2.0**-kind.bits
        key = (self.chain.task, histograms.tobytes())
        if key not in _weighed:
            _weighed.clear()
            _weighed[key] = Wiener(self.terms, self.setup, histograms)
        self.rule = _weighed[key]

    def _advance(self, number: int, updates: dict[int, Integers], after: Array) -> None:
        kind = self.terms.kind(number)
        for account, walked in self._walked.items():
            place = self.accounts.index(account)
            own = np.array(updates.get(place, [0] * kind.length), dtype=float) * 2.0**-kind.bits
            self._walked[account] = self.rule.advance(number, walked, own, after, place)
        self._players = [
            self.rule.advance(
                number,
                walked,
                judging.player_update(self.chain.task, kind, number, player),
                after,
                player % len(self.accounts),
            )
            for player, walked in enumerate(self._players)
        ]

    def _judge(self, record: Any, stepped: Array) -> set[str]:
        rows, place = public_judges(self.setup), f"round {record['position']['round']}"
        if record["position"]["round"] not in self._judge_rounds() or rows is None:
            must(not record["judgements"], f"{place}, judgements", "not a judge round")
            must(record["judge_floor_pico"] is None, f"{place}, judge_floor_pico", "not null")
            return set()
        theta = stepped[0].astype(float) * self.terms.step
        phis = {account: walked.phi for account, walked in self._walked.items()}
        return judging.hold(
            self.terms, rows, record, theta, phis, [each.phi for each in self._players]
        )


def quorum(chain: Chain, terms: Terms) -> int:
    """How many of the roster must sign, and answer."""
    return math.ceil(terms.record["terms"]["quorum_bps"] * len(chain.roster) / 10**4)


def cosigned(
    chain: Chain, terms: Terms, signers: int, message: bytes, signature: bytes, place: str
) -> None:
    """Hold a bitmap and its aggregate signature against the roster and the quorum."""
    must(0 < signers < 1 << len(chain.roster), place, "the bitmap names nobody of the roster")
    must(signers.bit_count() >= quorum(chain, terms), place, "fewer co-signers than the quorum")
    keys = [each.key for place_, each in enumerate(chain.roster) if signers >> place_ & 1]
    signatures.verify_aggregate(keys, message, signature, place)
