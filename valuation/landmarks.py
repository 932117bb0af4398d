# SPDX-License-Identifier: Apache-2.0
"""Synthetic rows made from public rows: where the covariance is looked at, and what stands in
for the contributors' rows wherever a constant must be chosen without seeing them."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from valuation.schema import Z_LIMIT, Floats

_NEIGHBOURS = 6
_ATTRIBUTE_JITTER = 0.35
_LOCATION_JITTER = 0.7


def synthetic_rows(
    attributes: Floats, locations: Floats, count: int, *, seed: int
) -> tuple[Floats, Floats]:
    """Rows between a public row and one of its neighbours, with jitter.

    Neighbours are those on the map, or without locations those in attributes. The place moves by
    a normal with .7 of the distance to the third neighbour; a 0/1 attribute (two values in the
    public rows) is taken from either row, others are mixed and jittered by .35.

    Args:
        attributes: float64[n, a], scaled. locations: float64[n, 2 or 0].
        seed: public; what counts is the set-up blob, not how it was drawn.

    Returns:
        float64[count, a] within +-4 and float64[count, 2 or 0].
    """
    random = np.random.default_rng(seed)
    rows = len(attributes)
    space = locations if locations.shape[1] else attributes
    near = min(_NEIGHBOURS, rows)
    if space.shape[1]:
        distance, neighbour = cKDTree(space).query(space, k=near)
        distance, neighbour = distance.reshape(rows, near), neighbour.reshape(rows, near)
    else:
        distance, neighbour = np.zeros((rows, 1)), np.arange(rows)[:, None]
    first = random.integers(0, rows, count)
    second = neighbour[first, random.integers(0, neighbour.shape[1], count)]
    reach = distance[first, min(3, distance.shape[1] - 1)]
    places = locations[first] + random.normal(size=(count, locations.shape[1])) * (
        _LOCATION_JITTER * reach[:, None]
    )
    share = random.random((count, 1))
    mixed = attributes[first] * share + attributes[second] * (1.0 - share)
    mixed += _ATTRIBUTE_JITTER * random.normal(size=mixed.shape) * (attributes.std(axis=0) > 0)
    binary = [j for j in range(attributes.shape[1]) if len(np.unique(attributes[:, j])) <= 2]
    either = np.where(share > 0.5, attributes[first], attributes[second])
    mixed[:, binary] = either[:, binary]
    return np.clip(mixed, -Z_LIMIT, Z_LIMIT), places
