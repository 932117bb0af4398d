# SPDX-License-Identifier: Apache-2.0
"""Bounds of the noise from scores: against scipy's intervals, brute-force tests, and repetition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from dao.errors import InputError, TaskError
from privacy.canaries import score, worst_canary
from privacy.trade_off import Floats, Game, NoiseBound, noise_at_most, upper_rate

GAMES = [
    Game(units=1),
    Game(units=5),
    Game(units=1, rate=0.3),
    Game(units=2, rate=0.2, steps=3),
    Game(units=2, rate=1.0, steps=3),
]


def play(
    game: Game, sigma: float, trials: int, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Scores as the definition of a game says, step by step."""
    deviation = sigma * math.sqrt(game.steps)
    taken = sum(random.binomial(game.units, game.rate, trials) for _ in range(game.steps))
    without = deviation * random.standard_normal(trials)
    return without, deviation * random.standard_normal(trials) + taken


@given(st.integers(1, 500), st.data(), st.sampled_from([0.001, 0.0125, 0.05, 0.4]))
def test_rates_are_bounded_as_by_scipys_exact_interval(
    trials: int, data: st.DataObject, level: float
) -> None:
    count = data.draw(st.integers(0, trials))
    exact = binomtest(count, trials).proportion_ci(confidence_level=1 - 2 * level, method="exact")
    assert upper_rate(count, trials, level=level) == pytest.approx(exact.high, abs=1e-9)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("sigma", [0.6, 2.0])
def test_no_test_of_the_score_misses_less_than_the_trade_off_function(
    game: Game, sigma: float
) -> None:
    """Neyman and Pearson: the best tests take the cells of the largest likelihood ratio first."""
    deviation, chances = sigma * math.sqrt(game.steps), game.units * game.steps
    edges = np.linspace(-9 * deviation, chances + 9 * deviation, 40_001)
    shifts = {(chances,): 1.0}
    if game.rate < 1:
        shifts = {
            pattern: game.rate ** sum(pattern) * (1 - game.rate) ** (chances - sum(pattern))
            for pattern in itertools.product(range(2), repeat=chances)
        }
    without = np.diff(norm.cdf(edges, scale=deviation))
    present = sum(
        weight * np.diff(norm.cdf(edges, loc=sum(pattern), scale=deviation))
        for pattern, weight in shifts.items()
    )
    order = np.argsort(-present / np.maximum(without, 1e-300))
    alarms, misses = np.cumsum(without[order]), 1.0 - np.cumsum(present[order])
    for alpha in (0.01, 0.1, 0.5, 0.9):
        best = float(np.interp(alpha, alarms, misses))
        assert game.least_misses(alpha, sigma) == pytest.approx(best, abs=2e-4)


@given(st.sampled_from(GAMES), st.floats(0.001, 0.999), st.floats(0.05, 50), st.floats(1.001, 3))
def test_more_noise_means_more_misses(game: Game, alpha: float, sigma: float, more: float) -> None:
    assert game.least_misses(alpha, sigma) <= game.least_misses(alpha, more * sigma) + 1e-12


@pytest.mark.parametrize("game", [GAMES[0], GAMES[1], GAMES[3]])
def test_the_true_noise_is_refuted_no_oftener_than_promised(game: Game) -> None:
    """At a confidence of 60 %, so that 200 repetitions have something to count."""
    random, refuted, repetitions = np.random.default_rng(7), 0, 200
    for _ in range(repetitions):
        without, present = play(game, 2.0, 200, random)
        refuted += noise_at_most(without, present, game, confidence=0.6).sigma < 2.0
    # Four standard deviations above 40 % would be a chance of 1 in 30,000.
    assert refuted <= 0.4 * repetitions + 4 * math.sqrt(0.24 * repetitions)


@pytest.mark.parametrize("sigma", [0.7, 3.0, 40.0])
def test_a_group_of_canaries_makes_the_bound_sharp(sigma: float) -> None:
    game = Game(units=Game(units=1).separating_units(sigma, deviations=3.0))
    without, present = play(game, sigma, 4000, np.random.default_rng(1))
    bound = noise_at_most(without, present, game, confidence=0.9875)
    assert sigma <= bound.sigma <= 1.08 * sigma
    half = noise_at_most(without / 2, present - without / 2, game, confidence=0.9875)
    assert half.sigma < sigma


def test_a_sampled_game_is_bounded_and_its_halved_noise_refuted() -> None:
    game = Game(units=30, rate=0.1, steps=5)
    random = np.random.default_rng(2)
    without, present = play(game, 4.0, 4000, random)
    assert 4.0 <= noise_at_most(without, present, game, confidence=0.95).sigma <= 4.6
    without, present = play(game, 2.0, 4000, random)
    assert noise_at_most(without, present, game, confidence=0.95).sigma < 2.3


def test_scores_that_tell_nothing_refute_nothing() -> None:
    random = np.random.default_rng(3)
    bound = noise_at_most(
        random.standard_normal(1000), random.standard_normal(1000), Game(1), confidence=0.99
    )
    assert bound.sigma > 5.0


def test_releases_without_noise_admit_next_to_none() -> None:
    bound = noise_at_most(np.zeros(100), np.ones(100), Game(1), confidence=0.95)
    assert isinstance(bound, NoiseBound)
    assert bound.sigma < 0.5


def test_too_few_trials_and_a_strange_confidence_are_refused() -> None:
    with pytest.raises(InputError, match="trials"):
        noise_at_most(np.zeros(49), np.ones(100), Game(1), confidence=0.95)
    for confidence in (0.0, 1.0, math.nan):
        with pytest.raises(InputError, match="confidence"):
            noise_at_most(np.zeros(100), np.ones(100), Game(1), confidence=confidence)


def network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)
    ).double()


def flat(module: torch.nn.Module) -> Floats:
    return torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy()


@pytest.mark.parametrize("huber", [None, 0.8])
def test_the_worst_canary_has_the_largest_gradient_of_torchs_own_loss(huber: float | None) -> None:
    random = np.random.default_rng(5)
    inputs, low, high = random.normal(size=(6, 3)), -random.random(6), random.random(6) * 3
    modules = [network(seed) for seed in range(3)]
    found = worst_canary([(flat(each), each) for each in modules], inputs, low, high, huber=huber)
    largest, place, gradient = 0.0, (0, 0.0), np.zeros(0)
    for module in modules:
        for row in range(6):
            for residual in (low[row], high[row]):
                module.zero_grad()
                output = module(torch.from_numpy(inputs[row : row + 1])).reshape(())
                wanted = torch.tensor(residual)
                loss = (
                    0.5 * (output - wanted) ** 2
                    if huber is None
                    else torch.nn.functional.huber_loss(output, wanted, delta=huber)
                )
                loss.backward()
                each = torch.cat(
                    [part.grad.reshape(-1) for part in module.parameters() if part.grad is not None]
                )
                if float(each.norm()) > largest:
                    largest, place, gradient = float(each.norm()), (row, residual), each.numpy()
    assert (found.row, found.residual) == place
    assert found.norm == pytest.approx(largest, rel=1e-9)
    assert np.allclose(found.direction * found.norm, gradient, rtol=1e-9)
    assert score(2.5 * gradient, found.direction, unit=largest) == pytest.approx(2.5)


def test_a_model_without_gradient_has_no_canary() -> None:
    module = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    with pytest.raises(TaskError, match="no row has a gradient"):
        worst_canary(
            [(flat(module), module)], np.zeros((3, 2)), np.zeros(3), np.ones(3), huber=None
        )
