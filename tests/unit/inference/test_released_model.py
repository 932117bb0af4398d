# SPDX-License-Identifier: Apache-2.0
"""Answers of a released model against arithmetic done by hand."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import date
from typing import Any

import pytest
from released_world import ROW, World, released_world  # noqa: F401 - a fixture

from dao.errors import RecordError
from inference.released import ReleasedModel, RowProblem, input_sha256


@pytest.fixture
def model(world: World) -> ReleasedModel:
    return ReleasedModel(
        task=world.task,
        card=world.report.card,
        setup=world.store.get(world.blobs["set-up"].cid),
        model=world.store.get(world.blobs["model"].cid),
    )


def by_hand(row: dict[str, Any]) -> tuple[float, float, float]:
    """Value and interval of the linear model of conftest.py, without our code."""

    def clip(spreads: float) -> float:
        return min(max(spreads, -4.0), 4.0)

    rooms = row.get("rooms")
    days = (date.fromisoformat(row["sale_date"]) - date(2019, 1, 1)).days
    z = (
        0.8 * clip((math.log(row["living_area_m2"]) - 4.6) / 0.4)
        + (0.0 if rooms is None else 0.1 * clip((rooms - 4) / 1.5))
        + (-0.05 if rooms is None else 0.0)
        + {"apartment": -0.3, "detached": 0.4}[row["property_type"]]
        + 0.15 * clip((days - 1096) / 500)
        + 0.25
    )
    log_value = z * 0.5 + 12.1
    return tuple(  # type: ignore[return-value]
        min(max(math.exp(log_value + shift), 20_000.0), 4_000_000.0) for shift in (0.0, -0.2, 0.2)
    )


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"rooms": None},
        {"property_type": "apartment", "living_area_m2": 42},
        {"sale_date": "2019-01-01", "living_area_m2": "77.25"},
        {"living_area_m2": 10},
        {"living_area_m2": 1000, "sale_date": "2024-12-31", "rooms": 15},
    ],
)
def test_value_and_interval_equal_the_formula(
    model: ReleasedModel, change: dict[str, object]
) -> None:
    row = ROW | change
    [answer] = model.appraise([row])
    plain = row | {"living_area_m2": float(row["living_area_m2"])}
    value, lower, upper = by_hand(plain)
    assert answer.value_micro / 1e6 == pytest.approx(value, rel=1e-9)
    assert answer.lower_micro / 1e6 == pytest.approx(lower, rel=1e-9)
    assert answer.upper_micro / 1e6 == pytest.approx(upper, rel=1e-9)
    assert answer.lower_micro <= answer.value_micro <= answer.upper_micro


def test_an_answer_does_not_depend_on_the_other_rows(model: ReleasedModel) -> None:
    rows = [ROW | {"living_area_m2": 30 + 7 * index} for index in range(20)]
    together = model.appraise(rows)
    assert together == tuple(model.appraise([row])[0] for row in rows)


def test_the_input_hash_is_the_sha256_of_sorted_compact_json(model: ReleasedModel) -> None:
    expected = hashlib.sha256(
        json.dumps(ROW, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()
    assert input_sha256(dict(reversed(ROW.items()))) == expected
    assert model.appraise([ROW])[0].input_sha256 == expected


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("rooms", 16, "15"),
        ("living_area_m2", None, "10"),
        ("living_area_m2", "large", "number"),
        ("living_area_m2", True, "number"),
        ("living_area_m2", float("inf"), "finite"),
        ("rooms", 2**53 + 1, "15"),
        ("property_type", "castle", "apartment"),
        ("latitude", 51.0, "49"),
        ("sale_date", "01/02/2020", "2019-01-01"),
        ("garden", 3, "one of"),
    ],
)
def test_a_wrong_field_is_named_with_row_and_bounds(
    model: ReleasedModel, field: str, value: object, expected: str
) -> None:
    with pytest.raises(RowProblem) as caught:
        model.appraise([ROW, ROW | {field: value}])
    assert caught.value.index == 1
    assert caught.value.field == field
    assert expected in caught.value.expected


def test_bytes_that_do_not_fit_the_task_are_refused(world: World) -> None:
    setup = world.store.get(world.blobs["set-up"].cid)
    good = world.store.get(world.blobs["model"].cid)
    for model in (good[:-8], good + bytes(8), b"\xff" * 7 + b"\x7f" + good[8:]):
        with pytest.raises(RecordError, match="model state"):
            ReleasedModel(task=world.task, card=world.report.card, setup=setup, model=model)
    with pytest.raises(RecordError, match="set-up"):
        ReleasedModel(task=world.task, card=world.report.card, setup=b"no", model=good)
