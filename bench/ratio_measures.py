# SPDX-License-Identifier: Apache-2.0
"""The appraisers' measures of what a model predicts and of what is released, beside their accepted
ranges, with assesspy's figures as the peer. Rows of `bench.intervals`, which trains the models."""

from __future__ import annotations

from typing import Any

import assesspy
import numpy as np

from valuation import metrics
from valuation.accepted import ACCEPTED
from valuation.schema import Floats

FIGURES = ("median_ratio", "cod", "prd", "prb", "mki")
REPORTED = ("cod", "mki")
"""Stated, not held to a bar: the first follows from how well homes can be told apart at all, the
second would cost R2 (docs/benchmarks.md)."""


def measured(prices: Floats, estimates: Floats) -> dict[str, float]:
    """The figures of one seed's test rows."""
    return {name: getattr(metrics, name)(prices, estimates) for name in FIGURES}


def of_assesspy(prices: Floats, estimates: Floats) -> dict[str, float]:
    """The same by assesspy, where it has them."""
    names = [name for name in FIGURES if hasattr(assesspy, name)]
    return {name: float(getattr(assesspy, name)(estimates, prices)) for name in names}


def rows(
    predicted: list[dict[str, float]],
    released: list[dict[str, float]],
    peer: list[dict[str, float]],
) -> list[dict[str, Any]]:
    """One row a figure: released estimates, mean over the seeds. `peer` is assesspy's of them."""
    table = []
    for name in FIGURES:
        value = float(np.mean([each[name] for each in released]))
        accepted = ACCEPTED[name]
        lower, upper = accepted.lower_micro / 1e6, accepted.upper_micro / 1e6
        inside = [lower <= each[name] <= upper for each in released]
        theirs = [each[name] for each in peer if name in each]
        beside = f"assesspy {np.mean(theirs):.4f}; " if theirs else ""
        table.append(
            {
                "name": f"released estimates: {name}, mean of {len(released)} seeds",
                "ours": value,
                "peer": f"{beside}predictions {np.mean([each[name] for each in predicted]):.4f}",
                "value": value,
                "unit": f"accepted in {sum(inside)} of {len(inside)} seeds",
                "bar": f"stated (accepted {lower:g} to {upper:g})"
                if name in REPORTED
                else f"{lower:g} to {upper:g}",
                "holds": name in REPORTED or lower <= value <= upper,
            }
        )
    return table
