# SPDX-License-Identifier: Apache-2.0
"""Accuracy of both model families at several epsilons, by the protocol that docs quote.

For every seed: 80/20 split; 500 rows of the train side are declared public; the rest is divided
by geography (k-means) among K contributors; the task is drafted from the public rows alone and
trained in process by the federation's own engine and step; R2 and the median absolute percentage
error on the test side, in price units. Compared with what the public rows give alone: ridge,
LightGBM and our own process.

    COVALUE_DATA=FOLDER python -m bench.accuracy --epsilon 8 --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dao.records import BlobRef, Task
from demo.forecast import judge, train_in_process
from privacy import accounting
from valuation.build import build_task
from valuation.draft import draft_task
from valuation.encode import Encoded, encode, indicator_columns, target_to_value
from valuation.loading import load_family
from valuation.metrics import Metrics, measure
from valuation.private_rows import divide_rows
from valuation.process import fit_process
from valuation.public_fit import PublicFit
from valuation.rows import check_frame, parse_csv
from valuation.schema import Floats, Ints
from valuation.task_text import render_draft
from valuation.taskfile import parse_taskfile

PUBLIC_ROWS = 500


@dataclass(frozen=True)
class Split:
    """Row numbers of one seed's split; `owner` says whose each private row is."""

    test: Ints
    public: Ints
    private: Ints
    owner: Ints


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    what: str
    epsilon: float | None
    contributors: int
    seed: int
    r2: float
    mdape: float
    seconds: float
    parameters: int = 0


class Blobs:
    """Content kept in memory by its SHA-256, for one measurement."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def put(self, data: bytes) -> BlobRef:
        """Keep bytes. The CID is shaped like one and means nothing here."""
        digest = hashlib.sha256(data).hexdigest()
        self.content[digest] = data
        return BlobRef(cid="b" + "a" * 58, sha256=digest, size=len(data))


def split_rows(
    frame: pd.DataFrame, *, seed: int, contributors: int, keep: int | None, public_rows: int
) -> Split:
    """The protocol's split; with `keep` only so many private rows remain."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(frame))
    held = len(frame) // 5
    test, train = order[:held], order[held:]
    public, private = train[:public_rows], train[public_rows:]
    if keep is not None:
        private = np.sort(random.choice(private, keep, replace=False))
    return Split(test, public, private, _owners(frame.iloc[private], contributors, seed))


def _owners(rows: pd.DataFrame, contributors: int, seed: int) -> Ints:
    from sklearn.cluster import KMeans

    if contributors == 1:
        return np.zeros(len(rows), dtype=np.int64)
    if not {"latitude", "longitude"} <= set(rows.columns):
        return np.random.default_rng(seed).integers(0, contributors, len(rows))
    degrees = rows[["latitude", "longitude"]].astype(float).to_numpy()
    middle = degrees.mean(axis=0)
    places = (degrees - middle) * [1.0, np.cos(np.radians(middle[0]))]
    found = KMeans(contributors, n_init=2, random_state=seed).fit_predict(places)
    return np.asarray(found, dtype=np.int64)


def make_task(
    public: pd.DataFrame,
    *,
    target: str,
    family: str,
    epsilon: float,
    public_n: int,
    contributors: int,
    blobs: Blobs,
    fits: PublicFit | None = None,
) -> Task:
    """Draft a task from the public rows, as `covalue task new` does, and build it; `fits` are what
    tasks from the same public rows share."""
    text = render_draft(
        draft_task(public, target=target),
        title="Accuracy",
        asset_class="homes",
        public_rows="public.csv",
        family=family,
        public_n=public_n,
        contributors=contributors,
        epsilon=epsilon,
    )
    data = public.to_csv(index=False).encode()
    return build_task(
        parse_taskfile(text),
        data,
        blobs.put,
        bundle_sha256="0" * 64,
        accounting=accounting,
        fits=fits,
    )


def accepted(task: Task, frame: pd.DataFrame) -> Encoded:
    check = check_frame(task, frame, with_target=True)
    return encode(task, frame[check.accepted], with_target=True)


def train_and_judge(
    task: Task, blobs: Blobs, frame: pd.DataFrame, split: Split, *, seed: int
) -> Metrics:
    """Train a task on the split's private rows, less those that calibrate, and judge it on the
    test rows."""
    family = load_family(task, blobs.content[task.model.setup.sha256])
    prepared = []
    for k in range(int(split.owner.max()) + 1):
        rows = accepted(task, frame.iloc[split.private[split.owner == k]])
        prepared.append(divide_rows(task, family, rows))
    initial = blobs.content[task.model.initial.sha256]
    theta = train_in_process(task, family, initial, prepared, seed=seed)
    return judge(task, family, theta, family.prepare(accepted(task, frame.iloc[split.test])))


def run_family(
    frame: pd.DataFrame,
    split: Split,
    *,
    target: str,
    family_name: str,
    epsilon: float,
    contributors: int,
    seed: int,
    fits: PublicFit | None = None,
) -> tuple[Result, Result]:
    """Train one task; the trained model's line, and that of the public process alone."""
    start = time.perf_counter()
    blobs = Blobs()
    task = make_task(
        frame.iloc[split.public],
        target=target,
        family=family_name,
        epsilon=epsilon,
        public_n=len(split.private),
        contributors=contributors,
        blobs=blobs,
        fits=fits,
    )
    metrics = train_and_judge(task, blobs, frame, split, seed=seed)
    seconds = time.perf_counter() - start
    public = accepted(task, frame.iloc[split.public])
    alone = _process_alone(task, public, accepted(task, frame.iloc[split.test]))
    return (
        Result(
            family_name,
            epsilon,
            contributors,
            seed,
            metrics.r2,
            metrics.mdape,
            seconds,
            task.model.parameters,
        ),
        Result("public: our process", None, 0, seed, alone.r2, alone.mdape, 0.0),
    )


def _process_alone(task: Task, public: Encoded, test: Encoded) -> Metrics:
    """Our own process on all public rows, none kept out to judge."""
    fitted = fit_process(public, indicator_columns(task), seed=0, judge_share=0.0)
    assert test.target is not None
    prices = target_to_value(task.target, test.target)
    return measure(prices, target_to_value(task.target, fitted.process.mean(test)))


def public_baselines(frame: pd.DataFrame, split: Split, *, target: str, seed: int) -> list[Result]:
    """Ridge and LightGBM trained on the public rows alone, on the same encoded columns."""
    from lightgbm import LGBMRegressor
    from sklearn.linear_model import RidgeCV

    task = make_task(
        frame.iloc[split.public],
        target=target,
        family="mlp",
        epsilon=8.0,
        public_n=len(split.private),
        contributors=1,
        blobs=Blobs(),
    )
    public = accepted(task, frame.iloc[split.public])
    test = accepted(task, frame.iloc[split.test])
    assert test.target is not None
    prices = target_to_value(task.target, test.target)
    models = {
        "public: ridge": RidgeCV(np.logspace(-2, 3, 16)),
        "public: LightGBM": LGBMRegressor(
            n_estimators=300, learning_rate=0.05, num_leaves=15, verbose=-1, random_state=seed
        ),
    }
    found = []
    for name, model in models.items():
        start = time.perf_counter()
        model.fit(columns_of(public), public.target)
        estimate: Floats = np.asarray(model.predict(columns_of(test)), dtype=np.float64)
        metrics = measure(prices, target_to_value(task.target, estimate))
        seconds = time.perf_counter() - start
        found.append(Result(name, None, 0, seed, metrics.r2, metrics.mdape, seconds))
    return found


def columns_of(rows: Encoded) -> Floats:
    return np.hstack([rows.attributes, rows.locations])


def _print_table(results: list[Result]) -> None:
    keys = list(dict.fromkeys((r.what, r.epsilon, r.contributors) for r in results))
    print(f"{'model':24} {'eps':>5} {'K':>4}  {'R2 mean':>8} {'R2 least':>8} {'MdAPE':>7} {'s':>7}")
    for what, epsilon, contributors in keys:
        rows = [
            r
            for r in results
            if (r.what, r.epsilon, r.contributors) == (what, epsilon, contributors)
        ]
        print(
            f"{what:24} {'-' if epsilon is None else f'{epsilon:g}':>5} {contributors or '-':>4}  "
            f"{np.mean([r.r2 for r in rows]):8.4f} {min(r.r2 for r in rows):8.4f} "
            f"{100 * np.mean([r.mdape for r in rows]):6.2f}% "
            f"{np.mean([r.seconds for r in rows]):7.1f}"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    folder = Path(os.environ.get("COVALUE_DATA", "."))
    parser.add_argument("--data", type=Path, default=folder / "california_housing.csv")
    parser.add_argument("--target", default="median_house_value")
    parser.add_argument("--family", nargs="+", default=["kernel", "mlp"])
    parser.add_argument("--epsilon", nargs="+", type=float, default=[1.0, 2.0, 4.0, 8.0])
    parser.add_argument("--contributors", nargs="+", type=int, default=[10])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--keep", type=int, help="keep only so many private rows")
    parser.add_argument("--public-rows", type=int, default=PUBLIC_ROWS)
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--json", type=Path, help="write the lines to this file")
    return parser.parse_args()


def main() -> None:
    """Measure and print the table."""
    given = _arguments()
    frame = parse_csv(given.data.read_bytes(), name=str(given.data))
    results: list[Result] = []
    for seed in given.seeds:
        for contributors in given.contributors:
            split = split_rows(
                frame,
                seed=seed,
                contributors=contributors,
                keep=given.keep,
                public_rows=given.public_rows,
            )
            if contributors == given.contributors[0] and not given.no_baselines:
                results += public_baselines(frame, split, target=given.target, seed=seed)
            alone, fits = None, PublicFit()
            for family in given.family:
                for epsilon in given.epsilon:
                    line, alone = run_family(
                        frame,
                        split,
                        target=given.target,
                        family_name=family,
                        epsilon=epsilon,
                        contributors=contributors,
                        seed=seed,
                        fits=fits,
                    )
                    print(line, file=sys.stderr, flush=True)
                    results.append(line)
            if alone is not None and contributors == given.contributors[0]:
                results.append(alone)
    _print_table(results)
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")


if __name__ == "__main__":
    main()
