# SPDX-License-Identifier: Apache-2.0
"""Fast Shapley values against the definition, and the axioms that they must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.shapley import (
    coalitions_of,
    draw_permutations,
    exact_shapley,
    gram_shapley,
    quadratic_shapley,
    sampled_shapley,
    shapley_by_definition,
)
from tests.independent import coalitions

GAMES = st.tuples(st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**32))


def _game(players: int, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=rows), rng.normal(size=(players, rows))


def _value_of(residual: np.ndarray, effects: np.ndarray, members: frozenset[int]) -> float:
    left = residual - effects[sorted(members)].sum(axis=0)
    return -float(np.mean(left**2))


def _batched(residual, effects):
    return lambda masks: -np.mean((residual - masks.astype(float) @ effects) ** 2, axis=1)


def _curved(seed: int, players: int):
    """A game with interactions of every order, as a table of 2^K values."""
    table = np.random.default_rng(seed).normal(size=1 << players)
    table[0] = 0.3
    weights = 1 << np.arange(players)
    return table, lambda masks: table[masks @ weights]


@given(GAMES)
def test_closed_form_is_the_definition(game) -> None:
    residual, effects = _game(*game)
    slow = shapley_by_definition(lambda s: _value_of(residual, effects, s), len(effects))
    assert np.allclose(quadratic_shapley(residual, effects), slow, rtol=1e-9, atol=1e-9)
    first, gram = effects @ residual / len(residual), effects @ effects.T / len(residual)
    assert np.allclose(gram_shapley(first, gram), slow, rtol=1e-9, atol=1e-9)


@given(players=st.integers(0, 6), seed=st.integers(0, 2**32))
def test_enumeration_is_the_definition(players: int, seed: int) -> None:
    table, value = _curved(seed, players)
    slow = shapley_by_definition(lambda s: table[sum(1 << i for i in s)], players)
    assert np.array_equal(value(coalitions_of(players)), table)
    assert np.allclose(exact_shapley(table), slow, rtol=1e-9, atol=1e-9)


@given(players=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_efficiency(players: int, seed: int) -> None:
    table, value = _curved(seed, players)
    total = table[-1] - table[0]
    assert np.isclose(exact_shapley(table).sum(), total, atol=1e-9)
    sampled, _ = sampled_shapley(value, players, seed=b"x", permutations=3)
    assert np.isclose(sampled.sum(), total, atol=1e-9)


@given(GAMES)
def test_efficiency_of_the_closed_form(game) -> None:
    residual, effects = _game(*game)
    everybody = frozenset(range(len(effects)))
    gain = _value_of(residual, effects, everybody) - _value_of(residual, effects, frozenset())
    assert np.isclose(quadratic_shapley(residual, effects).sum(), gain, atol=1e-9)


def _twin_and_idler(seed: int, players: int):
    """A table of arbitrary values of one more player than `players`, who does as the first does,
    and another one who adds nothing to any coalition."""
    table, _ = _curved(seed, players + 1)
    codes = np.arange(1 << (players + 2))
    first, twin = codes & 1, codes >> players & 1
    # Of the two alike only their number counts: who is in alone counts as the first.
    alike = codes & ~(1 | 1 << players) | (first | twin) | (first & twin) << players
    return table[alike & (1 << (players + 1)) - 1]


@given(players=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_symmetry_and_null_player_of_any_game(players: int, seed: int) -> None:
    """Exact values keep both; sampled ones pay the null player nothing, and two alike the same
    within their error bars."""
    table = _twin_and_idler(seed, players)
    exact = exact_shapley(table)
    assert np.isclose(exact[0], exact[players], atol=1e-9)
    assert abs(exact[-1]) < 1e-12
    weights = 1 << np.arange(players + 2)
    sampled, errors = sampled_shapley(
        lambda masks: table[masks @ weights], players + 2, seed=b"t", permutations=64
    )
    assert abs(sampled[-1]) < 1e-12
    assert abs(sampled[0] - sampled[players]) <= 6 * (errors[0] + errors[players]) + 1e-12


@given(GAMES)
def test_symmetry_and_null_player_of_a_quadratic_game(game) -> None:
    residual, effects = _game(*game)
    more = np.vstack((effects, effects[0], np.zeros_like(effects[0])))
    for values in (
        quadratic_shapley(residual, more),
        exact_shapley(_batched(residual, more)(coalitions_of(len(more)))),
    ):
        assert np.isclose(values[0], values[-2], atol=1e-9)
        assert abs(values[-1]) < 1e-12


@given(GAMES)
def test_who_splits_in_two_gains_nothing(game) -> None:
    residual, effects = _game(*game)
    halves = np.vstack((effects[:-1], 0.3 * effects[-1], 0.7 * effects[-1]))
    merged, split = quadratic_shapley(residual, effects), quadratic_shapley(residual, halves)
    assert np.allclose(merged[:-1], split[:-2], atol=1e-9)
    assert np.isclose(merged[-1], split[-2] + split[-1], atol=1e-9)


@given(GAMES)
def test_a_player_of_a_quadratic_game_gets_the_mean_of_its_first_and_its_last_marginal(
    game,
) -> None:
    residual, effects = _game(*game)
    for place, got in enumerate(quadratic_shapley(residual, effects)):
        each, rest = effects[place], np.delete(effects, place, axis=0).sum(axis=0)
        first = np.mean(residual**2) - np.mean((residual - each) ** 2)
        last = np.mean((residual - rest) ** 2) - np.mean((residual - rest - each) ** 2)
        assert np.isclose(got, (first + last) / 2, atol=1e-9)


@given(GAMES)
@settings(max_examples=30)
def test_sampling_is_exact_for_a_quadratic_value(game) -> None:
    residual, effects = _game(*game)
    values, errors = sampled_shapley(
        _batched(residual, effects), len(effects), seed=b"q", permutations=2
    )
    assert np.allclose(values, quadratic_shapley(residual, effects), atol=1e-9)
    assert np.all(errors < 1e-9)


def test_sampling_lies_within_its_standard_errors() -> None:
    _, value = _curved(5, 8)
    exact = exact_shapley(value(coalitions_of(8)))
    values, errors = sampled_shapley(value, 8, seed=b"seed", permutations=600)
    z = (values - exact) / errors
    assert np.abs(z).max() < 4
    assert 0.3 < np.std(z) < 2
    again, _ = sampled_shapley(value, 8, seed=b"seed", permutations=600)
    assert np.array_equal(values, again)


def test_the_stated_standard_error_is_how_far_estimates_of_other_seeds_lie_apart() -> None:
    """Over 400 seeds, for 15 players: the deviation of the estimates themselves."""
    _, value = _curved(6, 15)
    runs = [
        sampled_shapley(value, 15, seed=f"seed {number}".encode(), permutations=24)
        for number in range(400)
    ]
    scattered = np.std([values for values, _ in runs], axis=0, ddof=1)
    stated = np.sqrt(np.mean([errors**2 for _, errors in runs], axis=0))
    assert np.all(scattered > 0)
    assert scattered == pytest.approx(stated, rel=0.12)
    assert np.mean(scattered / stated) == pytest.approx(1.0, abs=0.03)


def test_sampling_is_what_the_specification_says_step_by_step() -> None:
    """Against the independent verifier's walk, one coalition after the other."""
    _, value = _curved(7, 16)

    def worth(members: list[int]) -> float:
        mask = np.zeros((1, 16), dtype=np.bool_)
        mask[0, members] = True
        return float(value(mask)[0])

    seed = bytes(range(32))
    values, errors = sampled_shapley(value, 16, seed=seed, permutations=20)
    slow = coalitions.sampled(worth, 16, seed, pairs=20)
    assert values == pytest.approx(slow[0], abs=1e-12)
    assert errors == pytest.approx(slow[1], abs=1e-12)


def test_permutations_are_uniform_and_follow_from_the_seed() -> None:
    drawn = [tuple(map(int, each)) for each in draw_permutations(b"s", 3, 6000)]
    counts = [drawn.count(order) for order in sorted(set(drawn))]
    assert len(counts) == 6
    assert max(abs(count - 1000) for count in counts) < 150
    assert drawn[:50] == [tuple(map(int, each)) for each in draw_permutations(b"s", 3, 6000)][:50]
    assert [list(each) for each in draw_permutations(b"s", 1, 2)] == [[0], [0]]


@pytest.mark.parametrize("players", [12, 14])
def test_enumeration_of_many_players_is_quick_enough(players: int) -> None:
    residual, effects = _game(players, 20, 1)
    exact = exact_shapley(_batched(residual, effects)(coalitions_of(players)))
    assert np.allclose(exact, quadratic_shapley(residual, effects), atol=1e-9)
