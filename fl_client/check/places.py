# SPDX-License-Identifier: Apache-2.0
"""Where private rows lie beside the public ones: the box, the reach, and a map of both."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from dao.records import LocationFeature
from fl_client.check.drift import LocationDrift, MapCell
from valuation.encode import project
from valuation.schema import Floats, Ints

_MOST = 20_000
"""Rows that are searched for neighbours; of more, evenly spread ones."""
_CELLS = 24
"""Of the map, each way."""


def compare_places(feature: LocationFeature, public: Floats, own: Floats) -> LocationDrift | None:
    """Public and own rows as float64[n, 2], latitude and longitude in degrees. None where there
    are fewer than two public places or no own one."""
    if len(np.unique(public, axis=0)) < 2 or not len(own):
        return None
    low, high = public.min(axis=0), public.max(axis=0)
    outside = ((own < low) | (own > high)).any(axis=1)
    known = project(feature, public[:, 0], public[:, 1]) * feature.scale_metres
    near = cKDTree(np.unique(known, axis=0))
    # the first neighbour of a public place is itself
    reach = float(np.quantile(near.query(_spread(near.data), k=2)[0][:, 1], 0.99))
    held = _spread(own)
    distances = near.query(project(feature, held[:, 0], held[:, 1]) * feature.scale_metres)[0]
    return LocationDrift(
        south=float(low[0]),
        north=float(high[0]),
        west=float(low[1]),
        east=float(high[1]),
        outside_share=float(outside.mean()),
        reach_km=reach / 1000,
        far_share=float((distances > reach).mean()),
        map=_map(public, own),
    )


def _spread(rows: Floats) -> Floats:
    """At most _MOST rows, evenly spread over the file."""
    if len(rows) <= _MOST:
        return rows
    return rows[np.linspace(0, len(rows) - 1, _MOST).astype(np.int64)]


def _map(public: Floats, own: Floats) -> tuple[MapCell, ...]:
    both = np.concatenate([public, own])
    low, high = both.min(axis=0), both.max(axis=0)
    span = np.where(high > low, high - low, 1.0)

    def counted(rows: Floats) -> Ints:
        cell = np.minimum((rows - low) / span * _CELLS, _CELLS - 1).astype(np.int64)
        return np.bincount(cell[:, 0] * _CELLS + cell[:, 1], minlength=_CELLS * _CELLS)

    counts = counted(public), counted(own)
    return tuple(
        MapCell(
            east=i % _CELLS,
            north=i // _CELLS,
            public=float(counts[0][i] / len(public)),
            own=float(counts[1][i] / len(own)),
        )
        for i in np.flatnonzero(counts[0] + counts[1]).tolist()
    )
