# SPDX-License-Identifier: Apache-2.0
"""Columns of which the public rows teach nothing: empty on all of them, or always the same.

The schema admits them, so a task with one is no error; its voters should know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd

from dao.records import (
    CategoryFeature,
    DateFeature,
    Feature,
    LocationFeature,
    NumberFeature,
    RatioFeature,
)
from valuation.columns import Reading, parse_numbers, read_feature, read_target
from valuation.schema import Floats, Schema

_LEAST_RANGE = 1e-6
"""Of the logarithm of a ratio: one column that is a multiple of another has only rounding."""

_MEANS = {
    "kernel": "nothing can be learned of it, since the kernel's features come from public rows",
    "mlp": "the public rows teach nothing of it, and only contributors whose rows differ can",
}
_TO_DO = "leave the feature out, or publish rows in which it differs"


def silent_columns(
    schema: Schema, public: pd.DataFrame, *, family: Literal["kernel", "mlp"]
) -> list[str]:
    """A line for people about each column that is empty or constant in the public rows: what that
    means and what to do. A number with `missing = "indicate"` that is the same wherever it is
    filled still tells where it is filled, and is not named.

    Args:
        public: the public rows that the schema accepts.
    """
    if public.empty:
        return []
    means = f"{_MEANS[family]}; {_TO_DO}"
    told = dict.fromkeys(
        f"{what}: {means}" for feature in schema.features for what in _silent(feature, public)
    )
    prices = read_target(schema.target, public).values
    if _constant(prices):
        told[
            f"{schema.target.column!r}, the target, has one value on all public rows: equal prices "
            "teach nothing; publish rows whose prices differ"
        ] = None
    return list(told)


def _silent(feature: Feature, public: pd.DataFrame) -> Iterator[str]:
    match feature:
        case NumberFeature() | DateFeature():
            (reading,) = read_feature(feature, public)
            if reading.missing.all():
                yield _empty(reading)
            elif _constant(reading.values) and not reading.missing.any():
                yield f"{feature.column!r} has one value on all public rows"
        case CategoryFeature():
            (reading,) = read_feature(feature, public)
            words = {cell.strip() for cell in public[feature.column].tolist()}
            if reading.missing.all():
                yield _empty(reading)
            elif len(words) == 1:
                yield f"{feature.column!r} has one value on all public rows"
            elif _constant(reading.values):
                yield f"{feature.column!r} has none of its listed values on any public row"
        case LocationFeature():
            latitude, longitude = read_feature(feature, public)
            if _constant(latitude.values) and _constant(longitude.values):
                yield (
                    f"{feature.latitude!r} and {feature.longitude!r} are one place on all public "
                    "rows"
                )
        case RatioFeature():
            above, _ = parse_numbers(public[feature.numerator].tolist())
            below, _ = parse_numbers(public[feature.denominator].tolist())
            logs = np.log(above) - np.log(below)
            known = logs[np.isfinite(logs)]
            if len(known) and np.ptp(known) <= _LEAST_RANGE:
                yield (
                    f"the ratio {feature.numerator!r} / {feature.denominator!r} has one value on "
                    "all public rows"
                )


def _empty(reading: Reading) -> str:
    return f"{reading.column!r} is empty on all public rows"


def _constant(values: Floats) -> bool:
    known = values[~np.isnan(values)]
    return len(known) > 0 and bool((known == known[0]).all())
