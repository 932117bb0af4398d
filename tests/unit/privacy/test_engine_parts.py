# SPDX-License-Identifier: Apache-2.0
"""The engine's parts against plain loops: grouping of rows, norms of units, slopes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from privacy.activation import ByAutograd, Relu, Sigmoid, Tanh
from privacy.unit_norms import LayerRows, squared_norms
from privacy.units import group_rows


@given(labels=st.lists(st.integers(-3, 6), max_size=40), max_rows=st.integers(1, 5))
def test_rows_are_grouped_in_file_order_up_to_the_cap(labels: list[int], max_rows: int) -> None:
    units = group_rows(np.array(labels, dtype=np.int64), max_rows)
    order = np.arange(units.rows) if units.order is None else units.order
    found: dict[int, list[int]] = {}
    for place, row in enumerate(order.tolist()):
        found.setdefault(int(units.segment()[place]), []).append(row)
    expected: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        expected.setdefault(label, [])
        if len(expected[label]) < max_rows:
            expected[label].append(row)
    assert sorted(found.values()) == sorted(expected.values())
    assert units.rows == sum(map(len, expected.values()))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 1), (2, 3), (20, 17)])
@pytest.mark.parametrize("alike", [False, True])
def test_norms_of_units_are_those_of_their_gradients(
    bias: bool, inputs: int, outputs: int, alike: bool
) -> None:
    """Both ways are met: pairs where the layer is wide, gradients where it is narrow."""
    rng = np.random.default_rng(0)
    sizes = np.array([2, 5, 3, 20, 2, 9])
    starts = np.cumsum(sizes) - sizes
    n = int(sizes.sum())
    a, residual = rng.normal(size=(n, inputs)), rng.normal(size=n)
    slopes = rng.normal(size=(1 if alike else n, outputs))
    found = squared_norms([LayerRows(a, slopes, bias)] * 2, residual, starts, sizes)
    whole = np.broadcast_to(slopes, (n, outputs))
    for unit, size in enumerate(sizes):
        rows = slice(starts[unit], starts[unit] + size)
        deltas = residual[rows, None] * whole[rows]
        expected = np.sum((deltas.T @ a[rows]) ** 2)
        if bias:
            expected += np.sum(deltas.sum(axis=0) ** 2)
        assert found[unit] == pytest.approx(2 * expected, rel=1e-12)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(Tanh(), torch.tanh), (Relu(), torch.relu), (Sigmoid(), torch.sigmoid)],
)
@pytest.mark.parametrize("in_place", [False, True])
def test_values_and_slopes_are_those_of_torch(ours, theirs, in_place: bool) -> None:
    z = np.array([[-800.0, -30.0, -1.0, -1e-9], [0.0, 1e-9, 2.5, 800.0]])
    expected = np.empty_like(z)
    slope = ByAutograd(theirs).apply(z.copy(), expected)
    value = z if in_place else np.empty_like(z)
    with np.errstate(over="ignore"):
        assert ours.apply(z, value) is None
        found = ours.slope(value, np.empty_like(z))
    np.testing.assert_allclose(value, expected, rtol=1e-14, atol=1e-300)
    np.testing.assert_allclose(found, slope, rtol=1e-14, atol=1e-15)
