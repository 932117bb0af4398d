# SPDX-License-Identifier: Apache-2.0
"""The survey of a kernel set-up: cells, synthetic rows, and the prior that goes with them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load, save
from valuation_world import sales

from dao.errors import RecordError, TaskError
from privacy import accounting
from rounds.landscape import Landscape
from rounds.wiener import wiener_rule
from valuation.blueprint import Blueprint, draw_blueprint
from valuation.covariance import covariance
from valuation.draft import draft_task
from valuation.encode import Encoded
from valuation.features import FitPlan
from valuation.fit import fit_kernel_setup
from valuation.kernel import KernelFamily
from valuation.landmarks import location_box, scattered
from valuation.schema import location_of
from valuation.survey import draw_survey
from valuation.task_text import render_draft
from valuation.taskfile import parse_taskfile

CELLS = 12


def blueprint() -> tuple[Blueprint, Encoded]:
    public = sales(150, seed=1).drop(columns="owner")
    text = render_draft(
        draft_task(public, target="price"),
        title="Sales",
        asset_class="homes",
        public_rows="public.csv",
        public_n=1_200,
        contributors=4,
    )
    plan = draw_blueprint(
        parse_taskfile(text), public.to_csv(index=False).encode(), accounting=accounting
    )
    assert plan.public is not None
    return plan, plan.public


def fit_plan(*, cells: int, rows_per_unit: float = 1.0) -> FitPlan:
    return FitPlan(
        public_n=1_200,
        contributors=4,
        noise_multiplier=4.0,
        rounds=30,
        rows_per_unit=rows_per_unit,
        survey_cells=cells,
    )


@pytest.fixture(scope="module")
def surveyed() -> tuple[KernelFamily, bytes, Blueprint, Encoded]:
    plan, public = blueprint()
    setup = fit_kernel_setup(plan.schema, public, fit_plan(cells=CELLS)).setup
    return KernelFamily.load(plan.schema, setup), setup, plan, public


Surveyed = tuple[KernelFamily, bytes, Blueprint, Encoded]


def test_a_row_is_of_the_nearest_cell_whatever_else_comes_with_it(surveyed: Surveyed) -> None:
    family, _, _, public = surveyed
    assert family.survey is not None
    assert family.survey_cells == CELLS
    cells = family.survey_cell(public)
    for i, place in enumerate(public.locations):
        distances = [float(((place - c) ** 2).sum()) for c in family.survey.centers]
        assert cells[i] == int(np.argmin(distances))
    few = np.array([3, 77, 120])
    np.testing.assert_array_equal(family.survey_cell(public.take(few)), cells[few])
    assert len(np.unique(cells)) > CELLS // 2


def test_synthetic_rows_look_like_rows_of_their_cell(surveyed: Surveyed) -> None:
    """Their inputs are what `prepare` gives for the same attributes and places."""
    family = surveyed[0]
    survey = family.survey
    assert survey is not None
    inputs, cells = family.survey_rows()
    assert inputs.shape == (len(survey.attributes), family.parameters)
    as_rows = Encoded(
        attributes=family.process.center + family.process.scale * survey.attributes,
        locations=survey.locations,
        target=None,
        units=np.arange(len(inputs), dtype=np.int64),
        unit_keys=np.zeros(len(inputs), dtype=np.uint64),
    )
    np.testing.assert_allclose(family.prepare(as_rows).inputs, inputs, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(family.survey_cell(as_rows), cells)


def test_a_survey_survives_its_blob_and_a_false_one_is_refused(surveyed: Surveyed) -> None:
    family, setup, plan, _ = surveyed
    assert family.to_setup() == setup
    arrays = load(setup)
    for name, wrong in (
        ("prior", -arrays["prior"]),
        ("prior", arrays["prior"][:-1]),
        ("survey_centers", arrays["survey_centers"][:, :1]),
        ("survey_centers", arrays["survey_centers"][:0]),
        ("survey_locations", arrays["survey_locations"][:-1]),
        ("rows_per_unit", np.zeros(1)),
    ):
        with pytest.raises(RecordError, match="set-up"):
            KernelFamily.load(plan.schema, save({**arrays, name: np.ascontiguousarray(wrong)}))
    del arrays["spread"]
    with pytest.raises(RecordError, match="set-up: holds"):
        KernelFamily.load(plan.schema, save(arrays))


def test_a_task_that_adds_updates_up_has_no_survey() -> None:
    plan, public = blueprint()
    setup = fit_kernel_setup(plan.schema, public, fit_plan(cells=0)).setup
    family = KernelFamily.load(plan.schema, setup)
    assert family.survey_cells == 0
    with pytest.raises(RecordError, match="no survey"):
        family.survey_cell(public)


def test_more_features_where_noise_does_not_meet(surveyed: Surveyed) -> None:
    """The rule `wiener` keeps contributors' noise apart, so it can afford at least as many."""
    family, _, plan, public = surveyed
    summed = fit_kernel_setup(plan.schema, public, fit_plan(cells=0))
    assert family.parameters > summed.parameters


def test_the_prior_is_what_the_public_rows_leave_open(surveyed: Surveyed) -> None:
    """2.5 times the posterior variance of the process: on synthetic rows psi' diag(prior) psi is
    close to 2.5 (k(x, x) - k(x, P) (K + noise)^-1 k(P, x)), less what features beyond d could
    tell."""
    family, _, _, _ = surveyed
    survey, process = family.survey, family.process
    assert survey is not None
    inputs, _ = family.survey_rows()
    told = (inputs**2 * survey.prior).sum(axis=1)
    rows = (survey.attributes, survey.locations)
    anchors = (process.attributes, process.locations)
    k = covariance(process.hyper, *anchors, *anchors)
    k[np.diag_indices(len(k))] += process.hyper.noise
    cross = covariance(process.hyper, *rows, *anchors)
    full = np.array(
        [
            float(covariance(process.hyper, a[None], p[None], a[None], p[None])[0, 0])
            for a, p in zip(*rows, strict=True)
        ]
    )
    left = 2.5 * (full - (cross * np.linalg.solve(k, cross.T).T).sum(axis=1))
    assert (told < 1.2 * left + 1e-6).mean() > 0.95
    assert 0.3 < float(told.mean() / left.mean()) < 1.05


def test_a_unit_of_several_rows_is_in_the_set_up() -> None:
    plan, public = blueprint()
    setup = fit_kernel_setup(plan.schema, public, fit_plan(cells=CELLS, rows_per_unit=3.0)).setup
    family = KernelFamily.load(plan.schema, setup)
    assert family.survey is not None
    assert family.survey.rows_per_unit == 3.0


def test_more_cells_than_places_are_refused(surveyed: Surveyed) -> None:
    process = surveyed[0].process
    with pytest.raises(TaskError, match="cells"):
        draw_survey(
            process,
            cells=5_000,
            prior=np.ones(3),
            spread=0.3,
            rows_per_unit=1.0,
            box=None,
            seed=0,
        )


def test_a_rule_follows_from_the_set_up(surveyed: Surveyed) -> None:
    family = surveyed[0]
    survey = family.survey
    assert survey is not None
    inputs, cells = family.survey_rows()
    rule = wiener_rule(
        Landscape(
            inputs,
            cells,
            CELLS,
            survey.prior,
            survey.spread,
            1.0,
            2.0,
            5.0,
            1_200,
            np.bincount(family.public_cells(), minlength=CELLS).astype(np.float64),
        ),
        np.full((4, CELLS), 25.0),
    )
    assert len(rule.weights) == 4
    assert rule.weights[0].shape == (family.parameters, family.parameters)


def test_landmarks_and_survey_reach_to_the_bounds_of_the_task(surveyed: Surveyed) -> None:
    """Contributors may bring rows from where no public row lies: synthetic rows are there too,
    within the bounds, and cells divide what lies outside the public rows."""
    family, _, plan, public = surveyed
    survey = family.survey
    assert survey is not None
    location = location_of(plan.schema.features)
    assert location is not None
    corners = pd.DataFrame(
        {
            location.latitude: [location.south_micro, location.north_micro],
            location.longitude: [location.west_micro, location.east_micro],
        }
    )
    box = location_box(location)
    assert box is not None
    inside = (public.locations > box[:, 0]).all() and (public.locations < box[:, 1]).all()
    assert inside
    east, north = (corners[c] * 1e-6 for c in (location.longitude, location.latitude))
    lat0, lon0 = location.center_latitude_micro * 1e-6, location.center_longitude_micro * 1e-6
    metres = 6_371_008.8 * math.pi / 180.0
    for axis, degrees in ((0, (east - lon0) * math.cos(math.radians(lat0))), (1, north - lat0)):
        np.testing.assert_allclose(box[axis], degrees * metres / location.scale_metres)
    for places, least in ((family.landmark_locations, 0.02), (survey.locations, 0.05)):
        outside = (places < public.locations.min(axis=0) - 0.5).any(axis=1)
        outside |= (places > public.locations.max(axis=0) + 0.5).any(axis=1)
        assert outside.mean() > least
        assert ((places[outside] >= box[:, 0] - 2.0) & (places[outside] <= box[:, 1] + 2.0)).all()
    lone = (np.abs(survey.centers) > np.abs(public.locations).max(axis=0)).any(axis=1)
    assert lone.any()


def test_scattering_moves_the_share_and_nothing_else() -> None:
    places = np.random.default_rng(0).normal(size=(400, 2))
    box = np.array([[10.0, 12.0], [-5.0, -4.0]])
    moved = scattered(places, box, 0.25, seed=1)
    changed = (moved != places).any(axis=1)
    assert changed.sum() == 100
    assert ((moved[changed] >= box[:, 0]) & (moved[changed] <= box[:, 1])).all()
    np.testing.assert_array_equal(scattered(places, None, 0.25, seed=1), places)
    assert location_box(None) is None
