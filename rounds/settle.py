# SPDX-License-Identifier: Apache-2.0
"""From recorded scores to money: integers only, the same for everybody."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from dao.errors import ReplayMismatch
from dao.records import (
    ContributorResult,
    RoundRecord,
    ScoreReport,
    SeedBlock,
    StretchScores,
    Task,
)
from privacy.accounting import SAMPLED_STEP_MICRO, answered_epsilon_micro
from rewards.merkle import Leaf, payout_leaves, tree_root
from rewards.payout import payouts_down, shares_wad_down
from rounds.judge import SCORE_STEP_PICO, check_pico, judged_out_in
from rounds.phases import kind_of
from rounds.replay import first_difference
from rounds.score import JudgedOn

NOISE_DEVIATIONS = 3
MOST_LOUDNESS = 3
"""Louder noise harms its sender more than luck can bring."""
_LARGEST_PICO = 2**53 - 1
_FIGURES = ("scores_pico", "standard_errors_pico", "noise_means_pico", "noise_deviations_pico")
_NOT_AN_ANSWER = ("bad-signature", "wrong-position")


@dataclass(frozen=True)
class Settlement:
    """What follows from the scores of all stretches; the leaves are those of the two roots.

    `epsilon_step_micro`: another processor may find an epsilon that is so much more or less; 0 with
    full batches.
    """

    results: tuple[ContributorResult, ...]
    epsilon_step_micro: int
    payout_total_wei: int
    payout_leaves: tuple[Leaf, ...]
    share_leaves: tuple[Leaf, ...]

    @property
    def payout_root(self) -> str:
        """Root of the claims on the budget, 0x and 64 hex digits."""
        return tree_root(self.payout_leaves)

    @property
    def share_root(self) -> str:
        """Root of the shares of later revenue, in 1e-18."""
        return tree_root(self.share_leaves)


def settle(
    task: Task,
    *,
    task_id: int,
    roster: Sequence[str],
    records: Sequence[RoundRecord],
    stretches: Sequence[StretchScores],
) -> Settlement:
    """Scores add up over stretches; who does not pass noise in its own name is paid nothing.

    Whoever the judge excluded keeps no gain: its displacement is not in the model. Leaves stand in
    roster order, and only for amounts above 0.
    """
    judged_out = {address for record in records for address in judged_out_in(record)}
    scores = []
    for index, address in enumerate(roster):
        total = _held(sum(stretch.scores_pico[index] for stretch in stretches))
        scores.append(min(0, total) if address in judged_out else total)
    thresholds = [
        noise_threshold(
            [stretch.noise_means_pico[index] for stretch in stretches],
            [stretch.noise_deviations_pico[index] for stretch in stretches],
        )
        for index in range(len(roster))
    ]
    errors = [
        _root_up(sum(stretch.standard_errors_pico[index] ** 2 for stretch in stretches))
        for index in range(len(roster))
    ]
    payouts = payouts_down(scores, thresholds_pico=thresholds, budget_wei=task.terms.budget_wei)
    shares = shares_wad_down(scores, thresholds_pico=thresholds)
    answered = {address: rounds_answered(address, records) for address in roster}
    kinds = {
        address: Counter(kind_of(task, number) for number in answered[address])
        for address in roster
    }
    results = tuple(
        ContributorResult(
            contributor=address,
            score_pico=score,
            standard_error_pico=error,
            threshold_pico=threshold,
            payout_wei=payout,
            share_wad=share,
            epsilon_micro=answered_epsilon_micro(
                task.policy,
                trained=kinds[address]["train"],
                surveyed=kinds[address]["survey"] > 0,
                calibrated=kinds[address]["calibrate"] > 0,
            ),
            rounds_answered=len(answered[address]),
        )
        for address, score, error, threshold, payout, share in zip(
            roster, scores, errors, thresholds, payouts, shares, strict=True
        )
    )
    return Settlement(
        results=results,
        epsilon_step_micro=0 if task.policy.sampling is None else SAMPLED_STEP_MICRO,
        payout_total_wei=sum(payouts),
        payout_leaves=payout_leaves(task_id, roster, payouts),
        share_leaves=_share_leaves(task_id, roster, shares),
    )


def noise_threshold(means_pico: Sequence[int], deviations_pico: Sequence[int]) -> int:
    """What a score must pass to be paid: the most that 3 deviations above the mean of noise can be,
    however loud the noise was in each stretch, up to `MOST_LOUDNESS` times what the task asks for.

    Noise a times as loud has the mean a^2 m and the deviation a s. Stretches have noise of their
    own, so means and variances add up, and variance is best taken where it costs the least mean.
    Pure noise passes with a probability of about 0.1 %. What a replay cannot tell from 0 is not
    paid either. Integers only: exact everywhere.
    """
    stretches = [
        (max(0, -mean), deviation * deviation)
        for mean, deviation in zip(means_pico, deviations_pico, strict=True)
        if deviation > 0
    ]
    cost = variance = 0
    for harm, square in sorted(stretches, key=lambda each: Fraction(each[0], each[1])):
        wanted = MOST_LOUDNESS**2 * square
        if harm > 0:
            # Where one more unit of variance costs as much as it adds to 3 deviations.
            enough = NOISE_DEVIATIONS**2 * square * square // (4 * harm * harm)
            wanted = max(0, min(wanted, enough - variance))
        variance += wanted
        cost += harm * wanted // square
    highest = NOISE_DEVIATIONS * math.isqrt(variance) - cost
    return min(_LARGEST_PICO, max(SCORE_STEP_PICO * len(means_pico), highest))


def rounds_answered(address: str, records: Sequence[RoundRecord]) -> tuple[int, ...]:
    """Rounds in which the contributor's signed update became public, counted or excluded."""
    return tuple(
        record.position.round
        for record in records
        if any(receipt.body.contributor == address for receipt in record.receipts)
        or any(
            each.contributor == address
            and each.receipt is not None
            and each.reason not in _NOT_AN_ANSWER
            for each in record.exclusions
        )
    )


def check_seeds(recorded: ScoreReport, *, stretches: int, blocks: Sequence[SeedBlock]) -> None:
    """Each of so many stretches must name the block that the chain has after its checkpoint, of
    which the first are given, as far as they are there; ReplayMismatch names the place."""
    place = "score report, stretches"
    _equal(place, len(recorded.stretches), stretches)
    for index, each in enumerate(recorded.stretches):
        here = f"{place}[{index}].seed"
        if index >= len(blocks):
            raise ReplayMismatch(
                place=here,
                recorded=f"block {each.seed.number}",
                recomputed="the block after the checkpoint's, which is not there yet",
            )
        _equal(f"{here}.number", each.seed.number, blocks[index].number)
        _equal(f"{here}.hash", each.seed.hash, blocks[index].hash)


def check_stretches(
    recorded: ScoreReport, *, judged_on: JudgedOn, stretches: Sequence[StretchScores]
) -> None:
    """Compare recorded scores with recomputed ones, which must lie within the tolerance of
    `rounds.judge`, and be equal where nothing judged; where nothing was sampled, no standard error
    is above 0. ReplayMismatch names the place."""
    place = "score report, "
    _equal(place + "judged_on", recorded.judged_on, judged_on)
    _equal(place + "stretches", len(recorded.stretches), len(stretches))
    for index, (was, now) in enumerate(zip(recorded.stretches, stretches, strict=True)):
        here = f"{place}stretches[{index}]."
        _equal(here + "first_round", was.first_round, now.first_round)
        _equal(here + "last_round", was.last_round, now.last_round)
        _equal(here + "dropped", was.dropped, now.dropped)
        sampled = any(now.standard_errors_pico)
        for name in _FIGURES:
            old, new = getattr(was, name), getattr(now, name)
            _equal(f"{here}{name}, length", len(old), len(new))
            exact = judged_on == "nothing" or (name == "standard_errors_pico" and not sampled)
            for number, (one, other) in enumerate(zip(old, new, strict=True)):
                if exact:
                    _equal(f"{here}{name}[{number}]", one, other)
                check_pico(other, one, place=f"{here}{name}[{number}]")


def check_scores(
    recorded: ScoreReport,
    *,
    settlement: Settlement,
) -> None:
    """Compare a report with what was recomputed; ReplayMismatch names the place.

    `stretches` were found by `check_stretches`; `settlement` was made from the recorded stretches
    and must be equal, but for `epsilon_step_micro`.
    """
    place = "score report, "
    difference = first_difference(
        {
            "results": [each.model_dump(mode="json") for each in recorded.results],
            "payout_total_wei": recorded.payout_total_wei,
            "payout_root": recorded.payout_root,
            "share_root": recorded.share_root,
        },
        {
            "results": [
                each.model_dump(mode="json") for each in _as_recorded(recorded.results, settlement)
            ],
            "payout_total_wei": settlement.payout_total_wei,
            "payout_root": settlement.payout_root,
            "share_root": settlement.share_root,
        },
    )
    if difference is not None:
        where, old, new = difference
        raise ReplayMismatch(place=place + where, recorded=old, recomputed=new)


def _as_recorded(
    recorded: Sequence[ContributorResult], settlement: Settlement
) -> list[ContributorResult]:
    """The settlement's results, with the recorded epsilon where that is one step away."""
    epsilons = {each.contributor: each.epsilon_micro for each in recorded}
    found = []
    for now in settlement.results:
        was = epsilons.get(now.contributor, now.epsilon_micro)
        if abs(was - now.epsilon_micro) == settlement.epsilon_step_micro:
            now = now.model_copy(update={"epsilon_micro": was})
        found.append(now)
    return found


def _share_leaves(
    task_id: int, roster: Sequence[str], shares_wad: Sequence[int]
) -> tuple[Leaf, ...]:
    return tuple(
        Leaf(task_id=task_id, account=address, amount=amount)
        for address, amount in zip(roster, shares_wad, strict=True)
        if amount > 0
    )


def _root_up(square: int) -> int:
    """The least integer whose square is not below; errors of stretches are independent."""
    root = math.isqrt(square)
    return min(_LARGEST_PICO, root + (root * root < square))


def _held(score: int) -> int:
    return max(-_LARGEST_PICO, min(_LARGEST_PICO, score))


def _equal(place: str, recorded: object, recomputed: object) -> None:
    if recorded != recomputed:
        raise ReplayMismatch(place=place, recorded=str(recorded), recomputed=str(recomputed))
