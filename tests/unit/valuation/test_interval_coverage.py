# SPDX-License-Identifier: Apache-2.0
"""Intervals, probabilities and deviations against errors that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from calibration_world import (
    LINEAR_PRICES,
    LOG_PRICES,
    counts_of,
    crowded_places,
    plan,
    process_of,
    rows_of,
)
from scipy import stats

from dao.errors import InputError, RecordError, ReplayMismatch
from dao.records import Calibrated, Calibration
from valuation.calibrated import OPEN_MICRO, calibrate, check_calibrated
from valuation.calibration import (
    BANDS,
    MAX_REGIONS,
    band_middles,
    coverage_deviation,
    groups_of,
    layout_of,
    residual_histogram,
)
from valuation.difficulty import Difficulty
from valuation.encode import Encoded, target_to_value
from valuation.interval import ErrorModel, halfwidth
from valuation.regions import region_centres, region_of
from valuation.schema import Floats

ALL = 1 + BANDS + MAX_REGIONS
DIFFICULTY = Difficulty.of(process_of(120), LOG_PRICES)
NOBODY = Difficulty.of(None, LOG_PRICES)


def calibrated_on(
    calibration: Calibration,
    difficulty: Difficulty,
    rows: Encoded,
    errors: Floats,
    *,
    noise: float = 0.0,
    random: np.random.Generator | None = None,
) -> tuple[Calibrated, ErrorModel]:
    """Ten contributors with noise of this deviation each; none without a generator."""
    counts = counts_of(
        calibration, difficulty, rows, errors, noise=noise, contributors=10, random=random
    )
    variance = 0.0 if random is None else 10.0 * noise**2
    found = calibrate(calibration, difficulty, counts, noise_variance=variance)
    return found, ErrorModel(calibration, found, difficulty)


def student(count: int, random: np.random.Generator) -> Floats:
    """Errors in difficulties, a little skewed, about one robust standard deviation wide."""
    raw = random.standard_t(4, count)
    return np.where(raw > 0, 0.8 * raw, 0.6 * raw)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_without_noise_the_ends_are_those_of_split_conformal(level: float) -> None:
    random = np.random.default_rng(0)
    errors = student(20_000, random)
    found, _ = calibrated_on(plan(1, level=level), NOBODY, rows_of(20_000, random), errors)
    tail = (1.0 - level) / 2.0
    # Exact but for where an end lies within its bin: that costs less than .4 % of coverage.
    assert np.mean(errors < found.lower_micro * 1e-6) == pytest.approx(tail, abs=0.002)
    assert np.mean(errors > found.upper_micro * 1e-6) == pytest.approx(tail, abs=0.002)


@pytest.mark.parametrize(
    ("count", "noise", "groups"), [(2_400, 0.6, ALL), (2_400, 3.7, 1), (400, 0.6, 1)]
)
def test_coverage_holds_in_expectation_under_noise(count: int, noise: float, groups: int) -> None:
    """Ten contributors at epsilon 8 (deviation .6) and 1 (3.7); .005 of slack for 40 draws."""
    calibration = plan(groups)
    covered, drawn = [], 40
    for seed in range(drawn):
        random = np.random.default_rng(seed)
        rows, fresh = rows_of(count, random), rows_of(2_000, random)
        errors = student(count, random) * DIFFICULTY.of_rows(rows)
        _, model = calibrated_on(calibration, DIFFICULTY, rows, errors, noise=noise, random=random)
        zero = np.zeros(2_000)
        lower, upper = model.interval(zero, model.widths(fresh, zero))
        target = student(2_000, random) * DIFFICULTY.of_rows(fresh)
        covered.append(np.mean((target >= lower) & (target <= upper)))
    doubt = float(np.std(covered)) / np.sqrt(drawn)
    assert np.mean(covered) == pytest.approx(0.9, abs=0.005 + 3.0 * doubt)
    # As far as the plan says that it will vary, and 2,000 fresh rows beside.
    promised = coverage_deviation(layout_of(calibration), count, 10.0 * noise**2)
    expected = np.sqrt(promised**2 + 0.09 / 2_000)
    assert np.std(covered) == pytest.approx(expected, rel=0.35)


def test_regions_that_are_noisier_get_wider_intervals() -> None:
    random = np.random.default_rng(1)
    rows, fresh = rows_of(6_000, random), rows_of(20_000, random)
    assert DIFFICULTY.process is not None
    centres = region_centres(DIFFICULTY.process.locations, MAX_REGIONS)
    own = np.linspace(0.6, 1.6, len(centres))

    def errors(of: Encoded) -> Floats:
        scale = own[region_of(centres, of.locations)] * DIFFICULTY.of_rows(of)
        return student(len(scale), random) * scale

    calibration = plan(ALL)
    found, model = calibrated_on(
        calibration, DIFFICULTY, rows, errors(rows), noise=0.6, random=random
    )
    relative = np.array(found.region_micro) / own
    assert relative / relative.mean() == pytest.approx(1.0, abs=0.12)
    zero = np.zeros(20_000)
    lower, upper = model.interval(zero, model.widths(fresh, zero))
    target = errors(fresh)
    inside = (target >= lower) & (target <= upper)
    region = region_of(centres, fresh.locations)
    assert inside.mean() == pytest.approx(0.9, abs=0.015)
    assert min(inside[region == k].mean() for k in range(len(centres))) > 0.86


def test_noise_alone_makes_no_regions() -> None:
    random = np.random.default_rng(2)
    rows = rows_of(2_400, random)
    errors = student(2_400, random) * DIFFICULTY.of_rows(rows)
    found, _ = calibrated_on(plan(ALL), DIFFICULTY, rows, errors, noise=3.7, random=random)
    assert np.array(found.region_micro) * 1e-6 == pytest.approx(1.0, abs=0.15)


def test_errors_that_grow_faster_than_difficulty_are_followed() -> None:
    random = np.random.default_rng(3)
    rows = replace(rows_of(6_000, random), locations=crowded_places(6_000, random))
    hard = DIFFICULTY.of_rows(rows)
    errors = student(6_000, random) * hard * (hard / hard.mean()) ** 0.8
    _, model = calibrated_on(plan(1 + BANDS), DIFFICULTY, rows, errors, noise=0.6, random=random)
    # Beyond the middles of the outer bands the factor stays as it is.
    middles = band_middles(DIFFICULTY)
    usual = (np.log(hard) > middles[0]) & (np.log(hard) < middles[-1])
    widths = model.widths(rows, np.zeros(6_000))
    slope = np.polyfit(np.log(hard[usual]), np.log(widths[usual]), 1)[0]
    assert slope == pytest.approx(1.8, abs=0.25)


@pytest.mark.parametrize("target", [LOG_PRICES, LINEAR_PRICES])
def test_probability_of_being_close_is_what_happens(target: object) -> None:
    random = np.random.default_rng(4)
    difficulty = Difficulty.of(process_of(120), target)
    calibration, count = plan(1 + BANDS), 40_000
    rows = rows_of(count, random)
    prediction = random.normal(0.0, 0.4, count)
    errors = 0.6 * student(count, random) * difficulty.at(difficulty.of_rows(rows), prediction)
    table = counts_of_at(calibration, difficulty, rows, errors, prediction)
    model = ErrorModel(
        calibration, calibrate(calibration, difficulty, table, noise_variance=0.0), difficulty
    )
    widths = model.widths(rows, prediction)
    chance = model.probability_within(target, prediction, widths)
    price = target_to_value(target, prediction + errors)
    close = np.abs(target_to_value(target, prediction) / price - 1.0) <= 0.1
    order = np.argsort(chance)
    for tenth in np.array_split(order, 10):
        assert chance[tenth].mean() == pytest.approx(close[tenth].mean(), abs=0.03)
    # An estimate other than the prediction: ten times as wide a miss of the same prices.
    shifted = model.probability_within(target, prediction, widths, estimate=prediction + 0.3)
    moved = np.abs(target_to_value(target, prediction + 0.3) / price - 1.0) <= 0.1
    assert shifted.mean() == pytest.approx(moved.mean(), abs=0.02)


def counts_of_at(
    calibration: Calibration,
    difficulty: Difficulty,
    rows: Encoded,
    errors: Floats,
    prediction: Floats,
) -> Floats:
    hard = difficulty.at(difficulty.of_rows(rows), prediction)
    return residual_histogram(
        calibration,
        residual=errors,
        difficulty=hard,
        groups=groups_of(calibration, difficulty, hard, rows.locations),
        units=rows.units,
        max_rows=1,
    )


def test_close_to_a_bound_the_cut_prices_count() -> None:
    """A model that knows the mean of prices cut off at a bound, and errors that are normal."""
    random = np.random.default_rng(5)
    found, model = calibrated_on(
        plan(1), NOBODY, rows_of(40_000, random), random.normal(0.0, 0.4, 40_000)
    )
    assert found.units == 40_000
    top = np.log(LOG_PRICES.upper_micro * 1e-6)
    bound = (top - LOG_PRICES.center_micro * 1e-6) / (LOG_PRICES.spread_micro * 1e-6)
    for middle in (bound - 0.2, bound + 0.1, bound + 0.5):
        targets = np.minimum(middle + random.normal(0.0, 0.4, 200_000), bound)
        prediction = np.array([targets.mean()])
        chance = model.probability_within(LOG_PRICES, prediction, np.ones(1))[0]
        ratio = target_to_value(LOG_PRICES, prediction) / target_to_value(LOG_PRICES, targets)
        assert chance == pytest.approx(np.mean(np.abs(ratio - 1.0) <= 0.1), abs=0.02)


def test_forecast_deviation_is_that_of_the_percentage_error() -> None:
    random = np.random.default_rng(6)
    errors = random.normal(0.0, 0.5, 40_000)
    _, model = calibrated_on(plan(1), NOBODY, rows_of(40_000, random), errors)
    width = np.array([0.4])
    found = model.fsd(LOG_PRICES, np.zeros(1), width)[0]
    # estimate / price is log-normal.
    deviation = 0.5 * 0.4 * LOG_PRICES.spread_micro * 1e-6
    assert found == pytest.approx(stats.lognorm(deviation).std(), rel=0.04)
    below_zero = LINEAR_PRICES.model_copy(update={"lower_micro": -(10**12)})
    assert np.isnan(model.fsd(below_zero, np.array([-4.0]), width)).all()


def test_public_variance_is_that_of_the_errors_of_public_rows() -> None:
    random = np.random.default_rng(7)
    rows = rows_of(20_000, random)
    errors = random.normal(size=20_000) * DIFFICULTY.of_rows(rows)
    _, model = calibrated_on(plan(1), DIFFICULTY, rows, errors)
    expected = float((DIFFICULTY.anchors**2).mean())
    assert model.public_variance() == pytest.approx(expected, rel=0.04)


def test_an_end_in_an_open_bin_reaches_the_bounds() -> None:
    calibration = plan(1, level=0.99)
    random = np.random.default_rng(8)
    found, model = calibrated_on(calibration, NOBODY, rows_of(50, random), np.full(50, 90.0))
    assert found.upper_micro == OPEN_MICRO
    _, upper = model.interval(np.zeros(1), np.ones(1))
    assert target_to_value(LOG_PRICES, upper) == pytest.approx(LOG_PRICES.upper_micro * 1e-6)


def test_noise_alone_gives_numbers() -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        calibration = plan(ALL)
        bins = len(calibration.edges_micro) + 1
        counts = 12.0 * random.normal(size=ALL * bins)
        found = calibrate(calibration, DIFFICULTY, counts, noise_variance=144.0)
        assert list(found.cumulative_micro) == sorted(found.cumulative_micro)
        assert found.cumulative_micro[0] >= 0
        assert found.cumulative_micro[-1] <= 1_000_000
        model = ErrorModel(calibration, found, DIFFICULTY)
        rows = rows_of(10, random)
        chance = model.probability_within(
            LOG_PRICES, np.zeros(10), model.widths(rows, np.zeros(10))
        )
        assert ((chance >= 0.0) & (chance <= 1.0)).all()


def test_the_last_bits_of_the_counts_do_not_matter() -> None:
    random = np.random.default_rng(9)
    rows = rows_of(1_500, random)
    calibration = plan(ALL)
    counts = counts_of(
        calibration, DIFFICULTY, rows, student(1_500, random), noise=0.6, random=random
    )
    found = calibrate(calibration, DIFFICULTY, counts, noise_variance=3.6)
    shaken = counts * (1.0 + 1e-13 * random.normal(size=len(counts)))
    check_calibrated(found, calibrate(calibration, DIFFICULTY, shaken, noise_variance=3.6))


def test_a_recorded_number_that_does_not_follow_is_named() -> None:
    random = np.random.default_rng(10)
    found, _ = calibrated_on(plan(1), NOBODY, rows_of(500, random), student(500, random))
    wider = found.model_copy(update={"upper_micro": found.upper_micro + 2})
    with pytest.raises(ReplayMismatch, match="upper_micro"):
        check_calibrated(wider, found)
    shares = (found.cumulative_micro[0] + 2, *found.cumulative_micro[1:])
    with pytest.raises(ReplayMismatch, match="cumulative_micro"):
        check_calibrated(found.model_copy(update={"cumulative_micro": shares}), found)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"band_micro": (1_000_000,)}, "expected"),
        ({"cumulative_micro": tuple(range(26, 0, -1))}, "rise"),
        ({"cumulative_micro": (*range(25), 1_000_001)}, "rise"),
        ({"lower_micro": OPEN_MICRO + 1}, "above the upper"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(change: dict[str, object], told: str) -> None:
    random = np.random.default_rng(12)
    found, _ = calibrated_on(plan(1), NOBODY, rows_of(500, random), student(500, random))
    with pytest.raises(RecordError, match=told):
        ErrorModel(plan(1), found.model_copy(update=change), NOBODY)


def test_counts_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match="7 groups of 27 bins"):
        calibrate(plan(7), DIFFICULTY, np.zeros(27), noise_variance=1.0)


def test_intervals_are_narrower_than_one_half_width_where_rows_differ() -> None:
    random = np.random.default_rng(11)
    rows, fresh = rows_of(4_000, random), rows_of(4_000, random)
    errors = student(4_000, random) * DIFFICULTY.of_rows(rows)
    _, model = calibrated_on(plan(1), DIFFICULTY, rows, errors, noise=0.6, random=random)
    zero = np.zeros(4_000)
    lower, upper = model.interval(zero, model.widths(fresh, zero))
    assert (upper - lower).mean() < 2.0 * halfwidth(errors, 0.9)
