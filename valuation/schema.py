# SPDX-License-Identifier: Apache-2.0
"""What a row must look like: the schema part of a task, and the checks that hold it together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dao.errors import TaskError
from dao.records import (
    CategoryFeature,
    DateFeature,
    Feature,
    LocationFeature,
    NumberFeature,
    PrivacyUnit,
    RatioFeature,
    Target,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MICRO = 1e-6
"""Value of one unit in fields named `_micro`."""
Z_LIMIT = 4.0
"""Standardised attributes are clipped to this many spreads."""


class Schema(Protocol):
    """The part of a task that says what a row is; `dao.records.Task` is one.

    Attributes:
        target: what is learned, with its bounds in its own currency.
        features: in the order in which they are encoded.
        unit: which rows belong together for privacy, and how many of them count.
    """

    @property
    def target(self) -> Target: ...
    @property
    def features(self) -> tuple[Feature, ...]: ...
    @property
    def unit(self) -> PrivacyUnit: ...


@dataclass(frozen=True)
class TableSchema:
    """A schema that is not (yet) part of a task."""

    target: Target
    features: tuple[Feature, ...]
    unit: PrivacyUnit


def feature_columns(features: Iterable[Feature]) -> tuple[str, ...]:
    """Input columns that the features read, each once, in order of first use."""
    names: dict[str, None] = {}
    for feature in features:
        match feature:
            case NumberFeature() | CategoryFeature() | DateFeature():
                names[feature.column] = None
            case RatioFeature():
                names[feature.numerator] = None
                names[feature.denominator] = None
            case LocationFeature():
                names[feature.latitude] = None
                names[feature.longitude] = None
    return tuple(names)


def from_micro(value: int) -> float:
    """The float nearest to value / 10^6, as the text of that decimal reads. A product with 1e-6
    often misses it by one step, and then a cell at its very bound would be refused."""
    return value / 10**6


def location_of(features: Iterable[Feature]) -> LocationFeature | None:
    """The location feature, where the schema has one."""
    for feature in features:
        if isinstance(feature, LocationFeature):
            return feature
    return None


def check_schema(schema: Schema) -> None:
    """Refuse a schema that cannot be encoded.

    Raises:
        TaskError: an empty range, a logarithm of what may be zero, a ratio of columns that are
            not positive number features, two locations, one column in two kinds of feature, or
            the target among the features.
    """
    _check_target(schema.target)
    kinds: dict[str, str] = {}
    labels: set[str] = set()
    locations = 0
    for feature in schema.features:
        label = _label(feature)
        if label in labels:
            raise TaskError(f"feature {label!r} appears twice", hint="Remove one of the two.")
        labels.add(label)
        _check_feature(feature)
        if isinstance(feature, LocationFeature):
            locations += 1
        if isinstance(feature, RatioFeature):
            continue
        for column in feature_columns((feature,)):
            if kinds.setdefault(column, feature.kind) != feature.kind:
                raise TaskError(
                    f"column {column!r} is read both as {kinds[column]} and as {feature.kind}",
                    hint="Let one feature read it.",
                )
    if locations > 1:
        raise TaskError(f"{locations} location features, expected at most one")
    _check_ratios(schema.features)
    if schema.target.column in feature_columns(schema.features):
        raise TaskError(
            f"the target column {schema.target.column!r} is also a feature",
            hint="A feature that holds the answer cannot be asked of a consumer; remove it.",
        )
    _check_unit(schema.unit)


def _label(feature: Feature) -> str:
    match feature:
        case NumberFeature():
            return f"{feature.column} ({feature.scale})"
        case RatioFeature():
            return f"{feature.numerator} / {feature.denominator}"
        case LocationFeature():
            return "location"
        case CategoryFeature() | DateFeature():
            return feature.column


def _check_target(target: Target) -> None:
    _check_range(target.column, target.lower_micro, target.upper_micro)
    if target.scale == "log" and target.lower_micro <= 0:
        raise TaskError(
            f"target {target.column!r}: the log scale needs a lower bound above 0",
            hint="Raise the lower bound, or use scale = 'linear'.",
        )


def _check_range(name: str, lower: int, upper: int) -> None:
    if lower >= upper:
        raise TaskError(
            f"{name!r}: the bounds {lower * MICRO:g} to {upper * MICRO:g} hold no range",
            hint="The lower bound must be below the upper one.",
        )


def _check_feature(feature: Feature) -> None:
    match feature:
        case NumberFeature():
            _check_range(feature.column, feature.lower_micro, feature.upper_micro)
            least = {"linear": None, "log": 0, "log1p": -1_000_000}[feature.scale]
            if least is not None and feature.lower_micro <= least:
                raise TaskError(
                    f"{feature.column!r}: scale {feature.scale} needs a lower bound above "
                    f"{least * MICRO:g}, got {feature.lower_micro * MICRO:g}",
                    hint="Raise the lower bound, or use scale = 'linear'.",
                )
        case CategoryFeature():
            if len(set(feature.values)) != len(feature.values):
                raise TaskError(f"{feature.column!r}: a category value is listed twice")
        case LocationFeature():
            _check_range(feature.latitude, feature.south_micro, feature.north_micro)
            _check_range(feature.longitude, feature.west_micro, feature.east_micro)
            inside = (
                feature.south_micro >= -90_000_000
                and feature.north_micro <= 90_000_000
                and feature.west_micro >= -180_000_000
                and feature.east_micro <= 180_000_000
            )
            if not inside:
                raise TaskError(
                    "location bounds must lie within -90..90 degrees latitude and -180..180 "
                    "degrees longitude"
                )
        case DateFeature():
            if feature.first >= feature.last:
                raise TaskError(
                    f"{feature.column!r}: {feature.first} to {feature.last} holds no range"
                )
        case RatioFeature():
            if feature.numerator == feature.denominator:
                raise TaskError(f"ratio of {feature.numerator!r} with itself")


def _check_ratios(features: tuple[Feature, ...]) -> None:
    positive = {
        feature.column
        for feature in features
        if isinstance(feature, NumberFeature) and feature.lower_micro > 0
    }
    for feature in features:
        if not isinstance(feature, RatioFeature):
            continue
        for column in (feature.numerator, feature.denominator):
            if column not in positive:
                raise TaskError(
                    f"ratio {feature.numerator!r} / {feature.denominator!r}: {column!r} is not a "
                    "number feature with a lower bound above 0",
                    hint="Add it as a number feature, or remove the ratio.",
                )


def _check_unit(unit: PrivacyUnit) -> None:
    if unit.kind == "column" and unit.column is None:
        raise TaskError("privacy unit 'column' names no column", hint="Set unit.column.")
    if unit.kind == "row" and (unit.column is not None or unit.max_rows != 1):
        raise TaskError("privacy unit 'row' has no column, and max_rows 1")
