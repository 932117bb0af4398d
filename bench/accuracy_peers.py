# SPDX-License-Identifier: Apache-2.0
"""What accuracy is compared with and tried on: central DP-EBM, a task without public rows,
variants of the market generator."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pandas as pd

from bench.accuracy import Result
from bench.accuracy_protocol import (
    Blobs,
    Split,
    accepted,
    columns_of,
    make_task,
    split_rows,
    train_and_judge,
)
from privacy import accounting
from valuation.build import build_task
from valuation.encode import target_to_value
from valuation.metrics import measure
from valuation.schema import Floats
from valuation.taskfile import parse_taskfile

DELTA = 1e-5

MARKETS: dict[str, dict[str, Any]] = {
    "heavy tail": {"rows": 12_000, "heavy_tail": True},
    "500 categories": {"rows": 12_000, "categories": 500},
    "30 % missing": {"rows": 12_000, "missing": 0.3},
    "no location": {"rows": 12_000, "location": False},
    "2,000 rows": {"rows": 2_000},
    "200,000 rows": {"rows": 200_000},
    "the first five at once": {
        "rows": 2_000,
        "heavy_tail": True,
        "categories": 500,
        "missing": 0.3,
        "location": False,
    },
}

BARE_TASK = """
title = "California without public rows"
asset_class = "homes"
licence = "CC-BY-4.0"
[target]
column = "median_house_value"
currency = "USD"
scale = "log"
lower = 14999
upper = 500001
[[feature]]
kind = "location"
latitude = "latitude"
longitude = "longitude"
south = 32
north = 42.5
west = -125
east = -114
[[feature]]
kind = "number"
column = "housing_median_age"
lower = 1
upper = 52
[[feature]]
kind = "number"
column = "total_rooms"
scale = "log"
lower = 50
upper = 50000
[[feature]]
kind = "number"
column = "total_bedrooms"
scale = "log"
lower = 10
upper = 10000
missing = "indicate"
[[feature]]
kind = "number"
column = "population"
scale = "log"
lower = 25
upper = 40000
[[feature]]
kind = "number"
column = "households"
scale = "log"
lower = 10
upper = 10000
[[feature]]
kind = "number"
column = "median_income"
scale = "log"
lower = 0.4
upper = 16
[[feature]]
kind = "category"
column = "ocean_proximity"
values = ["<1H OCEAN", "INLAND", "NEAR BAY", "NEAR OCEAN"]
other = true
[[feature]]
kind = "ratio"
numerator = "total_rooms"
denominator = "households"
[[feature]]
kind = "ratio"
numerator = "total_bedrooms"
denominator = "total_rooms"
[[feature]]
kind = "ratio"
numerator = "population"
denominator = "households"
[privacy]
epsilon = {epsilon}
delta = 1e-5
public_n = {public_n}
expected_contributors = 10
[model]
family = "mlp"
[terms]
coordinator = "0x0000000000000000000000000000000000000000"
"""
"""Bounds that a person who knows the state would write; nothing is taken from rows."""


def bare_result(frame: pd.DataFrame, *, epsilon: float, seed: int) -> Result:
    """A task without public rows: all rows of the train side are private."""
    start = time.perf_counter()
    split = split_rows(frame, seed=seed, contributors=10, keep=None, public_rows=0)
    blobs = Blobs()
    task = build_task(
        parse_taskfile(BARE_TASK.format(epsilon=epsilon, public_n=len(split.private))),
        None,
        blobs.put,
        bundle_sha256="0" * 64,
        accounting=accounting,
    )
    metrics = train_and_judge(task, blobs, frame, split, seed=seed)
    seconds = time.perf_counter() - start
    parameters = task.model.parameters
    return Result("bare mlp", epsilon, 10, seed, metrics.r2, metrics.mdape, seconds, parameters)


def ebm_result(
    frame: pd.DataFrame, split: Split, *, target: str, epsilon: float, seed: int
) -> Result:
    """Central DP-EBM (Nori et al. 2021; interpret) on all private rows at once, on the same encoded
    columns and target as our task, whose public bounds it is given."""
    from interpret.privacy import DPExplainableBoostingRegressor

    task = make_task(
        frame.iloc[split.public],
        target=target,
        family="mlp",
        epsilon=8.0,
        public_n=len(split.private),
        contributors=1,
        blobs=Blobs(),
    )
    private = accepted(task, frame.iloc[split.private])
    test = accepted(task, frame.iloc[split.test])
    public = accepted(task, frame.iloc[split.public])
    assert private.target is not None
    assert test.target is not None
    assert public.target is not None
    columns = columns_of(public)
    low, high = columns.min(axis=0), columns.max(axis=0) + 1e-6
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = DPExplainableBoostingRegressor(
            epsilon=epsilon,
            delta=DELTA,
            privacy_bounds=np.column_stack([low, high]),
            privacy_target_min=float(public.target.min()),
            privacy_target_max=float(public.target.max()),
            random_state=seed,
        )
        model.fit(np.clip(columns_of(private), low, high), private.target)
        estimate: Floats = np.asarray(
            model.predict(np.clip(columns_of(test), low, high)), dtype=np.float64
        )
    metrics = measure(
        target_to_value(task.target, test.target), target_to_value(task.target, estimate)
    )
    seconds = time.perf_counter() - start
    return Result("central DP-EBM", epsilon, 1, seed, metrics.r2, metrics.mdape, seconds)
