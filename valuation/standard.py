# SPDX-License-Identifier: Apache-2.0
"""Feature and target records of a task file: integers for floats, and centres and spreads from
the public rows, or from the bounds where there are none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dao.errors import TaskError
from dao.records import (
    CategoryFeature,
    DateFeature,
    Feature,
    LocationFeature,
    NumberFeature,
    RatioFeature,
    Target,
)
from valuation.columns import parse_days, parse_numbers
from valuation.encode import EARTH_RADIUS_METRES, scale_numbers
from valuation.schema import Floats
from valuation.taskfile import (
    CategorySection,
    DateSection,
    FeatureSection,
    LocationSection,
    NumberSection,
    RatioSection,
    TargetSection,
)

BOUND_SPREADS = 6.0
"""Without public rows the spread is the bounds' range over this: bounds are usually generous."""
_LEAST_SPREAD = 1e-6


def micro(value: float) -> int:
    """The nearest integer in 1e-6."""
    return round(value * 1e6)


def small_micro(value: float, name: str) -> int:
    """As `micro`, for what is recorded as a number below 2**53.

    Raises:
        TaskError: it is larger.
    """
    if abs(value) > 9e9:
        raise TaskError(
            f"{name!r}: center or spread {value:g} is above 9e9",
            hint="Count it in a larger unit, or use scale = 'log'.",
        )
    return micro(value)


def standard_target(section: TargetSection, public: pd.DataFrame | None) -> Target:
    """The target's record; center and spread on its scale.

    Raises:
        TaskError: no range, or a logarithm of what may be zero.
    """
    if section.scale == "log" and section.lower <= 0:
        raise TaskError(
            f"target.lower {section.lower:g}: the log scale needs a lower bound above 0",
            hint="Raise it, or use scale = 'linear'.",
        )
    values = np.zeros(0)
    if public is not None:
        values = _numbers(public, section.column, lower=section.lower, upper=section.upper)
    center, spread = _moments(values, scale=section.scale, lower=section.lower, upper=section.upper)
    return Target(
        column=section.column,
        currency=section.currency,
        scale=section.scale,
        lower_micro=micro(section.lower),
        upper_micro=micro(section.upper),
        center_micro=small_micro(center, section.column),
        spread_micro=max(small_micro(spread, section.column), 1),
    )


def standard_features(
    sections: Sequence[FeatureSection], public: pd.DataFrame | None
) -> tuple[Feature, ...]:
    """The features' records, in order.

    Raises:
        TaskError: no range, a logarithm of what may be zero, a ratio of unknown columns.
    """
    numbers = {s.column: s for s in sections if isinstance(s, NumberSection)}
    return tuple(_feature(section, numbers, public) for section in sections)


def _feature(
    section: FeatureSection, numbers: dict[str, NumberSection], public: pd.DataFrame | None
) -> Feature:
    match section:
        case NumberSection():
            return _number(section, public)
        case RatioSection():
            return _ratio(section, numbers, public)
        case CategorySection():
            return CategoryFeature(
                kind="category", column=section.column, values=section.values, other=section.other
            )
        case LocationSection():
            return _location(section, public)
        case DateSection():
            return _date(section, public)


def _numbers(frame: pd.DataFrame, column: str, *, lower: float, upper: float) -> Floats:
    if column not in frame.columns:
        return np.zeros(0)
    values, _ = parse_numbers(frame[column].tolist())
    return values[(values >= lower) & (values <= upper)]


def _moments(values: Floats, *, scale: str, lower: float, upper: float) -> tuple[float, float]:
    """Center and spread on the scale: mean and standard deviation, or from the bounds."""
    if len(values) >= 2:
        scaled = scale_numbers(values, scale)
        deviation = float(scaled.std())
        if deviation > _LEAST_SPREAD:
            return float(scaled.mean()), deviation
    ends = scale_numbers(np.array([lower, upper], dtype=np.float64), scale)
    return float(ends.mean()), max(float(ends[1] - ends[0]) / BOUND_SPREADS, _LEAST_SPREAD)


def _number(section: NumberSection, public: pd.DataFrame | None) -> NumberFeature:
    least = {"linear": float("-inf"), "log": 0.0, "log1p": -1.0}[section.scale]
    if section.lower <= least or section.lower >= section.upper:
        raise TaskError(
            f"{section.column!r}: bounds {section.lower:g} to {section.upper:g} with scale "
            f"{section.scale}; expected a lower bound below the upper"
            + ("" if section.scale == "linear" else f" and above {least:g}"),
            hint="Correct lower and upper of that feature.",
        )
    values = np.zeros(0)
    if public is not None:
        values = _numbers(public, section.column, lower=section.lower, upper=section.upper)
    center, spread = _moments(values, scale=section.scale, lower=section.lower, upper=section.upper)
    return NumberFeature(
        kind="number",
        column=section.column,
        scale=section.scale,
        lower_micro=micro(section.lower),
        upper_micro=micro(section.upper),
        center_micro=small_micro(
            center if section.center is None else section.center, section.column
        ),
        spread_micro=max(
            small_micro(spread if section.spread is None else section.spread, section.column), 1
        ),
        missing=section.missing,
    )


def _ratio(
    section: RatioSection, numbers: dict[str, NumberSection], public: pd.DataFrame | None
) -> RatioFeature:
    for column in (section.numerator, section.denominator):
        if column not in numbers or numbers[column].lower <= 0:
            raise TaskError(
                f"ratio {section.numerator!r} / {section.denominator!r}: {column!r} is not a "
                "number feature with a lower bound above 0",
                hint="Add it as a number feature, or remove the ratio.",
            )
    top, bottom = numbers[section.numerator], numbers[section.denominator]
    low = np.log(top.lower) - np.log(bottom.upper)
    high = np.log(top.upper) - np.log(bottom.lower)
    center, spread = float(low + high) / 2.0, float(high - low) / (2.0 * BOUND_SPREADS)
    if public is not None:
        above, _ = parse_numbers(public[section.numerator].tolist())
        below, _ = parse_numbers(public[section.denominator].tolist())
        both = (above > 0) & (below > 0)
        logs = np.log(above[both]) - np.log(below[both])
        if len(logs) >= 2 and float(logs.std()) > _LEAST_SPREAD:
            center, spread = float(logs.mean()), float(logs.std())
    return RatioFeature(
        kind="ratio",
        numerator=section.numerator,
        denominator=section.denominator,
        center_micro=micro(center if section.center is None else section.center),
        spread_micro=max(micro(spread if section.spread is None else section.spread), 1),
    )


def _location(section: LocationSection, public: pd.DataFrame | None) -> LocationFeature:
    latitude = np.array([section.south, section.north])
    longitude = np.array([section.west, section.east])
    if public is not None:
        inside_latitude, _ = parse_numbers(public[section.latitude].tolist())
        inside_longitude, _ = parse_numbers(public[section.longitude].tolist())
        latitude, longitude = inside_latitude, inside_longitude
    middle = section.center or (float(np.median(latitude)), float(np.median(longitude)))
    scale = section.scale_metres or distance_scale(latitude, longitude, middle)
    bandwidths = section.bandwidths_metres or default_bandwidths(scale, public=public is not None)
    return LocationFeature(
        kind="location",
        latitude=section.latitude,
        longitude=section.longitude,
        south_micro=micro(section.south),
        north_micro=micro(section.north),
        west_micro=micro(section.west),
        east_micro=micro(section.east),
        center_latitude_micro=micro(middle[0]),
        center_longitude_micro=micro(middle[1]),
        scale_metres=scale,
        bandwidths_metres=bandwidths,
    )


def distance_scale(latitude: Floats, longitude: Floats, middle: tuple[float, float]) -> int:
    """Median absolute distance from the middle along either axis, in metres, at least 1."""
    metres = EARTH_RADIUS_METRES * np.pi / 180.0
    east = np.abs(longitude - middle[1]) * metres * np.cos(np.radians(middle[0]))
    north = np.abs(latitude - middle[0]) * metres
    return max(round(float(np.median(np.concatenate([east, north])))), 1)


def default_bandwidths(scale_metres: int, *, public: bool = True) -> tuple[int, ...]:
    """Three lengths from a tenth of the scale to above it, for Fourier features.

    Without public rows the scale is half the bounds' width, three times what it is with them.
    """
    shares = (0.1, 0.4, 1.3) if public else (0.03, 0.1, 0.4)
    return tuple(max(round(scale_metres * share), 1) for share in shares)


def _date(section: DateSection, public: pd.DataFrame | None) -> DateFeature:
    first, last = section.first.toordinal(), section.last.toordinal()
    center, spread = (last - first) / 2.0, max((last - first) / BOUND_SPREADS, 1.0)
    if public is not None and section.column in public.columns:
        days = parse_days(public[section.column].tolist()) - first
        days = days[(days >= 0) & (days <= last - first)]
        if len(days) >= 2 and float(days.std()) > 0.0:
            center, spread = float(days.mean()), float(days.std())
    return DateFeature(
        kind="date",
        column=section.column,
        first=section.first.isoformat(),
        last=section.last.isoformat(),
        center_days_micro=micro(center if section.center_days is None else section.center_days),
        spread_days_micro=max(
            micro(spread if section.spread_days is None else section.spread_days), 1
        ),
    )
