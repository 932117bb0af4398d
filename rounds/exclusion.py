# SPDX-License-Identifier: Apache-2.0
"""Who does not count in a round, and why: each answer is checked in one fixed order.

missing or late, bad-signature, wrong-position, wrong-base, wrong-event, seeded-noise, wrong-shape,
missing (its bytes), out-of-range, norm, copy; the judge comes after the step. The first check that
fails names the reason. Decisions follow from integers or from correctly rounded sums (`math.fsum`),
so they are the same on every processor. Details hold integers and addresses only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dao.errors import RecordError
from dao.records import BlobRef, Exclusion, ExclusionReason, Position, Receipt, Task
from privacy.mechanism import Release
from rounds.history import PublishedRound
from rounds.phases import event_of, kind_of, release_of
from rounds.state import Floats, Ints, decode_update, update_bytes

NO_BYTES = "no bytes came that hash to the receipt's update"
"""Detail of an exclusion as `missing` with a receipt: it was listed, and its update never came."""

_UNSIGNED: tuple[ExclusionReason, str] = (
    "bad-signature",
    "not signed by this contributor's registered key",
)

VerifyMany = Callable[[Sequence[tuple[bytes, bytes, bytes]]], list[bool]]
"""(public key 48 B, message 32 B, signature 96 B) triples to one verdict each."""


@dataclass(frozen=True)
class RosterMember:
    """One contributor of the frozen roster; the key is BLS12-381 G1, compressed (48 bytes)."""

    address: str
    bls_public_key: bytes


@dataclass(frozen=True)
class Answer:
    """What came from a contributor. `update` is None where no bytes came that fit the receipt."""

    receipt: Receipt
    update: bytes | None


@dataclass(frozen=True)
class Expected:
    """What a receipt of this round must say."""

    task: Task
    position: Position
    base_model_sha256: str
    allow_seeded: bool


def check_answers(
    expected: Expected,
    roster: Sequence[RosterMember],
    answers: Mapping[str, Answer],
    late: frozenset[str],
    *,
    verify_many: VerifyMany,
    ref: Callable[[bytes], BlobRef],
) -> tuple[dict[str, Ints], dict[str, Exclusion]]:
    """Everything that one answer shows by itself: updates that pass, and exclusions by address."""
    signed = _signatures(roster, answers, verify_many)
    release = release_of(expected.task, expected.position.round)
    bound = norm_bound(expected.task, release)
    updates: dict[str, Ints] = {}
    excluded: dict[str, Exclusion] = {}
    for member in roster:
        answer = answers.get(member.address)
        if member.address in late or answer is None:
            reason: ExclusionReason = "late" if member.address in late else "missing"
            excluded[member.address] = Exclusion(
                contributor=member.address,
                reason=reason,
                detail="",
                # Nobody has looked at it: it could be anybody's.
                receipt=None,
            )
            continue
        problem = (
            _UNSIGNED
            if not signed[member.address]
            else receipt_problem(expected, answer.receipt) or _update_problem(answer, ref)
        )
        if problem is not None:
            excluded[member.address] = _exclude(answer.receipt, member.address, *problem)
            continue
        assert answer.update is not None
        try:
            update = decode_update(release, answer.update)
        except RecordError as error:
            excluded[member.address] = _exclude(
                answer.receipt, member.address, "out-of-range", error.message
            )
            continue
        if _norm(update.astype(np.float64)) > bound:
            excluded[member.address] = _exclude(
                answer.receipt,
                member.address,
                "norm",
                f"longer than {math.floor(bound)} steps of the update grid",
            )
            continue
        updates[member.address] = update
    return updates, excluded


def norm_bound(task: Task, release: Release) -> float:
    """Longest update in steps of its grid: max_units times what one unit can add, plus noise of
    deviation s and length d: s (sqrt(d) + 6).

    The noise of an honest update passes its part with a probability below 1e-9.
    """
    noise = release.deviation * (math.sqrt(release.length) + 6.0)
    longest = task.aggregation.max_units * release.sensitivity + noise
    return math.ldexp(longest, release.grid_bits)


def find_copies(
    task: Task, number: int, updates: Mapping[str, Ints], published: Sequence[PublishedRound]
) -> dict[str, str]:
    """Updates that lack noise of their own, by address, with what they copy.

    u copies v where u = a v + rest for some a, with |rest|^2 < `copy_bound`. Whoever added the
    noise that the task asks for has a rest of about (sigma C)^2 d whatever the gradients share, so
    honest updates that resemble one another pass. v is an update of this round that stands earlier
    in roster order, an update of an earlier round of the same kind (the contributor's own
    included), or the sum that such a round published.
    """
    bound = copy_bound(task, release_of(task, number))
    addresses = list(updates)
    if not addresses:
        return {}
    now = np.stack([updates[address].astype(np.float64) for address in addresses])
    found: dict[str, str] = {}
    for copier, copied in _copies(now, now, bound):
        if copied < copier:
            found.setdefault(addresses[copier], f"copy of the update of {addresses[copied]}")
    kind = kind_of(task, number)
    for earlier in (each for each in published if kind_of(task, each.round_number) == kind):
        for copier, copied in _copies(now, earlier.vectors, bound):
            found.setdefault(addresses[copier], f"copy of the {earlier.what(copied)}")
    return found


def copy_bound(task: Task, release: Release) -> float:
    """Least |rest|^2 of an update that counts, in squared steps of its grid.

    f s^2 d (s the noise's deviation, d the length) with f = 1 - c^2, c being `copy_correlation`,
    or for short vectors less: the 6-sigma quantile of chi^2_d / d by Wilson and Hilferty (1931),
    and never below 1e-6.
    """
    d = release.length
    c = task.aggregation.copy_correlation_micro / 1e6
    root = max(0.01, 1.0 - 2.0 / (9.0 * d) - 6.0 * math.sqrt(2.0 / (9.0 * d)))
    deviation = math.ldexp(release.deviation, release.grid_bits)
    return min(1.0 - c * c, root * root * root) * deviation * deviation * d


def _copies(own: Floats, others: Floats, bound: float) -> Iterator[tuple[int, int]]:
    """(row of own [K, d], row of others [L, d]) where the first copies the second, in order."""
    squares = np.einsum("kd,kd->k", own, own)[:, None]
    other_squares = np.einsum("ld,ld->l", others, others)
    rest = squares - (own @ others.T) ** 2 / np.maximum(other_squares, 1.0)
    # The margin is far above the rounding of these products, which therefore never decides.
    for copier, copied in np.argwhere(rest < 1.01 * bound + 1e-6 * squares):
        if _rest(own[copier], others[copied]) < bound:
            yield int(copier), int(copied)


def _rest(own: Floats, other: Floats) -> float:
    """min over a of |own - a other|^2, from correctly rounded sums."""
    square = math.fsum(own * own)
    other_square = math.fsum(other * other)
    if other_square == 0.0:
        return square
    product = math.fsum(own * other)
    return square - product * product / other_square


def _norm(update: Floats) -> float:
    return math.sqrt(math.fsum(update * update))


def _signatures(
    roster: Sequence[RosterMember], answers: Mapping[str, Answer], verify_many: VerifyMany
) -> dict[str, bool]:
    present = [member for member in roster if member.address in answers]
    triples = [
        (
            member.bls_public_key,
            answers[member.address].receipt.body.signing_digest(),
            bytes.fromhex(answers[member.address].receipt.signature[2:]),
        )
        for member in present
    ]
    verdicts = verify_many(triples)
    return {member.address: verdict for member, verdict in zip(present, verdicts, strict=True)} | {
        member.address: False
        for member in present
        if answers[member.address].receipt.body.contributor != member.address
    }


def receipt_problem(expected: Expected, receipt: Receipt) -> tuple[ExclusionReason, str] | None:
    """Why a receipt that bears its contributor's signature cannot count, whatever bytes it is for:
    reason and detail; None where it can."""
    body = receipt.body
    if body.position != expected.position:
        return "wrong-position", _differences(expected.position, body.position)
    if body.base_model_sha256 != expected.base_model_sha256:
        return "wrong-base", f"made on {body.base_model_sha256}"
    event = body.event
    if event != event_of(expected.task, expected.position.round, seeded=event.seeded):
        stated = f"{event.mechanism}, clip_norm_nano {event.clip_norm_nano}"
        return "wrong-event", f"{stated}, noise_multiplier_micro {event.noise_multiplier_micro}"
    if body.event.seeded and not expected.allow_seeded:
        return "seeded-noise", "the noise can be drawn again from its seed"
    length = update_bytes(release_of(expected.task, expected.position.round))
    if body.update.size != length:
        return "wrong-shape", f"{body.update.size} bytes, expected {length}"
    return None


def _update_problem(
    answer: Answer, ref: Callable[[bytes], BlobRef]
) -> tuple[ExclusionReason, str] | None:
    if answer.update is None or ref(answer.update) != answer.receipt.body.update:
        return "missing", NO_BYTES
    return None


def _differences(expected: Position, got: Position) -> str:
    wrong = [
        f"{name} {getattr(got, name)}"
        for name in Position.model_fields
        if getattr(got, name) != getattr(expected, name)
    ]
    return ", ".join(wrong)[:300]


def _exclude(receipt: Receipt, address: str, reason: ExclusionReason, detail: str) -> Exclusion:
    return Exclusion(contributor=address, reason=reason, detail=detail, receipt=receipt)
