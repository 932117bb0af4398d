# SPDX-License-Identifier: Apache-2.0
"""What a contributor sends in rounds of each kind, against the parts written out by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from dao.cid import blob_ref
from dao.errors import RecordError, TaskError
from dao.records import Calibrated, Sampling, Task
from privacy import accounting
from privacy.mechanism import Release
from privacy.noise import SeededNoise
from rounds.calibration_summary import CalibrationSummary
from rounds.contribution import contribution, training_update
from rounds.estimate import released_stretch
from rounds.phases import gradient_scale, release_of
from rounds.state import decode_update, theta_of, update_to_float
from valuation.build import build_task
from valuation.difficulty import Difficulty
from valuation.draft import draft_task
from valuation.encode import Encoded, encode
from valuation.family import Family
from valuation.holdout import calibrates
from valuation.interval import ErrorModel
from valuation.kernel import KernelFamily
from valuation.loading import load_family
from valuation.private_rows import divide_rows
from valuation.task_text import render_draft
from valuation.taskfile import parse_taskfile

CONTRIBUTORS = 4


def _sales(count: int, seed: int) -> pd.DataFrame:
    """Homes whose price follows area and place, up to a quarter."""
    random = np.random.default_rng(seed)
    area = random.uniform(50, 200, count)
    east, north = random.uniform(9, 10, count), random.uniform(48, 49, count)
    log_price = 7.6 + 0.9 * np.log(area) + 0.5 * np.sin(3 * east) + 0.2 * random.normal(size=count)
    columns = {"area": area, "latitude": north, "longitude": east, "price": np.exp(log_price)}
    return pd.DataFrame({name: [f"{x:.4f}" for x in each] for name, each in columns.items()})


@dataclass(frozen=True)
class Town:
    task: Task
    family: Family
    initial: bytes
    rows: tuple[Encoded, ...]

    @property
    def theta(self) -> np.ndarray:
        return theta_of(self.task, self.initial)


def _town(extra: str = "", *, rule: str = "wiener") -> Town:
    public, blobs = _sales(150, 0), {}

    def put(data: bytes):
        blobs[blob_ref(data).sha256] = data
        return blob_ref(data)

    text = render_draft(
        draft_task(public, target="price"),
        title="A town",
        asset_class="homes",
        public_rows="public.csv",
        public_n=8_000,
        contributors=CONTRIBUTORS,
    )
    task = build_task(
        parse_taskfile(text.replace("[model]", extra + "[model]").replace('"wiener"', f'"{rule}"')),
        public.to_csv(index=False).encode(),
        put,
        bundle_sha256="0" * 64,
        accounting=accounting,
    )
    return Town(
        task=task,
        family=load_family(task, blobs[task.model.setup.sha256]),
        initial=blobs[task.model.initial.sha256],
        rows=tuple(
            encode(task, _sales(2_000, 10 + k), with_target=True) for k in range(CONTRIBUTORS)
        ),
    )


@pytest.fixture(scope="module")
def town() -> Town:
    return _town()


def _release(town: Town) -> Release:
    return release_of(town.task, town.task.total_rounds)


def test_a_drafted_task_keeps_some_units_out_and_pays_once(town: Town) -> None:
    task = town.task
    assert task.calibration is not None
    assert task.aggregation.rule == "wiener"
    assert (task.policy.rounds, task.total_rounds) == (30, 1 + 30 + 1)
    bare = task.policy.model_copy(update={"calibration_noise_micro": 0})
    # parallel composition: the calibration costs nothing on top of training
    assert accounting.policy_epsilon_micro(bare) == task.policy.epsilon_micro
    rows = town.rows[0]
    divided = divide_rows(task, town.family, rows)
    assert divided.calibration is not None
    kept_out = len(divided.calibration.prepared.units)
    assert len(divided.training.units) + kept_out == len(rows.units)
    share = task.calibration.share_micro / 1e6
    assert abs(kept_out / len(rows.units) - share) < 4 * np.sqrt(share / len(rows.units))
    assert not set(divided.training.units) & set(divided.calibration.prepared.units)


def test_who_calibrates_does_not_depend_on_other_rows(town: Town) -> None:
    rows = town.rows[0]
    whole = calibrates(town.task, rows.unit_keys)
    some = np.arange(0, len(whole), 7)
    assert np.array_equal(calibrates(town.task, rows.unit_keys[some]), whole[some])


def test_a_calibration_is_the_histogram_of_errors_plus_noise(town: Town) -> None:
    """By hand: each row in the bins of its groups, 1/sqrt(tables) each."""
    task, family, number = town.task, town.family, town.task.total_rounds
    assert task.calibration is not None
    rows = divide_rows(task, family, town.rows[0])
    update = contribution(task, family, rows, town.theta, number=number, noise=SeededNoise(b"x"))
    release = _release(town)
    sent = update_to_float(release, decode_update(release, update))
    noise = SeededNoise(b"x").gaussian(release.length) * release.deviation
    counts = (sent - noise).reshape(task.calibration.groups, -1)
    assert rows.calibration is not None
    kept = rows.calibration.prepared
    assert counts[0].sum() * np.sqrt(3) == pytest.approx(len(kept.units), abs=0.1)
    held = np.flatnonzero(calibrates(task, town.rows[0].unit_keys))
    target = town.rows[0].target
    assert target is not None
    error = target[held] - family.predict(kept, town.theta)
    difficulty = Difficulty.of(family.process, task.target).of_rows(town.rows[0].take(held))
    edges = np.array(task.calibration.edges_micro) / 1e6
    expected = np.histogram(error / difficulty, [-np.inf, *edges, np.inf])[0]
    assert np.abs(counts[0] * np.sqrt(3) - expected).max() < 0.05


def _calibrated(town: Town) -> Calibrated:
    task, number = town.task, town.task.total_rounds
    updates = [
        contribution(
            task,
            town.family,
            divide_rows(task, town.family, rows),
            town.theta,
            number=number,
            noise=SeededNoise(f"{k}".encode()),
        )
        for k, rows in enumerate(town.rows)
    ]
    found = CalibrationSummary.of(task, updates).calibrated(task, town.family)
    assert found is not None
    return found


def test_intervals_from_the_published_sums_cover_new_rows(town: Town) -> None:
    task, family = town.task, town.family
    assert task.calibration is not None
    errors = ErrorModel(
        task.calibration, _calibrated(town), Difficulty.of(family.process, task.target)
    )
    fresh = encode(task, _sales(4_000, 99), with_target=True)
    prediction = family.predict(family.prepare(fresh), town.theta)
    lower, upper = errors.interval(prediction, errors.widths(fresh, prediction))
    assert fresh.target is not None
    covered = ((lower <= fresh.target) & (fresh.target <= upper)).mean()
    assert 0.86 < covered < 0.94


def test_the_stretch_makes_estimates_vary_more_and_never_less(town: Town) -> None:
    stretch = released_stretch(town.task, town.family, town.theta, _calibrated(town))
    assert 1.0 <= stretch.slope <= 1.15
    plain = released_stretch(
        town.task.model_copy(update={"calibration": None}), town.family, town.theta, None
    )
    assert 1.0 <= plain.slope <= 1.15


def test_sampled_rounds_add_up_to_full_ones_on_the_mean() -> None:
    """Noise apart, each of the steps takes a share `rate` of what a full batch gives, and the step
    of the model divides by as much."""
    town = _town(
        "[privacy.sampling]\nrate = 0.25\nsteps = 8\neta = 1e-6\nlocal_units = 2000\n\n", rule="sum"
    )
    task = town.task
    assert task.policy.mechanism == "gaussian-poisson"
    assert task.policy.sampling == Sampling(
        rate_micro=250_000, steps=8, eta_micro=1, local_units=2_000
    )
    rows = divide_rows(task, town.family, town.rows[0]).training
    release = release_of(task, 1)
    deviation = task.policy.noise_multiplier_micro / 1e6 * task.policy.clip_norm_nano / 1e9
    assert release.deviation == pytest.approx(deviation * np.sqrt(8))
    quiet = task.model_copy(
        update={
            "policy": task.policy.model_copy(
                update={"sampling": None, "mechanism": "gaussian-full-batch"}
            )
        }
    )

    def sent(of: Task, seed: bytes) -> np.ndarray:
        update = training_update(
            of, town.family, rows, town.theta, number=1, noise=SeededNoise(seed)
        )
        found = release_of(of, 1)
        return update_to_float(found, decode_update(found, update))

    trials = 40
    sampled = np.mean([sent(task, f"{i}".encode()) for i in range(trials)], axis=0)
    full = np.mean([sent(quiet, f"{i}".encode()) for i in range(trials)], axis=0)
    expected = full * gradient_scale(task) / task.policy.public_n
    apart = sampled - expected
    noise = np.sqrt((release.deviation**2 + (2 * deviation) ** 2) / trials)
    # sampling of units adds at most C^2 rate (1 - rate) per unit and step, spread over d
    assert np.sqrt(np.mean(apart**2)) < 1.5 * noise
    explained = float(sampled @ expected) / float(expected @ expected)
    assert explained == pytest.approx(1.0, abs=0.15)


def test_a_survey_is_the_units_of_each_cell_plus_noise_on_the_grid(town: Town) -> None:
    """By hand: each training row in the cell whose centre is nearest, and noise drawn anew; of the
    rows that calibrate, of prices and of the model there is nothing in it."""
    task, family, release = town.task, town.family, release_of(town.task, 1)
    assert isinstance(family, KernelFamily)
    assert family.survey is not None
    assert release.length == len(family.survey.centers) == task.aggregation.survey_cells
    kept = ~calibrates(task, town.rows[0].unit_keys)
    counts = np.zeros(release.length)
    for place in town.rows[0].locations[kept]:
        counts[int(np.argmin([np.sum((place - each) ** 2) for each in family.survey.centers]))] += 1
    deviation = task.policy.survey_noise_micro / 1e6
    noisy = counts + deviation * SeededNoise(b"x").gaussian(release.length)
    expected = [round(each * 2**release.grid_bits) for each in noisy]
    rows = divide_rows(task, family, town.rows[0])
    cheap = replace(town.rows[0], target=np.zeros(len(kept)))
    for held, theta in (
        (rows, town.theta),
        (rows, town.theta + 1.0),
        (divide_rows(task, family, cheap), town.theta),
    ):
        sent = contribution(task, family, held, theta, number=1, noise=SeededNoise(b"x"))
        assert decode_update(release, sent).tolist() == expected


def test_a_round_that_the_rows_or_the_set_up_know_nothing_of_is_refused(town: Town) -> None:
    unsurveyed = replace(divide_rows(town.task, town.family, town.rows[0]), survey=None)
    with pytest.raises(TaskError, match="prepared without it"):
        contribution(
            town.task, town.family, unsurveyed, town.theta, number=1, noise=SeededNoise(b"")
        )
    assert isinstance(town.family, KernelFamily)
    with pytest.raises(RecordError, match="survey"):
        divide_rows(town.task, replace(town.family, survey=None), town.rows[0])
