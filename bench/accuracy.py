# SPDX-License-Identifier: Apache-2.0
"""Accuracy of both model families at several epsilons, by the protocol of `accuracy_protocol`.

R2 and the median absolute percentage error on the test side, in price units. Compared with what the
public rows give alone: ridge, LightGBM and our own process. A task is what `covalue task new`
drafts; `--edit` tries what a person would change in it.

    COVALUE_DATA=FOLDER python -m bench.accuracy --epsilon 8 --seeds 0 1 2
    ... --family kernel --edit 'rule = "wiener"' 'rule = "sum"'
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench.accuracy_protocol import (
    PUBLIC_ROWS,
    Blobs,
    Edit,
    Split,
    accepted,
    columns_of,
    make_task,
    split_rows,
    train_and_judge,
    two_region_split,
)
from dao.records import Task
from valuation.encode import Encoded, indicator_columns, target_to_value
from valuation.metrics import Metrics, measure
from valuation.process import fit_process
from valuation.public_fit import PublicFit
from valuation.rows import parse_csv
from valuation.schema import Floats


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
    edits: Sequence[Edit] = (),
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
        edits=edits,
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
    parser.add_argument(
        "--two-regions",
        action="store_true",
        help="the public rows come from two of ten regions (10 contributors)",
    )
    parser.add_argument(
        "--edit",
        nargs=2,
        action="append",
        default=[],
        metavar=("OLD", "NEW"),
        help="replace a text of the drafted task file; may be given again",
    )
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--json", type=Path, help="write the lines to this file")
    return parser.parse_args()


def _split(
    frame: pd.DataFrame, given: argparse.Namespace, *, seed: int, contributors: int
) -> Split:
    if given.two_regions:
        return two_region_split(frame, seed=seed)
    return split_rows(
        frame,
        seed=seed,
        contributors=contributors,
        keep=given.keep,
        public_rows=given.public_rows,
    )


def main() -> None:
    """Measure and print the table."""
    given = _arguments()
    frame = parse_csv(given.data.read_bytes(), name=str(given.data))
    results: list[Result] = []
    for seed in given.seeds:
        for contributors in given.contributors:
            split = _split(frame, given, seed=seed, contributors=contributors)
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
                        edits=[(old, new) for old, new in given.edit],
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
