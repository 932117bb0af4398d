# SPDX-License-Identifier: Apache-2.0
"""How far own rows lie from the public ones, against scipy, brute force and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from check_world import PUBLIC, inspect, make_schema, market, numbers
from scipy.stats import entropy

from demo.market import NORTH, SOUTH, TARGET
from fl_client.check.drift import (
    ColumnDrift,
    Drift,
    compare_numbers,
    stability_index,
    verdict_of,
)
from fl_client.check.places import compare_places
from fl_client.check.report import DataReport
from valuation.rows import check_frame
from valuation.schema import location_of


def drift_of(report: DataReport) -> tuple[Drift, dict[str, ColumnDrift]]:
    assert report.drift is not None
    return report.drift, {each.column: each for each in report.drift.columns}


def test_the_index_is_the_symmetric_relative_entropy() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        bins = int(random.integers(2, 15))
        public, own = random.integers(0, 40, bins), random.integers(0, 400, bins)
        index, _ = stability_index(public, own)
        p, q = public + 0.5, own + 0.5
        assert math.isclose(index, float(entropy(p, q) + entropy(q, p)), rel_tol=1e-9)


def test_without_drift_chance_is_passed_in_one_case_of_twenty() -> None:
    random = np.random.default_rng(1)
    passed = []
    for _ in range(1500):
        public = random.multinomial(500, np.full(10, 0.1))
        own = random.multinomial(3000, np.full(10, 0.1))
        index, chance = stability_index(public, own)
        passed.append(index > chance)
    # 75 expected, deviation 8.4
    assert 45 < sum(passed) < 105


@pytest.mark.parametrize(
    ("index", "chance", "verdict"),
    [
        (0.05, 0.01, "alike"),
        (0.10, 0.01, "shifted"),
        (0.20, 0.21, "alike"),
        (0.25, 0.01, "far"),
        (0.30, 0.40, "alike"),
        (0.45, 0.40, "far"),
    ],
)
def test_only_what_passes_chance_is_called_drift(index: float, chance: float, verdict: str) -> None:
    assert verdict_of(index, chance) == verdict


def test_tenths_of_the_public_rows_are_the_bins() -> None:
    public, own = np.arange(100.0), np.concatenate([np.arange(50.0), np.full(10, np.nan)])
    found = compare_numbers("x", public, own, kind="number")
    assert found is not None
    # ten equal public bins, five of them without own rows, and one bin for what is missing
    p = np.array([10.0] * 10 + [0.0]) + 0.5
    q = np.array([10.0] * 5 + [0.0] * 5 + [10.0]) + 0.5
    p, q = p / p.sum(), q / q.sum()
    assert math.isclose(found.index, float(((q - p) * np.log(q / p)).sum()), rel_tol=1e-9)
    assert found.verdict == "far"
    assert sum(bar.public for bar in found.bars) == pytest.approx(1)
    assert sum(bar.own for bar in found.bars) == pytest.approx(1)
    assert found.bars[-1].label == "missing"
    assert found.bars[-1].own == pytest.approx(1 / 6)


def test_one_value_and_no_value_are_compared_too() -> None:
    same = compare_numbers("x", np.full(50, 3.0), np.full(60, 3.0), kind="number")
    assert same is not None
    assert same.verdict == "alike"
    assert compare_numbers("x", np.full(5, np.nan), np.ones(5), kind="number") is None


def test_pictures_show_single_values_or_classes_that_are_open_at_both_ends() -> None:
    few = compare_numbers("x", np.array([1.0, 2.0, 2.0]), np.array([2.0, 7.5]), kind="number")
    assert few is not None
    assert [(bar.label, round(bar.public, 3), bar.own) for bar in few.bars] == [
        ("1", 0.333, 0.0),
        ("2", 0.667, 0.5),
        ("7.5", 0.0, 0.5),
    ]
    wide = np.geomspace(100, 1e6, 400)
    many = compare_numbers("x", wide, wide[:200], kind="number", scale="log")
    assert many is not None
    assert len(many.bars) == 16
    assert many.bars[0].label.startswith("below ")
    assert many.bars[-1].label.endswith(" and above")
    assert {round(bar.public, 2) for bar in many.bars[1:-1]} == {0.06}
    lone = np.concatenate([np.full(5000, 3.0), np.arange(40.0)])
    narrow = compare_numbers("x", lone, lone, kind="number")
    assert narrow is not None
    assert [bar.label for bar in narrow.bars] == ["below 3", "3 and above"]


def test_rows_of_the_same_market_are_alike() -> None:
    own = market(2000, 1)  # another draw of the same places and prices
    report = inspect(own, block_rows=300)
    drift, columns = drift_of(report)
    assert {each.verdict for each in columns.values()} == {"alike"}
    assert drift.other_units == ()
    schema = make_schema()
    used = [frame[check_frame(schema, frame, with_target=True).accepted] for frame in (PUBLIC, own)]
    for column in (TARGET, "living_area_m2"):
        for quantile in columns[column].quantiles:
            theirs, ours = (np.quantile(numbers(each, column), quantile.level) for each in used)
            assert quantile.public == pytest.approx(theirs), column
            assert quantile.own == pytest.approx(ours), column
    words = columns["property_type"]
    shares = used[1]["property_type"].value_counts(normalize=True)
    for bar in words.bars:
        if bar.label in shares:
            assert bar.own == pytest.approx(shares[bar.label])


def test_dates_are_shown_as_dates() -> None:
    own = market(200, 1)
    own["sale_date"] = "2019-02-03"
    _, columns = drift_of(inspect(own))
    assert columns["sale_date"].verdict == "far"
    assert {each.own for each in columns["sale_date"].quantiles} == {"2019-02-03"}


def test_a_column_in_another_unit_is_asked_about_though_its_rows_are_refused() -> None:
    own = market(300, 1)
    own["living_area_m2"] = [f"{v * 10.764:.1f}" for v in numbers(own, "living_area_m2")]
    report = inspect(own)
    assert report.accepted < 150
    drift, _ = drift_of(report)
    (unit,) = drift.other_units
    assert unit.column == "living_area_m2"
    ratio = np.median(numbers(own, "living_area_m2")) / np.median(numbers(PUBLIC, "living_area_m2"))
    assert unit.own_median / unit.public_median == pytest.approx(ratio)
    assert f"{ratio:.3g} times" in unit.told

    cents = market(300, 1)
    cents[TARGET] = [f"{v * 1e6:.0f}" for v in numbers(cents, TARGET)]
    report = inspect(cents)
    assert report.accepted == 0
    drift, _ = drift_of(report)
    assert [each.column for each in drift.other_units] == [TARGET]
    assert drift.columns == ()


def test_where_rows_lie_is_counted_row_by_row() -> None:
    place = location_of(make_schema().features)
    assert place is not None
    random = np.random.default_rng(5)
    public = random.normal(0, 0.2, (300, 2)) + np.array([48.0, 9.5])
    own = random.normal(0, 0.4, (400, 2)) + np.array([48.2, 9.5])
    found = compare_places(place, public, own)
    assert found is not None
    low, high = public.min(axis=0), public.max(axis=0)
    inside = [(low <= row).all() and (row <= high).all() for row in own]
    assert found.outside_share == pytest.approx(1 - np.mean(inside))

    def kilometres(a: np.ndarray, b: np.ndarray) -> float:
        """Equirectangular about the task's centre, on the mean sphere."""
        east = (a[1] - b[1]) * math.cos(math.radians(place.center_latitude_micro * 1e-6))
        return 6371.0088 * math.radians(math.hypot(east, a[0] - b[0]))

    nearest = [min(kilometres(a, b) for j, b in enumerate(public) if j != i)
               for i, a in enumerate(public)]  # fmt: skip
    assert found.reach_km == pytest.approx(np.quantile(nearest, 0.99))
    far = [min(kilometres(a, b) for b in public) > found.reach_km for a in own]
    assert found.far_share == pytest.approx(np.mean(far))
    assert sum(cell.public for cell in found.map) == pytest.approx(1)
    assert sum(cell.own for cell in found.map) == pytest.approx(1)


def test_rows_of_one_half_of_the_country_lie_there_on_the_map() -> None:
    own = market(600, 1)
    north = numbers(own, "latitude") > (SOUTH + NORTH) / 2
    report = inspect(own[north])
    drift, _ = drift_of(report)
    assert drift.location is not None
    assert drift.location.outside_share < 0.05
    assert sum(cell.own for cell in drift.location.map if cell.north < 11) == 0
    assert sum(cell.public for cell in drift.location.map if cell.north < 11) > 0.2
