# SPDX-License-Identifier: Apache-2.0
"""Nearest-neighbour mixing and the trimmed mean against the papers' formulas in exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rounds.mixing import BLOCK, mixing_weights, nearest_neighbours, nnm_trimmed_mean
from rounds.state import Floats

Rows = list[list[Fraction]]


def plain(updates: Floats, tolerated: int) -> tuple[list[set[int]], list[Fraction], Rows]:
    """Neighbours by row, aggregate by coordinate, weights [K, d]; nothing rounds."""
    rows = [[Fraction(float(value)) for value in update] for update in updates]
    count = len(rows)
    near = []
    for own, row in enumerate(rows):
        distance = [sum((a - b) ** 2 for a, b in zip(row, other, strict=True)) for other in rows]
        order = sorted(range(count), key=lambda j: (j != own, distance[j], j))
        near.append(set(order[: count - tolerated]))
    kept, size = count - 2 * tolerated, count - tolerated
    aggregate, weights = [], [[Fraction(0)] * updates.shape[1] for _ in rows]
    for c in range(updates.shape[1]):
        mixed = [sum(rows[j][c] for j in each) / Fraction(size) for each in near]
        order = sorted(range(count), key=lambda i: (mixed[i], i))[tolerated : count - tolerated]
        aggregate.append(sum(mixed[i] for i in order) / Fraction(kept))
        for i in order:
            for j in near[i]:
                weights[j][c] += Fraction(count, kept * size)
    return near, aggregate, weights


def agree(updates: Floats, tolerated: int) -> None:
    near, aggregate, weights = plain(updates, tolerated)
    found = nearest_neighbours(updates, tolerated=tolerated)
    assert [set(np.flatnonzero(row).tolist()) for row in found] == near
    ours = mixing_weights(updates, tolerated=tolerated)
    assert ours == pytest.approx(np.array(weights, dtype=np.float64), rel=1e-15, abs=0)
    largest = float(np.abs(updates).max()) + 1e-300
    expected = np.array(aggregate, dtype=np.float64)
    mean = nnm_trimmed_mean(updates, tolerated=tolerated)
    assert np.abs(mean - expected).max() <= 1e-15 * largest
    heard = np.sum(ours * updates, axis=0)
    assert np.abs(heard / len(updates) - expected).max() <= 1e-14 * largest


@pytest.mark.parametrize(("count", "tolerated"), [(1, 0), (3, 1), (7, 0), (10, 2), (16, 7)])
@pytest.mark.parametrize("largest", [2, 3_000, 2**30, 2**55])
def test_equals_the_formulas_in_exact_fractions(count: int, tolerated: int, largest: int) -> None:
    """Few values tie often; the sums of the largest leave float32, then float64."""
    random = np.random.default_rng(count * largest % 1009)
    agree(random.integers(-largest, largest + 1, (count, 12)).astype(np.float64), tolerated)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_ties_go_by_place(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    tolerated = data.draw(st.integers(0, (count - 1) // 2))
    row = st.lists(st.integers(-2, 2), min_size=3, max_size=3)
    updates = data.draw(st.lists(row, min_size=count, max_size=count))
    agree(np.array(updates, dtype=np.float64), tolerated)


def test_neighbours_that_a_gram_matrix_in_float64_cannot_tell_apart() -> None:
    """Far from 0 and near to one another: the squares cancel, and their rounding is left."""
    random = np.random.default_rng(5)
    offset = random.integers(2**35, 2**36, 40)
    updates = (offset + random.integers(-3, 4, (9, 40))).astype(np.float64)
    squares = np.einsum("kd,kd->k", updates, updates)
    gram = squares[:, None] + squares - 2.0 * updates @ updates.T
    exact = np.sum((updates[:, None] - updates) ** 2, axis=2)
    assert np.abs(gram - exact).max() > exact.max()
    agree(updates, 3)


def test_where_no_sum_rounds_the_fast_products_have_the_bits_of_sums_in_order() -> None:
    """Numbers that are not whole are added one by one; an exact scale makes them so."""
    random = np.random.default_rng(2)
    whole = np.rint(random.normal(size=(20, BLOCK + 77)) * 5_000)
    for factor in (2.0**20, 2.0**-3):
        scaled = nnm_trimmed_mean(whole * factor, tolerated=4)
        assert (scaled == nnm_trimmed_mean(whole, tolerated=4) * factor).all()
        assert (
            mixing_weights(whole * factor, tolerated=4) == mixing_weights(whole, tolerated=4)
        ).all()


def test_the_aggregate_does_not_hang_on_the_order_of_the_roster() -> None:
    random = np.random.default_rng(3)
    updates = np.rint(random.normal(size=(15, 300)) * 700)
    order = random.permutation(15)
    for tolerated in (0, 3, 7):
        mean = nnm_trimmed_mean(updates, tolerated=tolerated)
        assert (nnm_trimmed_mean(updates[order], tolerated=tolerated) == mean).all()
        weights = mixing_weights(updates, tolerated=tolerated)
        assert (mixing_weights(updates[order], tolerated=tolerated) == weights[order]).all()


def test_without_attackers_it_is_the_sum() -> None:
    updates = np.rint(np.random.default_rng(4).normal(size=(7, 50)) * 100)
    assert mixing_weights(updates, tolerated=0) == pytest.approx(np.ones((7, 50)), rel=1e-15)


@pytest.mark.parametrize("size", [30.0, 3e3, 3e6])
def test_attackers_within_the_tolerated_number_hardly_move_it(size: float) -> None:
    """Two of twelve, together, however far they go; the mean goes all the way with them."""
    random = np.random.default_rng(6)
    updates = np.rint(random.normal(size=(12, 400)) * 1_000 + 2_000)
    honest = np.mean(updates[:10], axis=0)
    updates[10:] = np.rint(updates[10:] - size * 1_000)
    moved = np.linalg.norm(nnm_trimmed_mean(updates, tolerated=2) - honest)
    assert moved < np.linalg.norm(updates[0] - honest)
    assert np.linalg.norm(np.mean(updates, axis=0) - honest) > 4 * size / 30 * moved


@pytest.mark.parametrize("tolerated", [-1, 3, 5])
def test_more_attackers_than_may_be_tolerated_are_refused(tolerated: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= 2 tolerated < count"):
        nearest_neighbours(np.zeros((6, 4)), tolerated=tolerated)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200])
def test_updates_that_have_no_distance_are_refused(value: float) -> None:
    updates = np.zeros((5, 4))
    updates[2, 1] = value
    with pytest.raises(ValueError, match="not finite"), np.errstate(all="ignore"):
        nnm_trimmed_mean(updates, tolerated=1)
