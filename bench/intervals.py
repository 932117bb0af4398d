# SPDX-License-Identifier: Apache-2.0
"""Coverage and width of the intervals, and the probability of being within 10 %, against bars.

    COVALUE_DATA=FOLDER python -m bench.intervals [--epsilon 8] [--seeds 0 1 2 3 4]

Protocol of bench/accuracy_protocol.py, 10 contributors by geography, task as `covalue task new`
drafts it: calibration units are kept out of training, each contributor releases its noisy
histogram, the sum becomes a card's calibration. Judged on the test rows. Peer: central split
conformal prediction (crepes) around the same model on the same calibration units, all in one place
and without noise.
The ten regions are k-means clusters of all rows of the file, fixed once; test rows are pooled over
the seeds.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from crepes import ConformalRegressor
from sklearn.cluster import KMeans

from bench import ratio_measures
from bench.accuracy_protocol import Blobs, make_task, split_rows
from dao.records import Task
from demo.forecast import forecast_noise, train_in_process
from rounds.calibration_summary import CalibrationSummary
from rounds.contribution import contribution
from rounds.estimate import released_stretch
from valuation.difficulty import Difficulty
from valuation.encode import Encoded, encode, target_to_value
from valuation.family import Family
from valuation.holdout import calibrates
from valuation.interval import ErrorModel
from valuation.loading import load_family
from valuation.private_rows import divide_rows
from valuation.regressivity import Stretch
from valuation.rows import check_frame, parse_csv
from valuation.schema import Bools, Floats, Ints

CONTRIBUTORS, PUBLIC_ROWS, REGIONS, LEVEL = 10, 500, 10, 0.9
TARGET, FILE = "median_house_value", "california_housing.csv"


@dataclass(frozen=True)
class Judged:
    """What one seed's test rows show; arrays have one number for each.

    Attributes:
        region: of the ten, for each test row within the drafted bounds.
        covered, central: by our interval, by the peer's.
        width, central_width: mean, on the standardised target.
        value_width: mean width in the target's unit, over the peer's.
        chance, close: stated probability of being within 10 %, and whether it was.
        fsd, deviation: stated for all rows together, and found.
        units: that calibrated.
        predicted, released, assesspy: appraisers' measures of predictions and of released
            estimates, and assesspy's of the latter.
    """

    region: Ints
    covered: Bools
    central: Bools
    width: float
    central_width: float
    value_width: float
    chance: Floats
    close: Bools
    fsd: float
    deviation: float
    units: int
    predicted: dict[str, float]
    released: dict[str, float]
    assesspy: dict[str, float]


def judge_seed(frame: pd.DataFrame, regions: Ints, *, epsilon: float, seed: int) -> Judged:
    """Draft, train, calibrate and judge one split."""
    split = split_rows(
        frame, seed=seed, contributors=CONTRIBUTORS, keep=None, public_rows=PUBLIC_ROWS
    )
    blobs = Blobs()
    task = make_task(
        frame.iloc[split.public],
        target=TARGET,
        family="kernel",
        epsilon=epsilon,
        public_n=len(split.private),
        contributors=CONTRIBUTORS,
        blobs=blobs,
    )
    assert task.calibration is not None, "the plan sees too few units for a calibration"
    family = load_family(task, blobs.content[task.model.setup.sha256])
    encoded = [
        _accepted(task, frame.iloc[split.private[split.owner == k]]) for k in range(CONTRIBUTORS)
    ]
    divided = [divide_rows(task, family, rows) for rows in encoded]
    initial = blobs.content[task.model.initial.sha256]
    theta = train_in_process(task, family, initial, divided, seed=seed)
    noise_of = forecast_noise(seed, task_digest=task.digest())
    last = task.total_rounds
    summary = CalibrationSummary.of(
        task,
        [
            contribution(task, family, rows, theta, number=last, noise=noise_of(place, last))
            for place, rows in enumerate(divided)
        ],
    )
    calibrated = summary.calibrated(task, family)
    assert calibrated is not None
    model = ErrorModel(task.calibration, calibrated, Difficulty.of(family.process, task.target))
    residuals = []
    for rows in encoded:
        held = family.prepare(rows.take(np.flatnonzero(calibrates(task, rows.unit_keys))))
        assert held.residual is not None
        residuals.append(held.offset + held.residual - family.predict(held, theta))
    fit = np.asarray(check_frame(task, frame.iloc[split.test], with_target=True).accepted)
    tested = split.test[fit]
    stretch = released_stretch(task, family, theta, calibrated)
    return _judge(
        task,
        family,
        model,
        theta,
        frame.iloc[tested],
        regions[tested],
        np.concatenate(residuals),
        stretch,
    )


def _judge(
    task: Task,
    family: Family,
    model: ErrorModel,
    theta: Floats,
    tested: pd.DataFrame,
    region: Ints,
    residuals: Floats,
    stretch: Stretch,
) -> Judged:
    rows = _accepted(task, tested)
    assert rows.target is not None
    prediction = family.predict(family.prepare(rows), theta)
    estimate = stretch.apply(prediction)
    widths = model.widths(rows, prediction)
    lower, upper = model.interval(prediction, widths)
    peer = ConformalRegressor().fit(residuals=residuals)
    central = np.asarray(peer.predict_int(y_hat=prediction, confidence=LEVEL))

    def value(z: Floats) -> Floats:
        return target_to_value(task.target, z)

    prices = value(rows.target)
    error = value(estimate) / prices - 1.0
    about = (task.target, prediction, widths)
    return Judged(
        region=region,
        covered=(lower <= rows.target) & (rows.target <= upper),
        central=(central[:, 0] <= rows.target) & (rows.target <= central[:, 1]),
        width=float((upper - lower).mean()),
        central_width=float((central[:, 1] - central[:, 0]).mean()),
        value_width=float(
            (value(upper) - value(lower)).mean()
            / (value(central[:, 1]) - value(central[:, 0])).mean()
        ),
        chance=model.probability_within(*about, estimate=estimate),
        close=np.abs(error) <= 0.1,
        fsd=float(np.sqrt((model.fsd(*about, estimate=estimate) ** 2).mean())),
        deviation=float(error.std()),
        units=len(residuals),
        predicted=ratio_measures.measured(prices, value(prediction)),
        released=ratio_measures.measured(prices, value(estimate)),
        assesspy=ratio_measures.of_assesspy(prices, value(estimate)),
    )


def _accepted(task: Task, frame: pd.DataFrame) -> Encoded:
    check = check_frame(task, frame, with_target=True)
    return encode(task, frame[check.accepted], with_target=True)


def summarise(found: list[Judged]) -> dict[str, Any]:
    """The figures that the bars are about, and those beside them."""
    region = np.concatenate([each.region for each in found])

    def least(inside: Bools) -> float:
        return float(min(inside[region == k].mean() for k in range(REGIONS)))

    chance = np.concatenate([each.chance for each in found])
    close = np.concatenate([each.close for each in found])
    tenths = np.array_split(np.argsort(chance, kind="stable"), 10)
    deciles = [(float(chance[t].mean()), float(close[t].mean())) for t in tenths]
    return {
        "coverage": float(np.mean([each.covered.mean() for each in found])),
        "by_seed": [float(each.covered.mean()) for each in found],
        "central": float(np.mean([each.central.mean() for each in found])),
        "worst": least(np.concatenate([each.covered for each in found])),
        "central_worst": least(np.concatenate([each.central for each in found])),
        "width": float(np.mean([each.width / each.central_width for each in found])),
        "value_width": float(np.mean([each.value_width for each in found])),
        "deciles": deciles,
        "gap": max(abs(stated - seen) for stated, seen in deciles),
        "fsd": float(np.mean([each.fsd for each in found])),
        "deviation": float(np.mean([each.deviation for each in found])),
        "units": float(np.mean([each.units for each in found])),
        "measures": ratio_measures.rows(
            [each.predicted for each in found],
            [each.released for each in found],
            [each.assesspy for each in found],
        ),
    }


def measure(
    data: Path, *, epsilon: float = 8.0, seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
) -> dict[str, Any]:
    """`summarise` of these seeds."""
    frame = parse_csv(data.read_bytes(), name=str(data))
    degrees = frame[["latitude", "longitude"]].astype(float).to_numpy()
    middle = degrees.mean(axis=0)
    places = (degrees - middle) * [1.0, np.cos(np.radians(middle[0]))]
    regions = KMeans(REGIONS, n_init=10, random_state=0).fit_predict(places).astype(np.int64)
    return summarise([judge_seed(frame, regions, epsilon=epsilon, seed=seed) for seed in seeds])


def rows() -> list[dict[str, Any]]:
    """Rows of the learning suite; see bench/suite.py."""
    found = measure(Path(os.environ.get("COVALUE_DATA", ".")) / FILE)
    peer = f"central split conformal, crepes {version('crepes')}"
    return [
        {
            "name": "intervals: coverage at 90 %, eps 8, mean of 5 seeds",
            "ours": found["coverage"],
            "peer": f"{peer}: {found['central']:.4f}",
            "value": found["coverage"],
            "unit": f"share of test rows ({found['units']:.0f} calibration units)",
            "bar": "0.89 to 0.91",
            "holds": 0.89 <= found["coverage"] <= 0.91,
        },
        {
            "name": "intervals: worst of 10 regions, pooled over 5 seeds",
            "ours": found["worst"],
            "peer": f"{peer}: {found['central_worst']:.4f}",
            "value": found["worst"],
            "unit": "share of its test rows",
            "bar": ">= 0.86",
            "holds": found["worst"] >= 0.86,
        },
        {
            "name": "intervals: mean width on the target's scale",
            "ours": found["width"],
            "peer": f"{peer}: 1; in dollars ours is {found['value_width']:.3f}",
            "value": found["width"],
            "unit": "ratio",
            "bar": "<= 1.1",
            "holds": found["width"] <= 1.1,
        },
        {
            "name": "probability of being within 10 %: worst decile, pooled over 5 seeds",
            "ours": found["gap"],
            "peer": "the observed share",
            "value": found["gap"],
            "unit": "stated less observed",
            "bar": "<= 0.05",
            "holds": found["gap"] <= 0.05,
        },
        *found["measures"],
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    folder = Path(os.environ.get("COVALUE_DATA", "."))
    parser.add_argument("--data", type=Path, default=folder / FILE)
    parser.add_argument("--epsilon", type=float, default=8.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    given = parser.parse_args()
    found = measure(given.data, epsilon=given.epsilon, seeds=tuple(given.seeds))
    for name, value in found.items():
        if name == "deciles":
            print("decile: stated, observed")
            for stated, seen in value:
                print(f"  {stated:.3f} {seen:.3f} {seen - stated:+.3f}")
        elif name == "measures":
            for row in value:
                print(f"{row['name']}: {row['value']:.4f} ({row['unit']}; {row['peer']})")
        else:
            print(f"{name:14} {value}")


if __name__ == "__main__":
    main()
