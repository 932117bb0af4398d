# SPDX-License-Identifier: Apache-2.0
"""Synthetic rows made from public rows: where the covariance is looked at, and what stands in
for the contributors' rows wherever a constant must be chosen without seeing them."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from dao.records import LocationFeature
from valuation.encode import EARTH_RADIUS_METRES
from valuation.schema import MICRO, Z_LIMIT, Floats

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


def location_box(location: LocationFeature | None) -> Floats | None:
    """float64[2, 2]: lowest and highest east, lowest and highest north that a task admits, in its
    scaled units; None without a location."""
    if location is None:
        return None
    latitude = location.center_latitude_micro * MICRO
    metres = EARTH_RADIUS_METRES * np.pi / 180.0 / location.scale_metres
    east = np.array([location.west_micro, location.east_micro]) * MICRO
    north = np.array([location.south_micro, location.north_micro]) * MICRO
    east = (east - location.center_longitude_micro * MICRO) * np.cos(np.radians(latitude)) * metres
    return np.stack([east, (north - latitude) * metres])


def scattered(places: Floats, box: Floats | None, share: float, *, seed: int) -> Floats:
    """The same places, but a share of them anywhere within the task's bounds: contributors may
    bring rows from where no public row lies.

    Args:
        places: float64[n, 2 or 0]. box: `location_box`.
    """
    if box is None:
        return places
    random = np.random.default_rng(seed)
    moved = random.permutation(len(places))[: int(share * len(places))]
    result = places.copy()
    result[moved] = box[:, 0] + random.random((len(moved), 2)) * (box[:, 1] - box[:, 0])
    return result
