# SPDX-License-Identifier: Apache-2.0
"""Exclusions that integers alone decide, docs/spec/rounds.md §5."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from tests.independent import signatures
from tests.independent.canonical import Blocks
from tests.independent.facts import Chain, Member, must
from tests.independent.terms import LIMIT, Integers, Kind, Terms

UNSEEN = ("late", "missing")  # taken from the record: published bytes cannot show it
ORDERED = (
    "bad-signature",
    "wrong-position",
    "wrong-base",
    "wrong-event",
    "seeded-noise",
    "wrong-shape",
    "out-of-range",
    "norm",
    "copy",
)


def dot(u: Integers, v: Integers) -> int:
    """Exact inner product."""
    return sum(a * b for a, b in zip(u, v, strict=True))


@dataclass
class Sent:
    """Updates of earlier rounds of one kind that passed all checks but `copy`, and the sums of
    those counted; each with its squared norm."""

    vectors: list[tuple[Integers, int]] = field(default_factory=list)

    def add(self, update: Integers) -> None:
        self.vectors.append((update, dot(update, update)))


def is_copy(
    terms: Terms, kind: Kind, update: Integers, others: Iterable[tuple[Integers, int]]
) -> bool:
    """Whether the update lacks noise of its own beside any of the others."""
    c = Fraction(terms.record["aggregation"]["copy_correlation_micro"], 10**6)
    ninth = 2 / (9 * kind.length)
    w = max(0.01, 1 - ninth - 6 * math.sqrt(ninth))
    least = (
        min(1 - c * c, Fraction(w**3)) * Fraction(kind.noise * 2.0**kind.bits) ** 2 * kind.length
    )
    own = dot(update, update)
    for other, square in others:
        rest = own if square == 0 else own - Fraction(dot(update, other) ** 2, square)
        if rest < least:
            return True
    return False


def too_long(terms: Terms, kind: Kind, update: Integers) -> bool:
    """Whether the update is longer than `max_units` units and noise can make it."""
    units = terms.record["aggregation"]["max_units"]
    most = units * kind.sensitivity + kind.noise * (math.sqrt(kind.length) + 6)
    return dot(update, update) > Fraction(most * 2.0**kind.bits) ** 2


def signed(chain: Chain, receipt: Any) -> signatures.Signed:
    """Key, message and signature of a receipt; an empty key where it names nobody of the roster."""
    keys = {member.account: member.key for member in chain.roster}
    key = keys.get(receipt["body"]["contributor"], b"")
    signature = bytes.fromhex(receipt["signature"].removeprefix("0x"))
    return key, signatures.receipt_message(receipt["body"]), signature


@dataclass
class RoundUpdates:
    """What one round's receipts come to: reasons by account (None: it counts), updates by account,
    of all that passed the checks before `copy`."""

    reasons: dict[str, str | None] = field(default_factory=dict)
    updates: dict[str, Integers] = field(default_factory=dict)

    @property
    def counted(self) -> list[str]:
        """Accounts that no check excludes, in roster order."""
        return [account for account, reason in self.reasons.items() if reason is None]


@dataclass(frozen=True)
class Checker:
    """The checks of one round."""

    chain: Chain
    terms: Terms
    blocks: Blocks
    record: Any
    sent: Sent
    allow_seeded: bool

    def run(self, judged_before: set[str]) -> RoundUpdates:
        """Hold every member's place in the record against what its receipt and bytes say."""
        found = RoundUpdates()
        receipts = {each["body"]["contributor"]: each for each in self.record["receipts"]}
        exclusions = {each["contributor"]: each for each in self.record["exclusions"]}
        self._orders(receipts, exclusions)
        for member in self.chain.roster:
            place = f"round {self.number}, {member.account}"
            if member.account in receipts:
                must(member.account not in judged_before, place, "judged out, and counts")
                reason = self._reason(member, receipts[member.account], None, found)
                must(reason is None, place, f"should be excluded as {reason}")
                found.reasons[member.account] = None
                continue
            self._excluded(member, exclusions[member.account], judged_before, found, place)
        return found

    @property
    def number(self) -> int:
        """The round's number."""
        return int(self.record["position"]["round"])

    def _orders(self, receipts: Any, exclusions: Any) -> None:
        order = [member.account for member in self.chain.roster]
        place = f"round {self.number}"
        sizes = len(self.record["receipts"]) + len(self.record["exclusions"])
        must(sizes == len(order) == len({*receipts, *exclusions}), place, "not each member once")
        for each in (receipts, exclusions):
            must(list(each) == [a for a in order if a in each], place, "not in roster order")

    def _excluded(
        self, member: Member, exclusion: Any, before: set[str], found: RoundUpdates, place: str
    ) -> None:
        said, receipt = exclusion["reason"], exclusion["receipt"]
        if member.account in before:
            must(said == "judged" and receipt is None, place, "was judged out before")
            return
        if said in UNSEEN and receipt is None:
            return
        must(receipt is not None, place, f"{said} without a receipt")
        reason = self._reason(member, receipt, said, found)
        if said == "judged":
            must(reason is None, place, f"should be excluded as {reason}, not as judged")
        else:
            must(reason == said, place, f"excluded as {said}, should be {reason or 'counted'}")
        found.reasons[member.account] = reason

    def _reason(
        self, member: Member, receipt: Any, said: str | None, found: RoundUpdates
    ) -> str | None:
        body = receipt["body"]
        kind = self.terms.kind(self.number)
        event = {name: value for name, value in body["event"].items() if name != "seeded"}
        if body["contributor"] != member.account or not signatures.verify(
            signed(self.chain, receipt)
        ):
            return "bad-signature"
        if body["position"] != self.record["position"]:
            return "wrong-position"
        if body["base_model_sha256"] != self.record["base_model"]["sha256"]:
            return "wrong-base"
        if event != kind.event:
            return "wrong-event"
        if body["event"]["seeded"] and not self.allow_seeded:
            return "seeded-noise"
        if body["update"]["size"] != 8 * kind.length:
            return "wrong-shape"
        if said == "missing":
            return said
        data = self.blocks.referred(
            body["update"], f"round {self.number}, update of {member.account}"
        )
        return self._numbers(member, kind, data, found)

    def _numbers(self, member: Member, kind: Kind, data: bytes, found: RoundUpdates) -> str | None:
        update: Integers = np.frombuffer(data, "<i8").tolist()
        if not all(-LIMIT < each < LIMIT for each in update):
            return "out-of-range"
        if too_long(self.terms, kind, update):
            return "norm"
        reason = "copy" if is_copy(self.terms, kind, update, self._others(found)) else None
        found.updates[member.account] = update
        return reason

    def _others(self, found: RoundUpdates) -> Iterator[tuple[Integers, int]]:
        yield from ((each, dot(each, each)) for each in found.updates.values())
        yield from self.sent.vectors
