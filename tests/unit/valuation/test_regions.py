# SPDX-License-Identifier: Apache-2.0
"""Regions of the map: deterministic, balanced, and nearest-centre by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from dao.errors import InputError
from dao.records import LocationFeature
from valuation.encode import project
from valuation.regions import centres_in_degrees, region_centres, region_of


def _towns(count: int, *, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    towns = random.normal(0, 2, (8, 2))
    return towns[random.integers(0, 8, count)] + random.normal(0, 0.3, (count, 2))


def test_a_row_belongs_to_its_nearest_centre() -> None:
    places = _towns(500, seed=0)
    centres = region_centres(places, 10)
    distance = np.linalg.norm(places[:, None] - centres[None], axis=2)
    assert centres.shape == (10, 2)
    assert (region_of(centres, places) == distance.argmin(axis=1)).all()


def test_every_region_has_rows_and_none_has_most() -> None:
    for seed in range(5):
        places = _towns(333, seed=seed)
        counts = np.bincount(region_of(region_centres(places, 10), places), minlength=10)
        assert counts.min() >= 5
        assert counts.max() <= 120


def test_regions_are_about_as_tight_as_those_of_k_means() -> None:
    places = _towns(400, seed=3)
    centres = region_centres(places, 8)
    spread = ((places - centres[region_of(centres, places)]) ** 2).sum()
    assert spread <= 1.5 * KMeans(8, n_init=10, random_state=0).fit(places).inertia_


def test_the_order_of_the_rows_and_noise_of_a_last_bit_change_nothing() -> None:
    places = np.round(_towns(333, seed=1), 4)
    centres = region_centres(places, 10)
    shuffled = np.random.default_rng(0).permutation(places)
    assert (region_centres(shuffled, 10) == centres).all()
    assert (region_centres(np.nextafter(places, 9.0), 10) == centres).all()


def test_what_a_caller_does_to_its_centres_changes_nobody_elses() -> None:
    places = _towns(333, seed=1)
    mine = region_centres(places, 10)
    expected = mine.copy()
    mine += 1.0
    places_before = places.copy()
    assert (region_centres(places, 10) == expected).all()
    places += 5.0
    assert region_centres(places, 10).mean(axis=0) == pytest.approx(
        expected.mean(axis=0) + 5.0, abs=0.5
    )
    assert (region_centres(places_before, 9) != expected[:9]).any()


def test_fewer_places_than_regions_give_fewer_regions() -> None:
    places = np.repeat([[0.0, 1.0], [2.0, 3.0], [4.0, 4.0]], [50, 1, 1], axis=0)
    centres = region_centres(places, 10)
    assert centres.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 4.0]]
    assert region_centres(np.zeros((0, 2)), 10).shape == (0, 2)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-3, 3), st.sampled_from([-1e9, -1.5, 0.0, 0.1, 1e9])),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 12),
)
def test_any_places_are_divided(places: list[tuple[float, float]], count: int) -> None:
    locations = np.array(places, dtype=np.float64)
    centres = region_centres(locations, count)
    assert 1 <= len(centres) <= count
    regions = region_of(centres, locations)
    assert regions.min() >= 0
    assert regions.max() < len(centres)


def test_centres_in_degrees_are_the_inverse_of_the_projection() -> None:
    feature = LocationFeature(
        kind="location",
        latitude="latitude",
        longitude="longitude",
        south_micro=32_000_000,
        north_micro=42_000_000,
        west_micro=-125_000_000,
        east_micro=-114_000_000,
        center_latitude_micro=36_000_000,
        center_longitude_micro=-119_000_000,
        scale_metres=250_000,
        bandwidths_metres=(10_000,),
    )
    latitude, longitude = np.array([33.5, 36.0, 41.2]), np.array([-117.0, -119.0, -124.1])
    back = centres_in_degrees(feature, project(feature, latitude, longitude))
    assert back == pytest.approx(np.column_stack([latitude, longitude]), abs=1e-9)


@pytest.mark.parametrize(("shape", "count"), [((5, 0), 3), ((5, 3), 3), ((5,), 3), ((5, 2), 0)])
def test_senseless_divisions_are_refused(shape: tuple[int, ...], count: int) -> None:
    with pytest.raises(InputError):
        region_centres(np.zeros(shape), count)


def test_rows_need_a_centre() -> None:
    with pytest.raises(InputError):
        region_of(np.zeros((0, 2)), np.zeros((3, 2)))
