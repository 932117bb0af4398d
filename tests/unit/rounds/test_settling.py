# SPDX-License-Identifier: Apache-2.0
"""From recorded scores to payouts, shares, epsilons and roots."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dao.errors import ReplayMismatch
from dao.records import (
    ModelCard,
    RoundRecord,
    Sampling,
    ScoreReport,
    SeedBlock,
    StretchScores,
    Task,
)
from privacy.accounting import epsilon_of_mu
from rewards.merkle import EMPTY_ROOT, proof, verify
from rounds.score import JudgedOn
from rounds.settle import (
    Settlement,
    check_scores,
    check_seeds,
    check_stretches,
    noise_threshold,
    rounds_answered,
    settle,
)
from tests.unit.rounds.round_world import BLOCK, make_world

WORLD = make_world(rounds=6, noise_players=4).play(3)


def _stretch(
    scores: Sequence[int],
    means: Sequence[int],
    deviations: Sequence[int] | None = None,
    first: int = 1,
    errors: Sequence[int] | None = None,
) -> StretchScores:
    """`deviations` of the noise, 1 each unless given; standard `errors`, 0 unless given."""
    return StretchScores(
        first_round=first,
        last_round=first + 2,
        seed=BLOCK,
        scores_pico=tuple(scores),
        standard_errors_pico=(0,) * len(scores) if errors is None else tuple(errors),
        dropped=(),
        noise_means_pico=tuple(means),
        noise_deviations_pico=(1,) * len(scores) if deviations is None else tuple(deviations),
    )


def _settle(
    stretches: list[StretchScores], records: Sequence[RoundRecord] | None = None
) -> Settlement:
    return settle(
        WORLD.task,
        task_id=1,
        roster=WORLD.addresses,
        records=WORLD.records if records is None else records,
        stretches=stretches,
    )


NAMES = ("scores_pico", "standard_errors_pico", "noise_means_pico", "noise_deviations_pico")
M = 10**6
"""Scores are far above what a replay cannot tell from 0."""


def test_scores_add_up_and_pass_noise_in_their_own_name_to_be_paid() -> None:
    stretches = [
        _stretch([600 * M, 300 * M, 5, -50 * M], [-8 * M, -5 * M, 0, -900 * M], [30 * M] * 4),
        _stretch([0, 0, 1, 900 * M], [-2 * M, -300 * M, 0, 0], [40 * M] * 4, first=4),
    ]
    settled = _settle(stretches)
    assert [each.score_pico for each in settled.results] == [600 * M, 300 * M, 6, 850 * M]
    for index, result in enumerate(settled.results):
        assert result.threshold_pico == noise_threshold(
            [each.noise_means_pico[index] for each in stretches],
            [each.noise_deviations_pico[index] for each in stretches],
        )
    # Noise of the second is best three times as loud in the first stretch: 3 (3) 30 - 9 (5).
    assert settled.results[1].threshold_pico == pytest.approx(225 * M, rel=1e-6)
    paid = [600, 300, 0, 850]
    budget = WORLD.task.terms.budget_wei
    assert [each.payout_wei for each in settled.results] == [
        budget * each // sum(paid) for each in paid
    ]
    assert settled.payout_total_wei == sum(each.payout_wei for each in settled.results) <= budget
    assert sum(each.share_wad for each in settled.results) <= 10**18
    assert [(leaf.account, leaf.place) for leaf in settled.payout_leaves] == [
        (WORLD.addresses[i], i) for i, each in enumerate(paid) if each
    ]
    for index, leaf in enumerate(settled.payout_leaves):
        assert verify(settled.payout_root, leaf, proof(settled.payout_leaves, index))


@pytest.mark.promise(8)
@given(
    st.lists(st.tuples(*[st.integers(-(2**53) + 1, 2**53 - 1)] * 4), min_size=1, max_size=4),
    st.lists(st.tuples(*[st.integers(-(2**53) + 1, 2**53 - 1)] * 4), min_size=4, max_size=4),
    st.lists(st.tuples(*[st.integers(0, 2**53 - 1)] * 4), min_size=4, max_size=4),
)
def test_promise_8_no_scores_pay_more_than_the_budget(scores, means, deviations) -> None:
    stretches = [_stretch(*each) for each in zip(scores, means, deviations, strict=False)]
    settled = _settle(stretches)
    assert settled.payout_total_wei <= WORLD.task.terms.budget_wei
    assert sum(leaf.amount for leaf in settled.payout_leaves) == settled.payout_total_wei
    assert sum(leaf.amount for leaf in settled.share_leaves) <= 10**18
    for result in settled.results:
        assert result.payout_wei == 0 or result.score_pico > result.threshold_pico


MOMENTS = st.tuples(st.integers(-(2**50), 0), st.integers(1, 2**50))


def _loudest(stretches: list[tuple[int, int]]) -> float:
    """The highest 3 deviations above the mean over loudness 0 to 3 in each stretch. With the
    variance w given, the rest is linear; so w is tried on a fine grid, and filled where a unit of
    it costs the least mean."""
    cheapest = sorted((-mean / deviation**2, deviation**2) for mean, deviation in stretches)
    most = sum(9.0 * square for _, square in cheapest)
    best = 0.0
    for part in np.linspace(0.0, 1.0, 2_001):
        left, cost = part**2 * most, 0.0
        for price, square in cheapest:
            taken = min(left, 9.0 * square)
            left, cost = left - taken, cost + price * taken
        best = max(best, 3.0 * part * math.sqrt(most) - cost)
    return best


@given(st.lists(MOMENTS, min_size=1, max_size=6))
@settings(max_examples=60)
def test_the_threshold_is_what_noise_of_any_loudness_hardly_ever_passes(
    stretches: list[tuple[int, int]],
) -> None:
    threshold = noise_threshold([each[0] for each in stretches], [each[1] for each in stretches])
    expected = _loudest(stretches)
    smallest = 1_000 * len(stretches)
    assert threshold >= smallest
    assert threshold >= min(2**53 - 1, 0.999 * expected) - 64
    if smallest < expected < 2**52:
        scale = math.hypot(*(each[1] for each in stretches))
        assert threshold <= expected + 1e-2 * scale + 64
    # As loud as the task asks for in every stretch is one of the ways.
    plain = sum(each[0] for each in stretches) + 3 * math.hypot(*(each[1] for each in stretches))
    assert threshold >= min(2**53 - 1, plain) - 64


def test_noise_that_never_harms_is_bounded_by_its_loudness() -> None:
    assert noise_threshold([0], [10 * M]) == 90 * M
    assert noise_threshold([5 * M], [10 * M]) == 90 * M, "a mean above 0 is luck"
    assert noise_threshold([-1], [0]) == 1_000
    # 3 a s - a^2 t is highest at a = 3 s / (2 t).
    assert noise_threshold([-20 * M], [10 * M]) == pytest.approx(9 * 100 * M / 80, rel=1e-6)


def test_nothing_is_paid_where_nothing_judged() -> None:
    settled = _settle([_stretch([0] * 4, [0] * 4)])
    assert settled.payout_total_wei == 0
    assert settled.payout_root == settled.share_root == EMPTY_ROOT


def test_who_was_judged_out_keeps_no_gain() -> None:
    world = make_world(contributors=6, judge_rounds=(2,), rows=300, public_n=1800)
    flipper = world.addresses[3]
    inputs, targets = world.rows[flipper]
    world.rows[flipper] = (inputs, -targets)
    world.play(3)
    settled = settle(
        world.task,
        task_id=1,
        roster=world.addresses,
        records=world.records,
        stretches=[_stretch([100] * 6, [0] * 6)],
    )
    assert [each.score_pico for each in settled.results] == [100, 100, 100, 0, 100, 100]
    assert settled.results[3].payout_wei == settled.results[3].share_wad == 0
    # It answered rounds 1 and 2 and was not asked again.
    assert settled.results[3].rounds_answered == 2
    assert settled.results[0].rounds_answered == 3


def test_epsilon_is_that_of_the_rounds_answered() -> None:
    policy = WORLD.task.policy
    settled = _settle([_stretch([1] * 4, [0] * 4)])
    mu = math.sqrt(3) / (policy.noise_multiplier_micro / 1e6)
    expected = math.ceil(epsilon_of_mu(mu, policy.delta_e12 / 1e12) * 1e6)
    assert {each.epsilon_micro for each in settled.results} == {expected}
    assert 0 < expected < policy.epsilon_micro
    assert rounds_answered("0x" + "99" * 20, WORLD.records) == ()


def _report(stretches: list[StretchScores]) -> ScoreReport:
    settled, task = _settle(stretches), WORLD.task
    return ScoreReport(
        kind="covalue.scores/2",
        chain_id=1,
        ledger="0x" + "1e" * 20,
        task_id=1,
        task_digest=task.digest(),
        model=WORLD.base,
        judged_on="sealed-rows",
        parts=(),
        stretches=tuple(stretches),
        results=settled.results,
        payout_total_wei=settled.payout_total_wei,
        payout_root=settled.payout_root,
        share_root=settled.share_root,
        card=ModelCard(
            kind="covalue.card/1",
            task_digest=task.digest(),
            title="t",
            asset_class="a",
            target=task.target,
            family="kernel",
            model=WORLD.base,
            rounds=6,
            epsilon_micro=1,
            delta_e12=1,
            contributors=4,
            rows_judged=0,
            studies=(),
            interval_level_micro=0,
            stretch_center_micro=0,
            stretch_slope_micro=1_000_000,
            calibrated=None,
            interval_halfwidth_micro=0,
            licence="l",
        ),
    )


@pytest.mark.promise(7)
def test_promise_7_a_seed_that_is_not_the_block_after_the_commitment_is_named() -> None:
    first, second = _stretch([5] * 4, [0] * 4), _stretch([5] * 4, [0] * 4, first=4)
    blocks = [BLOCK, SeedBlock(number=9, hash="cd" * 32)]
    report = _report([first, second.model_copy(update={"seed": blocks[1]})])
    check_seeds(report, stretches=2, blocks=blocks)
    for number, digest, place in ((8, "cd" * 32, "number"), (9, BLOCK.hash, "hash")):
        there = [BLOCK, SeedBlock(number=number, hash=digest)]
        with pytest.raises(ReplayMismatch) as caught:
            check_seeds(report, stretches=2, blocks=there)
        assert caught.value.place == f"score report, stretches[1].seed.{place}"
    with pytest.raises(ReplayMismatch, match=r"stretches\[1\].seed.*block 9.*not there yet"):
        check_seeds(report, stretches=2, blocks=blocks[:1])
    with pytest.raises(ReplayMismatch, match="stretches"):
        check_seeds(report, stretches=3, blocks=[*blocks, BLOCK])


def test_standard_errors_of_stretches_add_up_as_squares_and_round_up() -> None:
    stretches = [
        _stretch([M] * 4, [0] * 4, errors=[3, 0, 1, 2**52]),
        _stretch([M] * 4, [0] * 4, first=4, errors=[4, 0, 1, 2**53 - 1]),
    ]
    found = [each.standard_error_pico for each in _settle(stretches).results]
    assert found == [5, 0, 2, 2**53 - 1]


def test_promise_7_standard_errors_are_those_of_the_draws_and_0_where_nothing_was_drawn() -> None:
    def stretch(errors: list[int]) -> list[StretchScores]:
        return [_stretch([10**9] * 4, [0] * 4, errors=errors)]

    drawn = stretch([10**8, 0, 5 * 10**7, 1])
    _check(_report(stretch([10**8 + 1_050, 0, 5 * 10**7, 2])), drawn)
    smaller, made_up = _report(stretch([10**8 - 2_000, 0, 5 * 10**7, 1])), stretch([0, 0, 0, 1])
    with pytest.raises(ReplayMismatch, match=r"standard_errors_pico\[0\]"):
        _check(smaller, drawn)
    with pytest.raises(ReplayMismatch, match=r"standard_errors_pico\[3\]"):
        _check(_report(made_up), stretch([0] * 4))


def _check(
    report: ScoreReport, recomputed: list[StretchScores], judged_on: JudgedOn = "sealed-rows"
) -> None:
    check_stretches(report, judged_on=judged_on, stretches=recomputed)
    check_scores(report, settlement=_settle(list(report.stretches)))


def test_promise_7_where_nothing_judged_a_score_is_0_and_not_almost() -> None:
    """The tolerance of a replay is for float sums; here there is none."""
    zero = [_stretch([0] * 4, [0] * 4, [0] * 4)]
    report = _report(zero).model_copy(update={"judged_on": "nothing"})
    _check(report, zero, "nothing")
    for name in NAMES:
        bent = zero[0].model_copy(update={name: (0, 0, 1, 0)})
        more = _report([bent]).model_copy(update={"judged_on": "nothing"})
        with pytest.raises(ReplayMismatch, match=rf"{name}\[2\]"):
            _check(more, zero, "nothing")


@pytest.mark.parametrize("name", NAMES)
def test_promise_7_a_score_too_few_or_too_many_is_named(name: str) -> None:
    whole = [_stretch([10**9, 2 * 10**9, 0, 5], [3, 4, 5, 6])]
    report = _report(whole)
    for entries in ((), (0, 0, 0), (0,) * 5):
        bent = whole[0].model_copy(update={name: entries})
        with pytest.raises(ReplayMismatch, match=f"{name}, length"):
            check_stretches(
                report.model_copy(update={"stretches": (bent,)}),
                judged_on="sealed-rows",
                stretches=whole,
            )


@pytest.mark.promise(7)
def test_promise_7_scores_are_found_within_the_tolerance_and_money_exactly() -> None:
    recorded = [_stretch([10**9, 2 * 10**9, 0, 5], [3, 4, 5, 6])]
    report = _report(recorded)
    _check(report, recorded)
    _check(report, [_stretch([10**9 + 1_500, 2 * 10**9 - 1_500, 999, 5], [3, 4, 5, 6])])
    with pytest.raises(ReplayMismatch, match=r"stretches\[0\].scores_pico\[1\]"):
        _check(report, [_stretch([10**9, 2 * 10**9 + 5_000, 0, 5], [3, 4, 5, 6])])
    with pytest.raises(ReplayMismatch, match=r"stretches\[0\].noise_means_pico\[3\]"):
        _check(report, [_stretch([10**9, 2 * 10**9, 0, 5], [3, 4, 5, 2_000])])
    with pytest.raises(ReplayMismatch, match=r"stretches\[0\].noise_deviations_pico\[2\]"):
        _check(report, [_stretch([10**9, 2 * 10**9, 0, 5], [3, 4, 5, 6], [1, 1, 2_000, 1])])
    with pytest.raises(ReplayMismatch, match="first_round"):
        _check(report, [_stretch([10**9, 2 * 10**9, 0, 5], [3, 4, 5, 6], first=2)])


@pytest.mark.promise(7)
@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("payout_total_wei", 1, "score report, payout_total_wei"),
        ("payout_root", EMPTY_ROOT, "score report, payout_root"),
        ("share_root", EMPTY_ROOT, "score report, share_root"),
        ("judged_on", "public-rows", "score report, judged_on"),
    ],
)
def test_promise_7_any_changed_number_of_a_report_is_named(field, value, place) -> None:
    recorded = [_stretch([10**9, 2 * 10**9, 0, 5], [3, 4, 5, 6])]
    bent = _report(recorded).model_copy(update={field: value})
    with pytest.raises(ReplayMismatch) as caught:
        _check(bent, recorded)
    assert caught.value.place == place


@pytest.mark.parametrize("name", ["payout_wei", "threshold_pico", "standard_error_pico"])
def test_a_changed_payout_or_threshold_of_one_contributor_is_named(name: str) -> None:
    recorded = [_stretch([10**9, 2 * 10**9, 0, 5], [3, 4, 5, 6])]
    report = _report(recorded)
    more = report.results[1].model_copy(update={name: getattr(report.results[1], name) + 1})
    bent = report.model_copy(update={"results": (report.results[0], more, *report.results[2:])})
    with pytest.raises(ReplayMismatch, match=rf"results\[1\].{name}"):
        _check(bent, recorded)


SAMPLED = WORLD.task.model_copy(
    update={
        "policy": WORLD.task.policy.model_copy(
            update={
                "mechanism": "gaussian-poisson",
                "noise_multiplier_micro": 1_000_000,
                "sampling": Sampling(rate_micro=100_000, steps=4, eta_micro=1_000, local_units=100),
            }
        )
    }
)


@pytest.mark.promise(7)
@pytest.mark.parametrize(
    ("task", "apart", "taken"),
    [
        (SAMPLED, 0, True),
        (SAMPLED, 1_000, True),
        (SAMPLED, -1_000, True),
        (SAMPLED, 1, False),
        (SAMPLED, 999, False),
        (SAMPLED, 2_000, False),
        (SAMPLED, -2_000, False),
        (WORLD.task, 0, True),
        (WORLD.task, 1, False),
        (WORLD.task, 1_000, False),
        (WORLD.task, -1_000, False),
    ],
)
def test_promise_7_an_epsilon_of_sampled_steps_may_be_one_step_away_and_no_other(
    task: Task, apart: int, taken: bool
) -> None:
    """Another processor's privacy loss distribution may round to the next step of 1,000."""
    recorded = [_stretch([10**9, 2 * 10**9, 0, 5], [3, 4, 5, 6])]
    settled = settle(
        task, task_id=1, roster=WORLD.addresses, records=WORLD.records, stretches=recorded
    )
    epsilon = settled.results[2].epsilon_micro
    assert epsilon > 2_000
    moved = settled.results[2].model_copy(update={"epsilon_micro": epsilon + apart})
    results = (*settled.results[:2], moved, settled.results[3])
    report = _report(recorded).model_copy(update={"results": results})

    def check(bent: ScoreReport) -> None:
        check_scores(bent, settlement=settled)

    if not taken:
        with pytest.raises(ReplayMismatch, match=r"results\[2\].epsilon_micro"):
            check(report)
        return
    check(report)
    paid = moved.model_copy(update={"payout_wei": moved.payout_wei + 1})
    with pytest.raises(ReplayMismatch, match=r"results\[2\].payout_wei"):
        check(report.model_copy(update={"results": (*results[:2], paid, results[3])}))
    with pytest.raises(ReplayMismatch, match="4 entries|3 entries"):
        check(report.model_copy(update={"results": results[:3]}))
