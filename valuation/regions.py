# SPDX-License-Identifier: Apache-2.0
"""A public division of the map into regions, for figures and difficulty by region.

It follows from public locations alone. Everything is done in integers on a grid, so that whoever
repeats it gets the same centres, bit for bit, and the same region for every row that is not within
a grid step of a border.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from dao.errors import InputError
from dao.records import LocationFeature
from valuation.encode import EARTH_RADIUS_METRES
from valuation.schema import MICRO, Floats, Ints

GRID_BITS = 20
"""Locations are rounded to 2^-20 of the task's location scale."""
_STEPS = 20
_LIMIT = 1 << 9
"""Locations beyond so many scales are held there, so that squared distances fit 64 bits."""


def region_centres(locations: Floats, count: int) -> Floats:
    """Centres of at most `count` regions, float64[r, 2] on the grid, for public rows at
    `locations` (float64[n, 2], in units of the task's scale, as `Encoded.locations`).

    The rows are halved at the median of the longer side, the fullest part first, until there are
    `count` parts; twenty steps of k-means (Lloyd 1982) then round the parts off. Fewer regions come
    out where fewer places differ; none without rows. Order: by east, then north.

    Raises:
        InputError: locations of another shape, or count below 1.
    """
    if locations.ndim != 2 or locations.shape[1] != 2 or count < 1:
        raise InputError(
            f"{count} regions of locations of shape {locations.shape}, expected one or more and "
            "(rows, 2)"
        )
    if len(locations) == 0:
        return np.zeros((0, 2))
    return _centres(_on_grid(locations).tobytes(), count).copy()


@lru_cache(maxsize=8)
def _centres(grid: bytes, count: int) -> Floats:
    """As `region_centres`, of places int64[n, 2] on the grid: the same few are asked for often."""
    places = np.frombuffer(grid, dtype=np.int64).reshape(-1, 2)
    centres = np.array([_middle(part) for part in _halve(places, count)], dtype=np.int64)
    for _ in range(_STEPS):
        nearest = _nearest(centres, places)
        kept = [places[nearest == k] for k in range(len(centres))]
        moved = np.array([_middle(part) for part in kept if len(part)], dtype=np.int64)
        if moved.shape == centres.shape and (moved == centres).all():
            break
        centres = moved
    distinct = np.unique(centres, axis=0)
    return np.ldexp(distinct.astype(np.float64), -GRID_BITS)


def region_of(centres: Floats, locations: Floats) -> Ints:
    """int64[n]: the region (row of `centres`) with the nearest centre, the first of equals.

    Raises:
        InputError: no centres, or another shape.
    """
    if len(centres) == 0 or locations.ndim != 2 or locations.shape[1] != 2:
        raise InputError(
            f"{len(centres)} centres for locations of shape {locations.shape}, expected at least "
            "one and (rows, 2)"
        )
    return _nearest(_on_grid(centres), _on_grid(locations))


def centres_in_degrees(feature: LocationFeature, centres: Floats) -> Floats:
    """Latitude and longitude of centres, float64[r, 2]: the inverse of `encode.project`."""
    metres_per_degree = EARTH_RADIUS_METRES * math.pi / 180.0
    middle = feature.center_latitude_micro * MICRO
    east, north = (centres * (feature.scale_metres / metres_per_degree)).T
    longitude = east / math.cos(math.radians(middle)) + feature.center_longitude_micro * MICRO
    return np.column_stack([north + middle, longitude])


def _on_grid(locations: Floats) -> Ints:
    held = np.clip(locations, -_LIMIT, _LIMIT)
    return np.rint(np.ldexp(held, GRID_BITS)).astype(np.int64)


def _middle(places: Ints) -> Ints:
    """Mean, rounded down: sums of integers are exact in any order."""
    middle: Ints = places.sum(axis=0) // len(places)
    return middle


def _nearest(centres: Ints, places: Ints) -> Ints:
    best = np.zeros(len(places), dtype=np.int64)
    least = np.full(len(places), np.iinfo(np.int64).max)
    for k, centre in enumerate(centres):
        distance = ((places - centre) ** 2).sum(axis=1)
        closer = distance < least
        best[closer] = k
        least[closer] = distance[closer]
    return best


def _halve(places: Ints, count: int) -> list[Ints]:
    parts = [places]
    while len(parts) < count:
        divisible = [part for part in parts if (part != part[0]).any()]
        if not divisible:
            break
        fullest = max(divisible, key=len)
        side = int(np.argmax(fullest.max(axis=0) - fullest.min(axis=0)))
        along = np.sort(fullest[:, side])
        cut = along[len(along) // 2]
        if cut == along[0]:  # more than half stand on the first place
            cut = along[along > cut][0]
        index = next(i for i, part in enumerate(parts) if part is fullest)
        parts[index : index + 1] = [
            fullest[fullest[:, side] < cut],
            fullest[fullest[:, side] >= cut],
        ]
    return parts
