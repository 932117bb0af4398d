# SPDX-License-Identifier: Apache-2.0
"""From checked rows to numbers: standardised attributes, scaled locations, standardised target.

Only public numbers of the task enter (bounds, centres, spreads), so what becomes of a row
depends on that row alone. docs/spec/valuation.md gives the formulas.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dao.errors import InputError
from dao.records import (
    CategoryFeature,
    DateFeature,
    LocationFeature,
    NumberFeature,
    RatioFeature,
    Target,
)
from valuation.columns import Reading, read_feature, read_target
from valuation.rows import input_columns, require_columns
from valuation.schema import MICRO, Z_LIMIT, Floats, Ints, Schema, from_micro

EARTH_RADIUS_METRES = 6_371_008.8
"""Mean radius (IUGG R1)."""


@dataclass(frozen=True)
class Encoded:
    """Rows as numbers.

    Attributes:
        attributes: float64[n, a], standardised and clipped to +-4, or 0/1.
        locations: float64[n, 2] (east, north) in units of the task's scale; [n, 0] without.
        target: float64[n], standardised, clipped to the task's bounds; None without target.
        units: int64[n], equal for rows of one privacy unit.
        unit_keys: uint64[n], a hash of what the unit itself is (its cell, or all cells of its one
            row); 0 without target. It decides what becomes of a unit without a look at others.
    """

    attributes: Floats
    locations: Floats
    target: Floats | None
    units: Ints
    unit_keys: NDArray[np.uint64]

    def take(self, rows: Ints) -> Encoded:
        """The given rows, in that order."""
        return Encoded(
            attributes=self.attributes[rows],
            locations=self.locations[rows],
            target=None if self.target is None else self.target[rows],
            units=self.units[rows],
            unit_keys=self.unit_keys[rows],
        )


def attribute_names(schema: Schema) -> tuple[str, ...]:
    """A name for each column of `Encoded.attributes`."""
    names: list[str] = []
    for feature in schema.features:
        match feature:
            case NumberFeature():
                names.append(
                    feature.column
                    if feature.scale == "linear"
                    else f"{feature.scale}({feature.column})"
                )
                if feature.missing == "indicate":
                    names.append(f"{feature.column} is missing")
            case RatioFeature():
                names.append(f"log({feature.numerator} / {feature.denominator})")
            case CategoryFeature():
                names += [f"{feature.column} = {value}" for value in feature.values]
                if feature.other:
                    names.append(f"{feature.column} is other")
            case DateFeature():
                names.append(feature.column)
            case LocationFeature():
                pass
    return tuple(names)


def indicator_columns(schema: Schema) -> tuple[bool, ...]:
    """Which columns of `Encoded.attributes` hold only 0 and 1."""
    flags: list[bool] = []
    for feature in schema.features:
        match feature:
            case NumberFeature():
                flags += [False, True] if feature.missing == "indicate" else [False]
            case RatioFeature() | DateFeature():
                flags.append(False)
            case CategoryFeature():
                flags += [True] * (len(feature.values) + int(feature.other))
            case LocationFeature():
                pass
    return tuple(flags)


def encode(schema: Schema, frame: pd.DataFrame, *, with_target: bool) -> Encoded:
    """Encode rows that `check_frame` accepted.

    Raises:
        InputError: a column is missing, or a row was not accepted.
    """
    require_columns(frame, input_columns(schema, with_target=with_target))
    rows = len(frame)
    columns: list[Floats] = []
    locations = np.zeros((rows, 0))
    numbers: dict[str, Floats] = {}
    for feature in schema.features:
        readings = read_feature(feature, frame)
        for reading in readings:
            _require_accepted(reading, frame)
        match feature:
            case NumberFeature():
                values = numbers.setdefault(feature.column, readings[0].values)
                columns.append(
                    standardise(
                        scale_numbers(values, feature.scale),
                        center_micro=feature.center_micro,
                        spread_micro=feature.spread_micro,
                    )
                )
                if feature.missing == "indicate":
                    columns.append(readings[0].missing.astype(np.float64))
            case CategoryFeature():
                size = len(feature.values) + int(feature.other)
                columns += [(readings[0].values == j).astype(np.float64) for j in range(size)]
            case DateFeature():
                days = readings[0].values - date.fromisoformat(feature.first).toordinal()
                columns.append(
                    standardise(
                        days,
                        center_micro=feature.center_days_micro,
                        spread_micro=feature.spread_days_micro,
                    )
                )
            case LocationFeature():
                locations = project(feature, readings[0].values, readings[1].values)
            case RatioFeature():
                columns.append(_ratio(feature, frame, schema, numbers))
    attributes = np.column_stack(columns) if columns else np.zeros((rows, 0))
    target = None
    if with_target:
        reading = read_target(schema.target, frame)
        _require_accepted(reading, frame)
        target = value_to_target(schema.target, reading.values)
    return Encoded(
        attributes=attributes,
        locations=locations,
        target=target,
        units=_units(schema, frame, with_target=with_target),
        unit_keys=_unit_keys(schema, frame, with_target=with_target),
    )


def _require_accepted(reading: Reading, frame: pd.DataFrame) -> None:
    if reading.wrong.any():
        i = int(np.flatnonzero(reading.wrong)[0])
        raise InputError(
            f"line {frame.index[i]}, {reading.column}: expected {reading.expected}",
            hint="Encode only rows that the check accepted.",
        )


def _ratio(
    feature: RatioFeature, frame: pd.DataFrame, schema: Schema, numbers: dict[str, Floats]
) -> Floats:
    for other in schema.features:  # a ratio may stand before the numbers that it divides
        if isinstance(other, NumberFeature) and other.column not in numbers:
            numbers[other.column] = read_feature(other, frame)[0].values
    logs = np.log(numbers[feature.numerator]) - np.log(numbers[feature.denominator])
    return standardise(logs, center_micro=feature.center_micro, spread_micro=feature.spread_micro)


def scale_numbers(values: Floats, scale: str) -> Floats:
    """t(x): identity, natural logarithm, or log(1 + x)."""
    if scale == "log":
        return np.log(values)
    return np.log1p(values) if scale == "log1p" else values


def standardise(values: Floats, *, center_micro: int, spread_micro: int) -> Floats:
    """clip((t - center) / spread, -4, 4); a missing value (NaN) becomes 0."""
    z = (values - center_micro * MICRO) / (spread_micro * MICRO)
    return np.where(np.isnan(z), 0.0, np.clip(z, -Z_LIMIT, Z_LIMIT))


def project(feature: LocationFeature, latitude: Floats, longitude: Floats) -> Floats:
    """Equirectangular projection around the task's centre: float64[n, 2], east and north, in
    units of `scale_metres`."""
    center_latitude = feature.center_latitude_micro * MICRO
    center_longitude = feature.center_longitude_micro * MICRO
    metres_per_degree = EARTH_RADIUS_METRES * math.pi / 180.0
    east = (longitude - center_longitude) * math.cos(math.radians(center_latitude))
    north = latitude - center_latitude
    return np.column_stack([east, north]) * metres_per_degree / feature.scale_metres


def _units(schema: Schema, frame: pd.DataFrame, *, with_target: bool) -> Ints:
    column = schema.unit.column
    if column is None or not with_target:
        return np.arange(len(frame), dtype=np.int64)
    names = [cell.strip() for cell in frame[column].tolist()]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.int64)


def _unit_keys(schema: Schema, frame: pd.DataFrame, *, with_target: bool) -> NDArray[np.uint64]:
    """First 8 bytes, little endian, of SHA-256 of the unit's cell, or of all cells of a row that
    the task reads; cells stripped, joined by the unit separator U+001F."""
    if not with_target:
        return np.zeros(len(frame), dtype=np.uint64)
    unit = schema.unit.column
    columns = input_columns(schema, with_target=True) if unit is None else (unit,)
    cells = zip(*(frame[column].tolist() for column in columns), strict=True)
    digests = (
        hashlib.sha256("\x1f".join(cell.strip() for cell in row).encode()).digest()[:8]
        for row in cells
    )
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def value_to_target(target: Target, values: Floats) -> Floats:
    """Standardised target of values in the target's unit: clipped to the bounds, log or linear,
    minus center, over spread."""
    bounded = np.clip(values, from_micro(target.lower_micro), from_micro(target.upper_micro))
    scaled = np.log(bounded) if target.scale == "log" else bounded
    return (scaled - target.center_micro * MICRO) / (target.spread_micro * MICRO)


def target_to_value(target: Target, z: Floats) -> Floats:
    """Values in the target's unit, clipped to the bounds; the inverse of `value_to_target`."""
    lower, upper = from_micro(target.lower_micro), from_micro(target.upper_micro)
    scaled = z * (target.spread_micro * MICRO) + target.center_micro * MICRO
    if target.scale == "linear":
        return np.clip(scaled, lower, upper)
    # Clip before exp: a wild z must give the bound, not an overflow.
    return np.clip(np.exp(np.clip(scaled, math.log(lower), math.log(upper))), lower, upper)
