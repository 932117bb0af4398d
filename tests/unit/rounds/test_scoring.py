# SPDX-License-Identifier: Apache-2.0
"""Scores of stretches by the long way round: retraining every coalition."""

from __future__ import annotations

import hashlib
from itertools import combinations

import numpy as np
import pytest

from dao.records import SeedBlock, StretchScores
from privacy.engine import clipped_sum
from rewards.shapley import EXACT_PLAYERS
from rounds.coalition import module_outputs
from rounds.judge import noise_updates
from rounds.own_parts import stretches_of
from rounds.phases import release_of
from rounds.score import judging_rows, score_stretch
from rounds.state import decode_state, decode_update, state_to_float, update_to_float
from rounds.stretch import ScoredRound, Stretch, stretch_moves
from tests.independent.own_parts import Known
from tests.plain_scores import plain_scores
from tests.unit.rounds.round_world import BLOCK, World, make_world
from valuation.family import JudgeRows, Prepared


def scored_rounds(world: World) -> list[ScoredRound]:
    states = [*world.states[1:], world.state]
    return [
        ScoredRound(record=record, base_state=base, model=model, updates=updates)
        for record, base, model, updates in zip(
            world.records, world.states, states, world.updates, strict=True
        )
    ]


def _stretch(world: World, rounds: list[ScoredRound] | None = None) -> Stretch:
    """Of all rounds played, or of the last of them."""
    played = scored_rounds(world)
    before = [] if rounds is None else played[: len(played) - len(rounds)]
    parts = (before, played if rounds is None else rounds)
    return [*stretches_of(world.task, world.family, world.steps(), world.addresses, parts)][1]


def _own_parts(world: World) -> dict[int, dict[str, np.ndarray]]:
    """What of each counted update only its sender could know, by round."""
    found, known = {}, Known(len(world.addresses), world.task.model.parameters)
    for each in scored_rounds(world):
        t = each.record.position.round
        counted = [receipt.body.contributor for receipt in each.record.receipts]
        sent = {world.addresses.index(name): _update(world, each, name) for name in counted}
        public = _public_gradient(world, each.base_state) if world.family.judge else None
        own = known.own(sent, public)
        found[t] = {name: own[world.addresses.index(name)] for name in counted}
    return found


def _update(world: World, each: ScoredRound, name: str) -> np.ndarray:
    release = release_of(world.task, each.record.position.round)
    return update_to_float(release, decode_update(release, each.updates[name]))


def _sealed(world: World, rows: int = 50) -> JudgeRows:
    rng = np.random.default_rng(99)
    inputs = rng.normal(size=(rows, world.family.width))
    return JudgeRows(
        inputs, np.zeros(rows), inputs[:, 0] - 0.5 * inputs[:, 1] + 0.2 * rng.normal(size=rows)
    )


def _public_gradient(world: World, state: bytes) -> np.ndarray:
    rows = world.family.judge
    theta = state_to_float(world.task, decode_state(world.task, state))[0]
    return clipped_sum(
        world.family.module(theta),
        rows.inputs,
        rows.residual,
        np.arange(len(rows.residual)),
        clip_norm=1.0,
        max_rows=1,
        huber=1.0,
    )


def _retrained(
    world: World,
    rounds: list[ScoredRound],
    members: frozenset[str],
    noise: dict[int, np.ndarray] | None = None,
) -> np.ndarray:
    """theta after the stretch had only `members`, the public rows, and perhaps a noise player sent
    updates (by round): the plain recursion on floats, not rounded, with the recorded second
    moments. What everybody could know of the others' updates stays."""
    parts = _own_parts(world)
    task, vectors = world.task, world.family.optimiser_vectors()
    state = state_to_float(task, decode_state(task, rounds[0].base_state))
    theta = state[0]
    momentum = state[1] if len(state) == 3 else None
    for each in rounds:
        t = each.record.position.round
        total = _public_gradient(world, each.base_state)
        for receipt in each.record.receipts:
            name = receipt.body.contributor
            total = total + _update(world, each, name)
            if name not in members:
                total = total - parts[t][name]
        if noise is not None:
            total = total + noise[t]
        n, eta = task.policy.public_n, task.optimiser.eta_micro[t - 1] / 1e6
        if momentum is None:
            gain, ridge = vectors["gain"], vectors["ridge"]
            theta = theta + eta * (-total / (n * gain) - ridge * theta) / (1 + ridge)
        else:
            square = state_to_float(task, decode_state(task, each.model))[2]
            momentum = 0.9 * momentum + 0.1 * total / n
            root = np.sqrt(square / (1 - 0.99**t)) + 1e-6
            theta = theta - eta * momentum / (1 - 0.9**t) / root
    return theta


def _value(world: World, theta: np.ndarray, rows: JudgeRows) -> float:
    predicted = world.family.predict(Prepared(rows.inputs, np.zeros(0), None, np.zeros(0)), theta)
    return -float(np.mean((rows.residual - predicted) ** 2))


@pytest.mark.parametrize("hidden", [0, 3], ids=["kernel", "mlp"])
def test_scores_are_shapley_values_of_retrained_coalitions(hidden: int) -> None:
    world = make_world(contributors=3, width=6, hidden=hidden).play(6)
    rows, rounds = _sealed(world), scored_rounds(world)[3:]  # from a model already moved
    scored = score_stretch(_stretch(world, rounds), rows, BLOCK)

    def value(members: frozenset[int]) -> float:
        names = frozenset(world.addresses[i] for i in members)
        return _value(world, _retrained(world, rounds, names), rows)

    slow, dropped = plain_scores(value, 3)
    assert [each / 1e12 for each in scored.scores_pico] == pytest.approx(slow, abs=1e-8)
    assert scored.dropped == tuple(dropped)
    assert (scored.first_round, scored.last_round) == (4, 6)
    assert not any(scored.standard_errors_pico), "all coalitions"


def _noise_scores(
    world: World, rows: JudgeRows, players: int, dropped: tuple[int, ...]
) -> list[float]:
    """The mean of what each noise player adds first and last to those who were not dropped, trained
    through all rounds."""
    task, rounds, found = world.task, scored_rounds(world), []
    numbers = [each.record.position.round for each in rounds]
    seed = bytes.fromhex(task.digest()) + b"covalue.noise-players.v2"
    seed += (1).to_bytes(8, "big") + bytes.fromhex(BLOCK.hash)
    source = hashlib.sha256(seed).hexdigest()
    sent = {t: noise_updates(task, source, round_number=t) for t in numbers}
    left = [each for place, each in enumerate(world.addresses) if place not in dropped]
    sides = (frozenset[str](), frozenset(left))
    ends = [_value(world, _retrained(world, rounds, members), rows) for members in sides]
    for player in range(players):
        noise = {t: each[player] for t, each in sent.items()}
        gains = [
            _value(world, _retrained(world, rounds, members, noise), rows) - end
            for members, end in zip(sides, ends, strict=True)
        ]
        found.append(float(np.mean(gains)))
    return found


def test_noise_of_an_mlp_is_that_of_players_trained_one_by_one() -> None:
    world = make_world(contributors=3, width=6, hidden=3, noise_players=4).play(3)
    rows = _sealed(world)
    scored = score_stretch(_stretch(world), rows, BLOCK)
    slow = _noise_scores(world, rows, 4, scored.dropped)
    for mean, deviation in zip(scored.noise_means_pico, scored.noise_deviations_pico, strict=True):
        assert mean / 1e12 == pytest.approx(np.mean(slow), abs=1e-8)
        assert deviation / 1e12 == pytest.approx(np.std(slow, ddof=1), abs=1e-8)


def test_noise_of_a_linear_model_is_that_of_many_players_trained_one_by_one() -> None:
    """Closed form against 600 players: the mean within four standard errors and the error of 16
    random signs, the deviation within a tenth."""
    world = make_world(contributors=3, width=40, rows=200, noise_players=600).play(3)
    rows = _sealed(world, rows=100)
    scored = score_stretch(_stretch(world), rows, BLOCK)
    assert len(set(scored.noise_means_pico)) == 1, "the rule sum weighs all alike"
    slow = np.array(_noise_scores(world, rows, 600, scored.dropped))
    deviation = float(np.std(slow, ddof=1))
    mean = scored.noise_means_pico[0] / 1e12
    assert abs(mean - slow.mean()) < 4 * deviation / np.sqrt(600) + 0.08 * abs(slow.mean())
    assert mean < 0.0, "noise harms"
    assert scored.noise_deviations_pico[0] / 1e12 == pytest.approx(deviation, rel=0.1)


def test_all_coalitions_together_make_the_recorded_model_plus_the_public_member() -> None:
    world = make_world(contributors=3, judged=True).play(3)
    rounds = scored_rounds(world)
    moves = stretch_moves(_stretch(world, rounds))
    for size in range(4):
        for chosen in combinations(range(3), size):
            names = frozenset(world.addresses[i] for i in chosen)
            expected = _retrained(world, rounds, names)
            assert np.allclose(moves.base + moves.members[list(chosen)].sum(axis=0), expected)


def test_who_was_judged_out_scores_nothing_on_that_stretch() -> None:
    world = make_world(contributors=6, judge_rounds=(2,), rows=300, public_n=1800)
    flipper = world.addresses[3]
    inputs, targets = world.rows[flipper]
    world.rows[flipper] = (inputs, -targets)
    world.play(3)
    assert flipper in world.history.judged_out
    scored = score_stretch(_stretch(world), _sealed(world), BLOCK)
    assert scored.scores_pico[3] == 0
    assert all(scored.scores_pico[i] != 0 for i in (0, 1, 2, 4, 5))


def test_many_contributors_of_an_mlp_are_sampled_with_standard_errors() -> None:
    world = make_world(contributors=20, width=3, hidden=2, rows=60, noise_players=1).play(2)
    stretch, rows = _stretch(world), _sealed(world, rows=20)
    scored = score_stretch(stretch, rows, BLOCK)
    kept = [place for place in range(20) if place not in scored.dropped]
    assert len(kept) > EXACT_PLAYERS
    assert all((error > 0) == (at in kept) for at, error in enumerate(scored.standard_errors_pico))
    assert score_stretch(stretch, rows, BLOCK) == scored
    moves = stretch_moves(stretch)
    ends = [
        _value(world, theta, rows)
        for theta in (moves.base, moves.base + moves.members[kept].sum(axis=0))
    ]
    total = sum(scored.scores_pico[place] for place in kept) / 1e12
    assert total == pytest.approx(ends[1] - ends[0], abs=1e-9)


def test_draws_follow_from_the_block_and_their_scatter_is_the_stated_standard_error() -> None:
    """Sampled scores of an mlp under 16 hashes; what is no draw stays the same under all."""
    world = make_world(contributors=17, width=3, hidden=2, rows=60, noise_players=2).play(2)
    stretch, rows = _stretch(world), _sealed(world, rows=20)
    blocks = [SeedBlock(number=9, hash=f"{number:064x}") for number in range(16)]
    found = [score_stretch(stretch, rows, block) for block in blocks]
    assert [each.seed for each in found] == blocks
    kept = [place for place in range(17) if place not in found[0].dropped]
    assert len(kept) > EXACT_PLAYERS
    assert {each.dropped for each in found} == {found[0].dropped}
    scores = np.array([each.scores_pico for each in found])[:, kept].astype(float)
    errors = np.array([each.standard_errors_pico for each in found])[:, kept].astype(float)
    assert len(np.unique(scores, axis=0)) == 16
    assert len({each.noise_means_pico for each in found}) == 16
    assert np.mean(np.std(scores, axis=0, ddof=1) / np.sqrt(np.mean(errors**2, axis=0))) == (
        pytest.approx(1.0, abs=0.2)
    )
    moved = blocks[0].model_copy(update={"number": 10})
    again = score_stretch(stretch, rows, moved)
    assert again == found[0].model_copy(update={"seed": moved}), "the hash alone seeds"


def test_of_a_linear_model_the_block_seeds_noise_signs_and_no_score() -> None:
    world = make_world(contributors=3, width=40, rows=200).play(3)
    rows = _sealed(world, rows=100)
    one, other = (
        score_stretch(_stretch(world), rows, block)
        for block in (BLOCK, SeedBlock(number=7, hash="ab" * 32))
    )
    assert one.scores_pico == other.scores_pico
    assert one.noise_means_pico != other.noise_means_pico
    means = np.array([one.noise_means_pico, other.noise_means_pico]) / 1e12
    assert means[0] == pytest.approx(means[1], rel=0.1), "signs are drawn anew, noise is the same"


def test_public_rows_judge_where_no_part_was_opened_and_else_nothing_does() -> None:
    world = make_world()
    sealed = Prepared(np.ones((2, 24)), np.zeros(2), np.ones(2), np.zeros(2, dtype=np.int64))
    assert judging_rows(world.family, sealed)[0] == "sealed-rows"
    assert judging_rows(world.family, None) == ("public-rows", world.family.judge)
    bare = make_world(judged=False).play(2)
    assert judging_rows(bare.family, None) == ("nothing", None)
    scored = score_stretch(_stretch(bare), None, BLOCK)
    assert scored == StretchScores(
        first_round=1,
        last_round=2,
        seed=BLOCK,
        scores_pico=(0,) * 4,
        standard_errors_pico=(0,) * 4,
        dropped=(),
        noise_means_pico=(0,) * 4,
        noise_deviations_pico=(0,) * 4,
    )


def test_outputs_of_many_parameter_vectors_are_those_one_by_one() -> None:
    world = make_world(hidden=4, width=5)
    rng = np.random.default_rng(0)
    thetas = rng.normal(size=(11, world.family.parameters))
    inputs = rng.normal(size=(7, 5))
    outputs = module_outputs(world.family.module(thetas[0]), thetas, inputs)
    prepared = Prepared(inputs, np.zeros(0), None, np.zeros(0))
    slow = [world.family.predict(prepared, theta) for theta in thetas]
    assert np.allclose(outputs, slow, rtol=1e-12)
