# SPDX-License-Identifier: Apache-2.0
"""What the accepted rows hold: numbers to compare, and how often each word stands there."""

from __future__ import annotations

import numpy as np

from dao.records import CategoryFeature, DateFeature, NumberFeature
from fl_client.check.drift import Kind
from valuation.columns import Fault
from valuation.rows import ReadRows
from valuation.schema import Floats, Ints, Schema, location_of


class WordCounts:
    """Accepted rows by the value of each category column; the last count is of any other."""

    def __init__(self, schema: Schema) -> None:
        self.features = {
            feature.column: feature
            for feature in schema.features
            if isinstance(feature, CategoryFeature)
        }
        self._counts: dict[str, Ints] = {
            column: np.zeros(len(feature.values) + 1, dtype=np.int64)
            for column, feature in self.features.items()
        }

    def add(self, read: ReadRows) -> None:
        """Rows of one block."""
        for reading in read.readings:
            feature = self.features.get(reading.column)
            if feature is not None and Fault.UNKNOWN in reading.broke:
                codes = reading.values[read.accepted].astype(np.int64)
                self._counts[reading.column] += np.bincount(
                    codes, minlength=len(feature.values) + 1
                )

    def of(self, column: str) -> Ints:
        """int64[values], and one more where the task has `other`."""
        feature = self.features[column]
        return self._counts[column][: len(feature.values) + int(feature.other)]


def number_columns(schema: Schema) -> dict[str, tuple[Kind, str]]:
    """Kind and scale of the columns that hold numbers, days or degrees; the target is last."""
    found: dict[str, tuple[Kind, str]] = {}
    for feature in schema.features:
        if isinstance(feature, NumberFeature):
            found.setdefault(feature.column, ("number", feature.scale))
        elif isinstance(feature, DateFeature):
            found[feature.column] = ("date", "linear")
    place = location_of(schema.features)
    if place is not None:
        found[place.latitude] = found[place.longitude] = ("degrees", "linear")
    found[schema.target.column] = ("target", schema.target.scale)
    return found


def number_values(read: ReadRows, columns: dict[str, tuple[Kind, str]]) -> Floats:
    """float64[n, columns], as they stand in the file, within bounds or not; NaN where there is no
    number or day."""
    values: dict[str, Floats] = {}
    for reading in read.readings:
        if Fault.MALFORMED in reading.broke:
            values.setdefault(reading.column, reading.parsed)
    return np.column_stack([values[column] for column in columns])
