# SPDX-License-Identifier: Apache-2.0
"""What a forecast may vary, and what it says of it."""

from __future__ import annotations

import math

import pytest

from dao.errors import InputError
from dao.records import Calibration, Sampling
from demo.forecast_settings import MOST_SETTINGS, Setting, remarks, settings_of, taskfile_at
from demo.forecast_task import forecast_task
from demo.market import TARGET, generate_market
from privacy import accounting
from tests.unit.rounds.round_world import make_world
from tests.unit.valuation.valuation_world import HAND
from valuation.blueprint import draw_blueprint
from valuation.draft import draft_task
from valuation.rows import parse_csv
from valuation.task_text import render_draft
from valuation.taskfile import TaskFile, parse_taskfile

PUBLIC = generate_market(60, 1).to_csv(index=False).encode()


@pytest.fixture(scope="module")
def taskfile() -> TaskFile:
    text = render_draft(
        draft_task(parse_csv(PUBLIC, name="public"), target=TARGET),
        title="Homes",
        asset_class="homes",
        public_rows="public.csv",
        contributors=7,
        epsilon=4.0,
    )
    return parse_taskfile(text.replace("[aggregation]", "[aggregation]\njudge_rounds = [5, 25]"))


def test_without_a_wish_there_is_the_file_s_own_setting(taskfile: TaskFile) -> None:
    assert settings_of(taskfile) == (
        Setting(contributors=7, rounds=30, epsilon=4.0, noise_multiplier=None),
    )


def test_every_combination_once_and_in_order(taskfile: TaskFile) -> None:
    found = settings_of(taskfile, contributors=[5, 10, 5], epsilons=[1.0, 2.0], rounds=[8])
    assert [(each.contributors, each.epsilon, each.rounds) for each in found] == [
        (5, 1.0, 8),
        (5, 2.0, 8),
        (10, 1.0, 8),
        (10, 2.0, 8),
    ]
    assert settings_of(taskfile, noises=[3.0])[0].epsilon is None


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"contributors": [0]}, "contributors: 0"),
        ({"contributors": [10**6]}, "contributors"),
        ({"rounds": [0]}, "rounds: 0"),
        ({"epsilons": [0.0]}, "epsilon: 0"),
        ({"epsilons": [math.nan]}, "epsilon: nan"),
        ({"noises": [math.inf]}, "noise: inf"),
        ({"epsilons": [1.0], "noises": [1.0]}, "both"),
        ({"contributors": range(1, MOST_SETTINGS + 2)}, "combinations"),
    ],
)
def test_what_makes_no_sense_is_refused(
    taskfile: TaskFile, wish: dict[str, list[float]], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        settings_of(taskfile, **wish)  # type: ignore[arg-type]


@pytest.mark.parametrize("epsilon", [0.5, 8.0])
def test_the_task_at_a_setting_costs_what_was_asked_and_no_more(
    taskfile: TaskFile, epsilon: float
) -> None:
    (setting,) = settings_of(taskfile, contributors=[400], epsilons=[epsilon], rounds=[12])
    changed = taskfile_at(taskfile, setting)
    policy = draw_blueprint(changed, PUBLIC, accounting=accounting).policy
    assert policy.rounds == 12
    assert 0.999 * epsilon < policy.epsilon_micro / 1e6 <= epsilon
    assert changed.aggregation.judge_rounds is None, "round 25 would lie behind the last"
    assert taskfile_at(taskfile, settings_of(taskfile)[0]) == taskfile


@pytest.mark.parametrize(("noise", "rounds"), [(3.0, 30), (20.0, 12)])
def test_a_noise_multiplier_beside_a_survey_is_the_noise_that_training_gets(
    taskfile: TaskFile, noise: float, rounds: int
) -> None:
    """Noise is what was asked, the survey costs a fifth of mu, and epsilon is that of both."""
    assert taskfile.aggregation.rule == "wiener"
    (setting,) = settings_of(taskfile, noises=[noise], rounds=[rounds])
    policy = draw_blueprint(taskfile_at(taskfile, setting), PUBLIC, accounting=accounting).policy
    assert policy.noise_multiplier_micro / 1e6 == pytest.approx(noise, rel=1e-5)
    survey_mu, training_mu = 1e6 / policy.survey_noise_micro, math.sqrt(rounds) / noise
    mu = math.hypot(survey_mu, training_mu)
    assert survey_mu / mu == pytest.approx(0.2, rel=1e-4)
    expected = accounting.epsilon_of_mu(mu, taskfile.privacy.delta)
    assert policy.epsilon_micro / 1e6 == pytest.approx(expected, rel=1e-5)


def test_without_a_number_of_rounds_a_forecast_tries_what_would_be_built() -> None:
    """Another number without public rows, where the model has further to go."""
    bare = parse_taskfile(HAND)
    assert bare.privacy.rounds is None
    (setting,) = settings_of(bare)
    built = draw_blueprint(bare, None, accounting=accounting).policy.rounds
    assert setting.rounds == built == 300


def test_rows_without_a_location_are_not_divided_by_places(taskfile: TaskFile) -> None:
    features = [each for each in taskfile.feature if each.kind != "location"]
    elsewhere = taskfile.model_copy(update={"feature": tuple(features)})
    with pytest.raises(InputError, match="no location"):
        forecast_task(elsewhere, PUBLIC, settings_of(elsewhere), division="places")


@pytest.mark.parametrize(("gain", "told"), [(0.02, []), (-0.009, []), (-0.2, ["0.200 of R2"])])
def test_who_reads_is_warned_where_training_ends_below_its_start(
    gain: float, told: list[str]
) -> None:
    task = make_world(public_n=100).task
    setting = Setting(contributors=2, rounds=2, epsilon=8.0, noise_multiplier=None)
    found = remarks(task, setting, units=100, gain=gain)
    assert len(found) == len(told)
    assert all(word in line for word, line in zip(told, found, strict=True))


def test_the_warning_of_a_sampled_task_says_what_to_leave_out() -> None:
    task = make_world(public_n=100).task
    sampling = Sampling(rate_micro=100_000, steps=5, eta_micro=10_000, local_units=50)
    policy = task.policy.model_copy(update={"sampling": sampling})
    setting = Setting(contributors=2, rounds=2, epsilon=8.0, noise_multiplier=None)
    for each, way_out in ((policy, "without [privacy.sampling]"), (task.policy, "another family")):
        told = task.model_copy(update={"policy": each})
        (warning,) = remarks(told, setting, units=100, gain=-0.2)
        assert "0.200 of R2 below where it starts" in warning
        assert way_out in warning


@pytest.mark.parametrize(("units", "warned"), [(500, True), (50_000, False)])
def test_who_reads_is_told_where_few_units_calibrate(units: int, warned: bool) -> None:
    calibration = Calibration(
        share_micro=100_000, groups=1, edges_micro=(-1_000_000, 0, 1_000_000), level_micro=900_000
    )
    task = make_world(public_n=units, calibration=calibration).task
    setting = Setting(contributors=2, rounds=2, epsilon=8.0, noise_multiplier=None)
    found = remarks(task, setting, units=units, gain=0.0)
    assert [line.startswith("few units calibrate") for line in found] == [True] * warned
