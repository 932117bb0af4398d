# SPDX-License-Identifier: Apache-2.0
"""What the federated model is compared with: public rows only, one contributor, no privacy.

The comparisons are scikit-learn's gradient boosted trees on the same encoded columns (attributes
and location), the usual strong learner for such tables; for the public rows our own public model
and a ridge regression compete too and the best of them is shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dao.records import Task
from valuation.encode import Encoded, encode, target_to_value
from valuation.family import Family
from valuation.metrics import mdape, r2

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """R2 and median absolute percentage error (a fraction) in price units on the test rows."""

    name: str
    r2: float
    mdape: float


def quality(name: str, task: Task, *, predicted: Floats, test: Encoded) -> Quality:
    """Judge standardised predictions (n,) against the test rows' targets."""
    assert test.target is not None
    price = target_to_value(task.target, test.target)
    estimate = target_to_value(task.target, predicted)
    return Quality(name=name, r2=r2(price, estimate), mdape=mdape(price, estimate))


def compare(
    task: Task,
    family: Family,
    *,
    public: pd.DataFrame,
    contributors: tuple[pd.DataFrame, ...],
    test: Encoded,
) -> tuple[Quality, ...]:
    """Best model of the public rows, trees on the median contributor alone, trees on all rows."""
    shared = encode(task, public, with_target=True)
    public_only = [
        quality("public rows only (our model)", task, predicted=_start(family, test), test=test),
        quality("public rows only (ridge)", task, predicted=_ridge(shared, test), test=test),
        quality("public rows only (trees)", task, predicted=_trees(shared, test), test=test),
    ]
    best = max(public_only, key=lambda each: each.r2)
    alone = sorted(
        (
            quality(
                "one contributor alone (median)",
                task,
                predicted=_trees(encode(task, rows, with_target=True), test),
                test=test,
            )
            for rows in contributors
        ),
        key=lambda each: each.r2,
    )[len(contributors) // 2]
    everything = encode(
        task, pd.concat([public, *contributors], ignore_index=True), with_target=True
    )
    central = quality(
        "central training, no privacy", task, predicted=_trees(everything, test), test=test
    )
    return best, alone, central


def _columns(rows: Encoded) -> Floats:
    return np.hstack([rows.attributes, rows.locations])


def _start(family: Family, test: Encoded) -> Floats:
    return family.predict(family.prepare(test), np.zeros(family.parameters))


def _ridge(train: Encoded, test: Encoded) -> Floats:
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(np.logspace(-2, 3, 11)).fit(_columns(train), train.target)
    return np.asarray(model.predict(_columns(test)), dtype=np.float64)


def _trees(train: Encoded, test: Encoded) -> Floats:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(random_state=0, max_iter=150)
    model.fit(_columns(train), train.target)
    return np.asarray(model.predict(_columns(test)), dtype=np.float64)
