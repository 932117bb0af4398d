# SPDX-License-Identifier: Apache-2.0
"""Difficulty against the textbook's formulas written out, and against errors of a known kind."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from calibration_world import HYPER, LINEAR_PRICES, LOG_PRICES, process_of, rows_of

from valuation.covariance import covariance
from valuation.difficulty import MAX_ANCHORS, Difficulty, fit_elasticity
from valuation.encode import Encoded, target_to_value


def conditional_deviation(process, rows: Encoded) -> np.ndarray:
    """Of one sale at each row given all anchors, by inverting the joint covariance matrix."""
    found = []
    for i in range(len(rows.attributes)):
        a = np.vstack([process.attributes, rows.attributes[i]])
        places = np.vstack([process.locations, rows.locations[i]])
        joint = covariance(HYPER, a, places, a, places) + HYPER.noise * np.eye(len(a))
        found.append(1.0 / np.sqrt(np.linalg.inv(joint)[-1, -1]))
    return np.array(found)


def test_difficulty_is_the_deviation_of_a_sale_given_the_public_rows() -> None:
    process = process_of(40)
    rows = rows_of(25, np.random.default_rng(1))
    difficulty = Difficulty.of(process, LOG_PRICES)
    expected = difficulty.spread * conditional_deviation(process, rows)
    assert difficulty.of_rows(rows) == pytest.approx(expected, rel=1e-8)


def test_it_is_computed_once_for_a_process_and_a_target() -> None:
    process, alike = process_of(40), process_of(40)
    found = Difficulty.of(process, LOG_PRICES)
    assert Difficulty.of(process, LOG_PRICES) is found
    other = Difficulty.of(alike, LOG_PRICES)
    assert other is not found, "nobody looks whether two processes hold the same numbers"
    assert np.array_equal(other.anchors, found.anchors)
    assert Difficulty.of(process, LINEAR_PRICES).target == LINEAR_PRICES
    shifted = dataclasses.replace(process, alpha=2.0 * process.alpha)
    assert Difficulty.of(shifted, LOG_PRICES).spread == pytest.approx(2.0 * found.spread)


def test_anchors_are_judged_without_themselves() -> None:
    process = process_of(30)
    difficulty = Difficulty.of(process, LOG_PRICES)
    k = covariance(HYPER, *2 * (process.attributes, process.locations))
    target = (k + HYPER.noise * np.eye(30)) @ process.alpha
    standardised, deviations = [], []
    for i in range(30):
        rest = np.delete(np.arange(30), i)
        inverse = np.linalg.inv(k[np.ix_(rest, rest)] + HYPER.noise * np.eye(29))
        mean = k[i, rest] @ inverse @ target[rest]
        deviations.append(np.sqrt(k[i, i] + HYPER.noise - k[i, rest] @ inverse @ k[rest, i]))
        standardised.append(abs(target[i] - mean) / deviations[-1])
    spread = 1.4826 * np.median(standardised)
    assert difficulty.spread == pytest.approx(spread, rel=1e-8)
    assert difficulty.anchors == pytest.approx(spread * np.array(deviations), rel=1e-8)


def test_many_anchors_are_thinned_out() -> None:
    process = process_of(MAX_ANCHORS + 50)
    difficulty = Difficulty.of(process, LOG_PRICES)
    assert len(difficulty.kept) == MAX_ANCHORS
    assert len(np.unique(difficulty.kept)) == MAX_ANCHORS
    rows = rows_of(20, np.random.default_rng(2))
    # Fewer rows know less, and 600 of 650 nearly as much.
    ratio = difficulty.of_rows(rows) / difficulty.spread / conditional_deviation(process, rows)
    assert (ratio >= 1.0 - 1e-9).all()
    assert ratio.mean() < 1.05


def test_without_public_rows_all_rows_are_equally_hard() -> None:
    difficulty = Difficulty.of(None, LINEAR_PRICES)
    rows = rows_of(5, np.random.default_rng(3))
    base = difficulty.of_rows(rows)
    assert (difficulty.at(base, np.linspace(-1.0, 3.0, 5)) == 1.0).all()


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_elasticity_is_read_off_the_public_rows(power: float) -> None:
    random = np.random.default_rng(4)
    values = np.exp(random.normal(12.0, 0.6, 3_000))
    errors = np.abs(random.standard_t(5, 3_000)) * (values / 160_000.0) ** power
    assert fit_elasticity(LINEAR_PRICES, values, errors).power == pytest.approx(power, abs=0.1)
    assert fit_elasticity(LOG_PRICES, values, errors).power == 0.0
    negative = LINEAR_PRICES.model_copy(update={"lower_micro": -1})
    assert fit_elasticity(negative, values, errors).power == 0.0


def test_few_public_rows_leave_the_usual_elasticity() -> None:
    same = np.full(30, 200_000.0)
    errors = np.abs(np.random.default_rng(5).normal(size=30))
    assert fit_elasticity(LINEAR_PRICES, same, errors).power == pytest.approx(0.75)


def test_difficulty_grows_with_the_predicted_value_where_the_target_is_linear() -> None:
    difficulty = Difficulty.of(process_of(60), LINEAR_PRICES)
    prediction = np.array([-0.5, 0.5])
    values = target_to_value(LINEAR_PRICES, prediction)
    held = np.clip(values, *difficulty.elasticity.ends)
    found = difficulty.at(np.ones(2), prediction)
    assert found[1] / found[0] == pytest.approx((held[1] / held[0]) ** difficulty.elasticity.power)
    assert found[1] > found[0]
