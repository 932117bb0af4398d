# SPDX-License-Identifier: Apache-2.0
"""The location of a drafted task: which two columns of the public rows are degrees."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dao.records import LocationFeature
from valuation.bounds import degree_bounds
from valuation.columns import parse_numbers
from valuation.schema import Bools
from valuation.standard import default_bandwidths, distance_scale
from valuation.taskfile import LocationSection

_LATITUDE_NAMES = ("latitude", "lat", "latitud", "latitudine", "breitengrad")
_LONGITUDE_NAMES = (
    *("longitude", "long", "lon", "lng"),
    *("longitud", "longitudine", "laengengrad", "längengrad"),
)
WIDEST_DEGREES = 180.0
"""Of longitude: beyond this a flat map tells nothing of distances."""


def draft_location(
    frame: pd.DataFrame, target: str, *, share: float
) -> tuple[LocationSection | None, str]:
    """The location that two columns of public rows give, by their names and numbers, and a remark
    where they look exchanged. `share`: of the filled cells, so many must be degrees."""

    def find(names: tuple[str, ...], limit: float) -> str | None:
        return _find_degrees(frame, names, limit, target, share)

    latitude, longitude = find(_LATITUDE_NAMES, 90.0), find(_LONGITUDE_NAMES, 180.0)
    if latitude is None or longitude is None:
        named, other = find(_LATITUDE_NAMES, 180.0), find(_LONGITUDE_NAMES, 90.0)
        if latitude is not None or named is None or other is None:
            return None, ""
        return None, (
            f"{named!r} and {other!r} look exchanged: {named!r} goes beyond 90 degrees and "
            f"{other!r} does not; exchange their names, in the contributors' rows too, and draft "
            "again, or they are no location"
        )
    north, _ = parse_numbers(frame[latitude].tolist())
    east, _ = parse_numbers(frame[longitude].tolist())
    both = np.isfinite(north) & np.isfinite(east)
    north, east = north[both], east[both]
    middle = (round(float(np.median(north)), 4), round(float(np.median(east)), 4))
    scale = distance_scale(north, east, middle)
    south_bound, north_bound = degree_bounds(north, 90.0)
    west_bound, east_bound = degree_bounds(east, 180.0)
    section = LocationSection(
        kind="location",
        latitude=latitude,
        longitude=longitude,
        south=south_bound,
        north=north_bound,
        west=west_bound,
        east=east_bound,
        center=middle,
        scale_metres=scale,
        bandwidths_metres=default_bandwidths(scale),
    )
    remarks = (
        _missing_remark(section, both),
        too_wide_remark(section, west=east.min(), east=east.max()),
    )
    return section, "; ".join(each for each in remarks if each)


def _missing_remark(section: LocationSection, both: Bools) -> str:
    lost = int((~both).sum())
    if not lost:
        return ""
    return (
        f"{section.latitude!r} and {section.longitude!r}: {lost} of {len(both)} public rows have "
        "no place, and rows without one are refused; where many of the contributors' rows have "
        "none, take this feature out"
    )


def too_wide_remark(place: LocationSection | LocationFeature, *, west: float, east: float) -> str:
    """What to know of a location that reaches more than half way round the earth; else empty."""
    if east - west <= WIDEST_DEGREES:
        return ""
    return (
        f"{place.latitude!r} and {place.longitude!r} reach over {east - west:.0f} degrees of "
        "longitude: the map is flat around its centre, so such distances are wrong, and what lies "
        "on either side of the 180th meridian is taken to be far apart; make a task for each part "
        "of the world, or take this feature out"
    )


def _find_degrees(
    frame: pd.DataFrame, names: tuple[str, ...], limit: float, target: str, share: float
) -> str | None:
    for column in map(str, frame.columns):
        plain = column.strip().lower().replace("-", "_")
        named = plain in names or any(plain.split("_")[-1] == name for name in names)
        if column == target or not named:
            continue
        values, missing = parse_numbers(frame[column].tolist())
        inside = np.abs(values) <= limit
        filled = int((~missing).sum())
        distinct = len(np.unique(values[inside]))
        if filled and float(inside.sum()) >= share * filled and distinct > 1:
            return column
    return None
