# SPDX-License-Identifier: Apache-2.0
"""The encoding, against formulas written out row by row."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from valuation_world import AREA, KIND, OWNER_UNIT, PLACE, SCHEMA, SPACE, TARGET, sales

from dao.errors import InputError, TaskError
from dao.records import RatioFeature, Target
from valuation.encode import (
    attribute_names,
    encode,
    indicator_columns,
    target_to_value,
    value_to_target,
)
from valuation.schema import check_schema


def by_hand(row: dict[str, str]) -> tuple[list[float], list[float], float]:
    def clip(z: float) -> float:
        return max(-4.0, min(4.0, z))

    area = float(row["area"])
    rooms = float(row["rooms"]) if row["rooms"] else None
    days = (datetime.date.fromisoformat(row["sold"]) - datetime.date(2020, 1, 1)).days
    attributes = [
        clip((math.log(area) - 4.6) / 0.4),
        0.0 if rooms is None else clip((rooms - 4.0) / 2.0),
        1.0 if rooms is None else 0.0,
        0.0 if rooms is None else clip((math.log(area / rooms) - 3.2) / 0.3),
        float(row["kind"] == "flat"),
        float(row["kind"] == "house"),
        float(row["kind"] not in ("flat", "house")),
        clip((days - 1000) / 500),
    ]
    metres = 6_371_008.8 * math.pi / 180
    place = [
        (float(row["lon"]) - 9) * math.cos(math.radians(51)) * metres / 30_000,
        (float(row["lat"]) - 51) * metres / 30_000,
    ]
    return attributes, place, (math.log(float(row["price"])) - 12.5) / 0.5


def test_every_column_follows_its_formula() -> None:
    frame = sales(60, seed=5)
    frame.loc[5, "kind"] = "castle"
    encoded = encode(SCHEMA, frame, with_target=True)
    rows = [by_hand(row) for row in frame.to_dict("records")]
    assert np.allclose(encoded.attributes, [row[0] for row in rows], atol=1e-12)
    assert np.allclose(encoded.locations, [row[1] for row in rows], atol=1e-9)
    assert encoded.target is not None
    assert np.allclose(encoded.target, [row[2] for row in rows], atol=1e-12)
    assert len(attribute_names(SCHEMA)) == encoded.attributes.shape[1]
    for flag, column in zip(indicator_columns(SCHEMA), encoded.attributes.T, strict=True):
        assert flag == bool(np.isin(column, (0.0, 1.0)).all())


def test_what_becomes_of_a_row_depends_on_that_row_alone() -> None:
    frame = sales(30, seed=6)
    whole = encode(SCHEMA, frame, with_target=True)
    for i in range(len(frame)):
        one = encode(SCHEMA, frame.iloc[i : i + 1], with_target=True)
        assert np.array_equal(one.attributes[0], whole.attributes[i])
        assert np.array_equal(one.locations[0], whole.locations[i])
        assert one.target is not None
        assert whole.target is not None
        assert one.target[0] == whole.target[i]


def test_units_are_equal_for_equal_owners() -> None:
    frame = sales(7, seed=0)
    units = encode(dataclasses.replace(SCHEMA, unit=OWNER_UNIT), frame, with_target=True).units
    assert units.tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert encode(SCHEMA, frame, with_target=True).units.tolist() == list(range(7))


def test_a_units_key_is_a_hash_of_the_unit_alone() -> None:
    frame = sales(40, seed=1)
    whole = encode(SCHEMA, frame, with_target=True)
    part = encode(SCHEMA, frame.iloc[10:20], with_target=True)
    assert np.array_equal(whole.unit_keys[10:20], part.unit_keys)
    assert len(np.unique(whole.unit_keys)) == 40
    owners = encode(dataclasses.replace(SCHEMA, unit=OWNER_UNIT), frame, with_target=True)
    assert OWNER_UNIT.column is not None
    cell = str(frame[OWNER_UNIT.column].iloc[7]).strip()
    expected = int.from_bytes(hashlib.sha256(cell.encode()).digest()[:8], "little")
    assert int(owners.unit_keys[7]) == expected
    assert not encode(SCHEMA, frame, with_target=False).unit_keys.any()


def test_a_row_that_was_not_accepted_is_not_encoded() -> None:
    frame = sales(4, seed=0)
    frame.loc[3, "area"] = "0"
    with pytest.raises(InputError, match="line 3, area"):
        encode(SCHEMA, frame, with_target=False)


def test_a_schema_without_location_or_target_column_encodes() -> None:
    schema = dataclasses.replace(SCHEMA, features=(AREA, KIND))
    frame = sales(4, seed=0)[["area", "kind"]]
    encoded = encode(schema, frame, with_target=False)
    assert encoded.attributes.shape == (4, 4)
    assert encoded.locations.shape == (4, 0)
    assert encoded.target is None


@given(st.floats(-1e6, 1e8), st.sampled_from(["log", "linear"]))
def test_target_and_value_are_inverse_within_the_bounds(value: float, scale: str) -> None:
    target = Target.model_validate(
        {**TARGET.model_dump(), "scale": scale, "lower_micro": str(10**10)}
    )
    back = target_to_value(target, value_to_target(target, np.array([value])))[0]
    assert back == pytest.approx(min(max(value, 1e4), 5e6), rel=1e-9)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_prediction_leaves_the_bounds(z: float) -> None:
    assert 1e4 <= target_to_value(TARGET, np.array([z]))[0] <= 5e6


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ((AREA, AREA), "twice"),
        ((AREA.model_copy(update={"lower_micro": AREA.upper_micro}),), "hold no range"),
        ((AREA.model_copy(update={"lower_micro": 0}),), "above 0"),
        ((SPACE, AREA), "'rooms' is not a number feature"),
        ((PLACE, PLACE.model_copy(update={"latitude": "y", "longitude": "x"})), "twice"),
        ((KIND.model_copy(update={"values": ("flat", "flat")}),), "twice"),
        ((KIND, AREA.model_copy(update={"column": "kind"})), "read both as"),
        ((AREA.model_copy(update={"column": "price"}),), "also a feature"),
        (
            (
                RatioFeature(
                    kind="ratio",
                    numerator="area",
                    denominator="area",
                    center_micro=0,
                    spread_micro=1,
                ),
                AREA,
            ),
            "itself",
        ),
    ],
)
def test_schemas_that_cannot_be_encoded_are_refused(features: tuple, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        check_schema(dataclasses.replace(SCHEMA, features=features))
