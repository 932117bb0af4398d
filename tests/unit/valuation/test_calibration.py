# SPDX-License-Identifier: Apache-2.0
"""What contributors release for intervals: how far one unit can move it, and what it counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from calibration_world import LOG_PRICES, plan, process_of, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dao.errors import TaskError
from dao.records import Calibration
from privacy.accounting import mu_of_epsilon
from valuation.calibration import (
    BANDS,
    MAX_REGIONS,
    calibration_plan,
    groups_of,
    layout_of,
    residual_histogram,
)
from valuation.difficulty import Difficulty
from valuation.regions import region_centres, region_of

GROUPS = (1, 1 + BANDS, 1 + BANDS + MAX_REGIONS)


def release(calibration: Calibration, rows: dict[str, np.ndarray], max_rows: int) -> np.ndarray:
    return residual_histogram(calibration, **rows, max_rows=max_rows)


def some_rows(
    calibration: Calibration, residual: np.ndarray, units: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    layout = layout_of(calibration)
    groups = [np.zeros(len(residual), dtype=np.int64)]
    if layout.bands:
        groups.append(1 + random.integers(0, layout.bands, len(residual)))
    if layout.regions:
        groups.append(1 + layout.bands + random.integers(0, layout.regions, len(residual)))
    return {
        "residual": residual,
        "difficulty": random.uniform(0.1, 2.0, len(residual)),
        "groups": np.column_stack(groups),
        "units": units,
    }


@settings(max_examples=150, deadline=None)
@given(
    residual=arrays(np.float64, 12, elements=st.floats(allow_nan=True, allow_infinity=True)),
    units=arrays(np.int64, 12, elements=st.integers(0, 4)),
    groups=st.sampled_from(GROUPS),
    max_rows=st.integers(1, 5),
    seed=st.integers(0, 2**31),
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_one_unit_moves_the_release_by_at_most_one(
    residual: np.ndarray, units: np.ndarray, groups: int, max_rows: int, seed: int
) -> None:
    calibration = plan(groups)
    rows = some_rows(calibration, residual, units, seed)
    whole = release(calibration, rows, max_rows)
    assert np.isfinite(whole).all()
    for unit in np.unique(units):
        rest = {name: values[units != unit] for name, values in rows.items()}
        moved = np.linalg.norm(whole - release(calibration, rest, max_rows))
        assert moved <= 1.0 + 1e-12


@pytest.mark.parametrize("groups", GROUPS)
def test_the_bound_is_met_exactly(groups: int) -> None:
    calibration = plan(groups)
    same = np.zeros(3)
    rows = some_rows(calibration, same, same.astype(np.int64), 0)
    rows["groups"] = np.repeat(rows["groups"][:1], 3, axis=0)
    assert np.linalg.norm(release(calibration, rows, 3)) == pytest.approx(1.0)


def test_counts_are_those_of_a_histogram_of_each_group() -> None:
    calibration = plan(1 + BANDS + MAX_REGIONS)
    random = np.random.default_rng(1)
    rows = some_rows(calibration, random.standard_t(3, 400), np.arange(400), 2)
    table = release(calibration, rows, 1).reshape(calibration.groups, -1) * math.sqrt(3.0)
    edges = np.concatenate([[-np.inf], np.array(calibration.edges_micro) * 1e-6, [np.inf]])
    for group in range(calibration.groups):
        members = (rows["groups"] == group).any(axis=1)
        expected, _ = np.histogram((rows["residual"] / rows["difficulty"])[members], edges)
        assert table[group] == pytest.approx(expected)


def test_the_first_rows_of_a_unit_share_one_count() -> None:
    calibration = plan(1)
    rows = some_rows(
        calibration, np.array([-9.0, 9.0, 0.0, 9.0, 9.0]), np.array([7, 7, 3, 7, 7]), 0
    )
    table = release(calibration, rows, 3)
    # Unit 7: rows 0, 1 and 3 count a third each; unit 3 counts once.
    assert table[0] == pytest.approx(1 / 3)
    assert table[-1] == pytest.approx(2 / 3)
    assert table.sum() == pytest.approx(2.0)


def test_rows_belong_to_bands_and_regions_of_the_public_rows() -> None:
    calibration = plan(1 + BANDS + MAX_REGIONS)
    difficulty = Difficulty.of(process_of(200), LOG_PRICES)
    rows = rows_of(500, np.random.default_rng(3))
    hard = difficulty.of_rows(rows)
    groups = groups_of(calibration, difficulty, hard, rows.locations)
    assert difficulty.process is not None
    centres = region_centres(difficulty.process.locations, MAX_REGIONS)
    expected = 1 + BANDS + region_of(centres, rows.locations)
    assert (groups[:, 2] == expected).all()
    # Bands rise with difficulty and every one is used.
    order = np.argsort(hard)
    assert (np.diff(groups[order, 1]) >= 0).all()
    assert set(groups[:, 1]) == set(range(1, 1 + BANDS))


def test_without_public_rows_all_rows_are_one_group() -> None:
    difficulty = Difficulty.of(None, LOG_PRICES)
    rows = rows_of(4, np.random.default_rng(4))
    groups = groups_of(plan(1), difficulty, difficulty.of_rows(rows), rows.locations)
    assert (groups == 0).all()
    assert groups.shape == (4, 1)


def planned(units: int, epsilon: float, contributors: int = 10) -> Calibration | None:
    return calibration_plan(
        units=units,
        contributors=contributors,
        mu=mu_of_epsilon(epsilon, 1e-5),
        public_rows=True,
        located=True,
    )


def test_the_plan_follows_units_noise_and_contributors() -> None:
    usual = planned(16_000, 8.0)
    assert usual is not None
    assert usual.groups == 1 + BANDS + MAX_REGIONS
    assert usual.share_micro == 150_000
    many = planned(200_000, 8.0)
    assert many is not None
    assert many.share_micro == 20_000
    noisy = planned(16_000, 1.0)
    assert noisy is not None
    assert noisy.groups == 1
    # The thresholds that docs/spec/intervals.md states.
    assert planned(2_600, 8.0) is None
    assert planned(2_800, 8.0) is not None
    assert planned(11_800, 1.0) is None
    assert planned(12_000, 1.0) is not None
    assert planned(16_000, 1.0, contributors=50) is None


def test_bands_need_public_rows_and_regions_a_location() -> None:
    common = {"units": 16_000, "contributors": 10, "mu": 1.6}
    bare = calibration_plan(**common, public_rows=False, located=True)
    nowhere = calibration_plan(**common, public_rows=True, located=False)
    assert bare is not None
    assert bare.groups == 1
    assert nowhere is not None
    assert nowhere.groups == 1 + BANDS


@pytest.mark.parametrize("groups", [2, BANDS, 2 + BANDS])
def test_groups_that_mean_nothing_are_refused(groups: int) -> None:
    with pytest.raises(TaskError, match=f"{groups} groups"):
        layout_of(plan(1).model_copy(update={"groups": groups}))


def test_edges_must_rise() -> None:
    with pytest.raises(TaskError, match="rise"):
        layout_of(plan(1).model_copy(update={"edges_micro": (0, 0)}))
