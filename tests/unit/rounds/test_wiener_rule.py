# SPDX-License-Identifier: Apache-2.0
"""The rule `wiener` against the formulas written out, and against what it is to estimate."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from dao.errors import TaskError
from rounds.landscape import Landscape
from rounds.step import PUBLIC
from rounds.surveys import damping, expected_counts
from rounds.wiener import WienerRule, wiener_rule
from tests.unit.rounds.wiener_world import plain_cut, plain_damping

D, ROWS, CELLS, K, UNITS = 24, 240, 8, 5, 3_000
GRID = 2.0**-30


@pytest.fixture
def landscape() -> Landscape:
    random = np.random.default_rng(4)
    cells = random.integers(0, CELLS, ROWS)
    # Rows of a cell are alike in a few directions, as rows of a place are.
    centers = random.normal(size=(CELLS, D))
    features = centers[cells] + 0.6 * random.normal(size=(ROWS, D))
    return Landscape(
        features=features,
        cells=cells.astype(np.int64),
        cell_count=CELLS,
        prior=np.geomspace(0.5, 1e-6, D),
        spread=0.35,
        clip_norm=0.5 * 0.35 * float(np.median(np.linalg.norm(features, axis=1))),
        deviation=9.0,
        survey_deviation=6.0,
        units=UNITS,
        public=np.bincount(cells, minlength=CELLS).astype(np.float64),
    )


@pytest.fixture
def surveys() -> np.ndarray:
    random = np.random.default_rng(5)
    counts = random.multinomial(UNITS // K, random.dirichlet(np.full(CELLS, 0.3)), size=K)
    return counts + 6.0 * random.normal(size=counts.shape)


def plainly(landscape: Landscape, surveys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """J and W_k written out: one row after the other, and plain inverses."""
    rows, d = landscape.features.shape
    told = expected_counts(landscape, surveys)
    share = np.zeros((len(surveys), rows))
    for k in range(len(surveys)):
        for i in range(rows):
            cell = landscape.cells[i]
            share[k, i] = told[k, cell] / (landscape.cells == cell).sum()

    def passing(reach: float) -> float:
        return math.erf(reach / math.sqrt(2.0))

    def gram(weights: np.ndarray) -> np.ndarray:
        total = np.zeros((d, d))
        for i in range(rows):
            psi = landscape.features[i]
            reach = landscape.clip_norm / (landscape.spread * math.sqrt(psi @ psi))
            total += weights[i] * passing(reach) * np.outer(psi, psi)
        return total

    draws = np.random.default_rng(0).normal(size=4_000_000)
    norm = float(np.median([math.sqrt(psi @ psi) for psi in landscape.features]))
    c = landscape.clip_norm / (landscape.spread * norm)
    # E[min(z^2, c^2)] / P(|z| < c) by counting.
    ratio = np.minimum(draws**2, c * c).mean() / (np.abs(draws) < c).mean()
    overall = gram(np.full(rows, 1.0 / rows))
    heard = (surveys > 1.5 * landscape.survey_deviation).sum(axis=0)
    damping = plain_damping(told, landscape.public, heard, landscape.survey_deviation)
    j, weights = np.diag(1.0 / landscape.prior), []
    for k in range(len(surveys)):
        n = 0.8 * gram(share[k]) + 0.2 * share[k].sum() * overall
        v = landscape.deviation**2 * np.eye(d) + landscape.spread**2 * ratio * n
        w = n @ np.linalg.inv(v)
        weights.append(w)
        j += damping * w @ n
    return j, np.array(weights)


def together(rule: WienerRule, theta: np.ndarray, updates: np.ndarray) -> np.ndarray:
    """The direction after everybody's update, float64[K, d]."""
    return rule.direction(theta, rule.weigh(updates, range(len(updates))).sum(axis=0))


def test_the_rule_is_the_formulas_written_out(landscape: Landscape, surveys: np.ndarray) -> None:
    rule = wiener_rule(landscape, surveys)
    j, weights = plainly(landscape, surveys)
    # The ratio counted from draws is good to three digits or so.
    assert np.abs(rule.weights - weights).max() < 2e-3 * np.abs(weights).max()
    random = np.random.default_rng(6)
    theta = random.normal(size=D) * np.sqrt(landscape.prior)
    updates = random.normal(size=(K, D)) * landscape.deviation
    right = sum(w @ u for w, u in zip(weights, updates, strict=True)) + theta / landscape.prior
    expected = -np.linalg.solve(j, right)
    assert np.abs(together(rule, theta, updates) - expected).max() < 2e-3 * np.abs(expected).max()


def test_each_update_is_weighed_by_its_own_voice_in_any_order(
    landscape: Landscape, surveys: np.ndarray
) -> None:
    rule = wiener_rule(landscape, surveys)
    voices = [3, PUBLIC, 0, 3, 1, PUBLIC, 3]
    updates = np.random.default_rng(7).normal(size=(len(voices), D))
    expected = [
        u / _sampling_limit(landscape) if voice == PUBLIC else rule.weights[voice] @ u
        for voice, u in zip(voices, updates, strict=True)
    ]
    np.testing.assert_allclose(rule.weigh(updates, voices), expected, rtol=1e-9, atol=1e-12)
    nobody = np.zeros((0, D))
    assert rule.weigh(nobody, ()).shape == rule.direction(nobody, nobody).shape == nobody.shape


def test_displacements_add_up_to_the_way_of_theta(
    landscape: Landscape, surveys: np.ndarray
) -> None:
    """The step is linear: phi_1 + ... + phi_K = theta - theta_0."""
    rule = wiener_rule(landscape, surveys)
    random = np.random.default_rng(8)
    theta, phi = np.zeros(D), np.zeros((K, D))
    for _ in range(6):
        updates = random.normal(size=(K, D))
        theta = theta + 0.3 * together(rule, theta, updates)
        phi = phi + 0.3 * rule.direction(phi, rule.weigh(updates, range(K)))
    np.testing.assert_allclose(phi.sum(axis=0), theta, rtol=1e-9, atol=1e-12)


def test_repeated_steps_reach_the_posterior_mean(landscape: Landscape, surveys: np.ndarray) -> None:
    """With G_k = N_k (theta - theta*) + e_k of fixed e_k the fixed point is weighted least squares
    over all contributors' equations and the prior, solved here as one stacked system."""
    rule = wiener_rule(landscape, surveys)
    random = np.random.default_rng(9)
    truth = random.normal(size=D) * np.sqrt(landscape.prior)
    a = landscape.deviation**2
    stacked, known = [np.diag(landscape.prior**-0.5)], [np.zeros(D)]
    curves, errors = [], []
    for w in rule.weights:
        # N = a W (I - b W)^-1 with b from W itself would be circular: recover N from J's formula.
        values, vectors = np.linalg.eigh(w)
        b = 1.0 / _sampling_limit(landscape)
        n_values = a * values / (1.0 - values / b)
        n = (vectors * n_values) @ vectors.T
        v = a * np.eye(D) + n / b
        error = np.linalg.cholesky(v) @ random.normal(size=D)
        half = np.linalg.inv(np.linalg.cholesky(v))
        stacked.append(half @ n)
        known.append(half @ (n @ truth + error))
        curves.append(n)
        errors.append(error)
    expected, *_ = np.linalg.lstsq(np.vstack(stacked), np.concatenate(known), rcond=None)
    theta = np.zeros(D)
    for _ in range(1_500):  # damped: surveys and public rows are apart here
        updates = [n @ (theta - truth) - e for n, e in zip(curves, errors, strict=True)]
        theta = theta + 0.6 * together(rule, theta, np.stack(updates))
    assert np.abs(theta - expected).max() < 1e-6


def _sampling_limit(landscape: Landscape) -> float:
    """b of V = a I + b N."""
    norm = float(np.median(np.linalg.norm(landscape.features, axis=1)))
    c = landscape.clip_norm / (landscape.spread * norm)
    passing = math.erf(c / math.sqrt(2.0))
    kept = passing - c * math.sqrt(2 / math.pi) * math.exp(-c * c / 2) + c * c * (1 - passing)
    return landscape.spread**2 * kept / passing


def test_another_order_of_arithmetic_stays_within_half_a_step_of_the_grid() -> None:
    """Shuffled synthetic rows give other sums in other bits, as another processor would."""
    random = np.random.default_rng(10)
    rows, d, cells = 1_500, 300, 30
    place = random.integers(0, cells, rows)
    features = random.normal(size=(cells, d))[place] + random.normal(size=(rows, d))
    large = Landscape(
        features=features,
        cells=place.astype(np.int64),
        cell_count=cells,
        prior=np.geomspace(1e-2, 1e-7, d),
        spread=0.35,
        clip_norm=4.0,
        deviation=14.0,
        survey_deviation=5.0,
        units=16_000,
        public=np.bincount(place, minlength=cells).astype(np.float64),
    )
    surveys = random.multinomial(1_600, np.full(cells, 1 / cells), size=10).astype(np.float64)
    order = random.permutation(rows)
    shuffled = replace(large, features=features[order], cells=large.cells[order])
    one, other = wiener_rule(large, surveys), wiener_rule(shuffled, surveys)
    theta = random.normal(size=d) * np.sqrt(large.prior)
    updates = random.normal(size=(10, d)) * 14.0 * math.sqrt(30.0)
    difference = together(one, theta, updates) - together(other, theta, updates)
    assert 0.0 < np.abs(difference).max() < GRID / 2


def test_counts_lost_in_noise_are_dropped_and_who_told_nothing_is_everywhere(
    landscape: Landscape,
) -> None:
    """1.5 deviations are 9 units here. A cell without synthetic rows stands for nothing."""
    bare = replace(landscape, cell_count=CELLS + 1)
    surveys = np.zeros((3, CELLS + 1))
    surveys[0, :3] = 40.0, 8.0, -40.0
    surveys[0, CELLS] = 500.0
    surveys[1] = 8.0
    counts = expected_counts(bare, surveys)
    assert counts[0].tolist() == [40.0] + [0.0] * CELLS
    per_cell = [int((landscape.cells == cell).sum()) for cell in range(CELLS)]
    everywhere = [UNITS / 3 * here / ROWS for here in per_cell]
    for nothing in counts[1:]:
        np.testing.assert_allclose(nothing, [*everywhere, 0.0])
    assert isinstance(wiener_rule(landscape, np.zeros((K, CELLS))), WienerRule)


def test_contributors_that_told_the_same_share_one_matrix(landscape: Landscape) -> None:
    """A thousand silent ones cost the memory of one; the step is that of as many matrices."""
    surveys = np.zeros((4, CELLS))
    surveys[1, 2] = 700.0
    rule = wiener_rule(landscape, surveys)
    assert rule.weights[0] is rule.weights[2] is rule.weights[3]
    assert rule.weights[1] is not rule.weights[0]
    j, weights = plainly(landscape, surveys)
    update = np.random.default_rng(3).normal(size=D)
    expected = -np.linalg.solve(j, weights[3] @ update)
    found = rule.direction(np.zeros(D), rule.weigh(update[None, :], (3,))[0])
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()


def test_a_contributor_is_heard_where_its_rows_lie(landscape: Landscape) -> None:
    """Two contributors in two cells: the step listens to each in its own cell's direction, at least
    twice as much (no more, since a fifth of the rows of each is taken to lie anywhere)."""
    surveys = np.zeros((2, CELLS))
    surveys[0, 0] = surveys[1, 1] = 1_500.0
    rule = wiener_rule(landscape, surveys)
    for cell in (0, 1):
        psi = landscape.features[landscape.cells == cell].mean(axis=0)
        heard = [float(psi @ rule.weights[k] @ psi) for k in (0, 1)]
        assert heard[cell] > 2.0 * heard[1 - cell]


@pytest.mark.parametrize("wrong", [np.zeros((K, CELLS + 1)), np.zeros(CELLS)])
def test_surveys_of_another_shape_are_refused(landscape: Landscape, wrong: np.ndarray) -> None:
    with pytest.raises(TaskError, match="surveys of shape"):
        wiener_rule(landscape, wrong)


def test_a_survey_that_is_not_finite_is_refused(landscape: Landscape) -> None:
    with pytest.raises(TaskError, match="not finite"):
        wiener_rule(landscape, np.full((K, CELLS), np.nan))


def test_who_tells_too_much_is_cut_before_who_tells_the_truth(landscape: Landscape) -> None:
    random = np.random.default_rng(12)
    honest = np.full((K, CELLS), UNITS / K / CELLS) + random.uniform(-9, 9, (K, CELLS))
    for lie in (1.0, 3.0, 50.0):
        told = honest.copy()
        told[2] *= lie
        counts = expected_counts(landscape, told)
        np.testing.assert_allclose(counts, plain_cut(told, UNITS), rtol=1e-9)
        assert counts.sum() <= UNITS * (1.0 + 1e-9)
        assert counts[2].sum() < 1.2 * UNITS / K
    few = honest / 2.0
    np.testing.assert_array_equal(expected_counts(landscape, few), few)


def test_steps_are_shorter_where_rows_lie_away_from_the_public_ones(landscape: Landscape) -> None:
    """Damping rises with the distance from the public rows, and does not move where steps end."""
    share = landscape.public / landscape.public.sum()
    far = np.zeros(CELLS)
    far[0] = 1.0
    found = []
    for mixed in (0.0, 0.2, 0.3, 1.0):
        told = np.tile(UNITS / K * ((1 - mixed) * share + mixed * far), (K, 1))
        heard = (told > 1.5 * landscape.survey_deviation).sum(axis=0)
        found.append(damping(landscape, told, told))
        assert found[-1] == pytest.approx(
            plain_damping(told, landscape.public, heard, landscape.survey_deviation)
        )
    assert found[0] == 1.0
    assert found == sorted(found)
    assert found[-1] == 12.0

    told = np.tile(UNITS / K * far, (K, 1))
    near = replace(landscape, public=told.sum(axis=0))
    random = np.random.default_rng(13)
    theta = random.normal(size=D) * np.sqrt(landscape.prior)
    updates = random.normal(size=(K, D)) * landscape.deviation
    short = wiener_rule(landscape, told)
    plain = wiener_rule(near, told)
    for one, other in zip(short.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    usual = together(plain, theta, updates)
    assert 0.0 < together(short, theta, updates) @ usual < usual @ usual


def test_who_tells_nothing_is_not_taken_for_large(landscape: Landscape) -> None:
    histograms = np.zeros((4, landscape.cell_count))
    histograms[0, :2] = 30.0 * landscape.survey_deviation
    histograms[1, 1] = 10.0 * landscape.survey_deviation
    sizes = wiener_rule(landscape, histograms).sizes
    told = expected_counts(landscape, histograms).sum(axis=1)
    unsure = 3.0 * landscape.survey_deviation * np.sqrt(landscape.cell_count)
    least = min(told[0], told[1])
    np.testing.assert_allclose(sizes[:2], told[:2] + unsure)
    np.testing.assert_allclose(sizes[2:], np.minimum(told[2:], least) + unsure)
    assert (told[2:] > least).all(), "its share of all units is more"
    nobody = wiener_rule(landscape, np.zeros((4, landscape.cell_count))).sizes
    np.testing.assert_allclose(nobody, landscape.units / 4 + unsure)
