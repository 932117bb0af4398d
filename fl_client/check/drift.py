# SPDX-License-Identifier: Apache-2.0
"""How private rows differ from the public ones, column by column.

Drift is no fault: a contributor from another region has other rows, and that is what makes them
worth training on. It shows what is one: a size in square feet, a price in thousands.

Population stability index: sum of (q - p) ln(q / p) over bins, p the public and q the own shares;
below .1 is alike and above .25 far apart (Siddiqi, Credit Risk Scorecards, 2006). Without drift it
is about (1/n + 1/m) chi-square with bins - 1 degrees of freedom (Yurdakul and Naranjo, Statistical
properties of the population stability index, 2020): what chance alone reaches in 1 of 20 columns is
not called drift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy.stats import chi2

from valuation.encode import scale_numbers
from valuation.schema import Floats, Ints

Kind = Literal["number", "date", "degrees", "category", "target"]
Verdict = Literal["alike", "shifted", "far"]

SHIFTED, FAR = 0.10, 0.25
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_TENTHS = np.arange(1, 10) / 10
_BARS = 16
_WORD_BARS = 12
_OTHER_UNIT = 4.0
"""Medians that differ by more than this factor make one ask for the unit."""


@dataclass(frozen=True)
class Quantile:
    """The value that a share `level` of the rows does not pass; days as ISO dates."""

    level: float
    public: float | str
    own: float | str


@dataclass(frozen=True)
class Bar:
    """Share of the public and of the own rows in one class of a picture."""

    label: str
    public: float
    own: float


@dataclass(frozen=True)
class ColumnDrift:
    """One column. `chance` is what the index reaches by chance in one of twenty columns."""

    column: str
    kind: Kind
    index: float
    chance: float
    verdict: Verdict
    quantiles: tuple[Quantile, ...]
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class MapCell:
    """One cell of the map, counted from the south-west corner; shares of all rows."""

    east: int
    north: int
    public: float
    own: float


@dataclass(frozen=True)
class LocationDrift:
    """Where the rows lie.

    Attributes:
        south, north, west, east: of the public rows, in degrees.
        outside_share: own rows outside that box.
        reach_km: 99 of 100 public rows have another public row within this distance.
        far_share: own rows with no public row within it.
        map: cells that hold rows, over both.
    """

    south: float
    north: float
    west: float
    east: float
    outside_share: float
    reach_km: float
    far_share: float
    map: tuple[MapCell, ...]


@dataclass(frozen=True)
class OtherUnit:
    """A column that may be counted in another unit: medians of all its numbers, in or out of
    bounds."""

    column: str
    public_median: float
    own_median: float

    @property
    def told(self) -> str:
        """For a person."""
        return (
            f"{self.column}: your median {self.own_median:.6g} is "
            f"{self.own_median / self.public_median:.3g} times the public one: is it counted in "
            "another unit?"
        )


@dataclass(frozen=True)
class Drift:
    """The accepted rows beside the public rows. `compared_rows` is below the number of accepted
    rows where a random sample stands for them."""

    public_rows: int
    compared_rows: int
    columns: tuple[ColumnDrift, ...]
    location: LocationDrift | None
    other_units: tuple[OtherUnit, ...]


def stability_index(public: Ints, own: Ints) -> tuple[float, float]:
    """Population stability index of counts int64[k] in the same bins, and what chance reaches in
    one case of twenty. Half a row is added to each bin, so an empty one stays finite."""
    bins = len(public)
    p = (public + 0.5) / (public.sum() + 0.5 * bins)
    q = (own + 0.5) / (own.sum() + 0.5 * bins)
    index = float(((q - p) * np.log(q / p)).sum())
    if bins < 2:
        return index, 0.0
    rows = 1.0 / max(int(public.sum()), 1) + 1.0 / max(int(own.sum()), 1)
    return index, rows * float(chi2.ppf(0.95, bins - 1))


def verdict_of(index: float, chance: float) -> Verdict:
    """What the index says, where it says more than chance."""
    if index >= max(FAR, chance):
        return "far"
    return "shifted" if index >= max(SHIFTED, chance) else "alike"


def compare_numbers(
    column: str, public: Floats, own: Floats, *, kind: Kind, scale: str = "linear"
) -> ColumnDrift | None:
    """Numbers or days (ordinals), NaN where missing; the index over tenths of the public rows.
    None where either side has no number at all."""
    known, held = public[~np.isnan(public)], own[~np.isnan(own)]
    if not len(known) or not len(held):
        return None
    edges = np.unique(np.quantile(known, _TENTHS))
    counts = [_binned(known, edges), _binned(held, edges)]
    lost = [len(public) - len(known), len(own) - len(held)]
    if any(lost):
        counts = [np.append(count, missing) for count, missing in zip(counts, lost, strict=True)]
    index, chance = stability_index(counts[0], counts[1])
    verdict = verdict_of(index, chance)
    show = _day if kind == "date" else float
    levels = zip(LEVELS, np.quantile(known, LEVELS), np.quantile(held, LEVELS), strict=True)
    quantiles = tuple(Quantile(level, show(p), show(q)) for level, p, q in levels)
    bars = _bars(public, own, kind=kind, scale=scale)
    return ColumnDrift(column, kind, index, chance, verdict, quantiles, bars)


def _binned(values: Floats, edges: Floats) -> Ints:
    """How many values lie below the first edge, between edges, and at or above the last."""
    where = np.searchsorted(edges, values, side="right")
    return np.bincount(where, minlength=len(edges) + 1).astype(np.int64)


def _day(ordinal: float) -> str:
    return date.fromordinal(round(ordinal)).isoformat()


def other_units(
    columns: Mapping[str, tuple[Kind, str]], public: Floats, own: Floats
) -> tuple[OtherUnit, ...]:
    """Columns of positive numbers whose medians lie far apart.

    Args:
        columns: kind and scale of the first columns of both arrays.
        public, own: float64[n, columns], all numbers of the file: rows in another unit are mostly
            out of bounds, so the accepted ones would hide it.
    """
    found: list[OtherUnit] = []
    for i, (column, (kind, _)) in enumerate(columns.items()):
        known, held = (each[:, i][~np.isnan(each[:, i])] for each in (public, own))
        if kind not in ("number", "target") or not len(known) or not len(held):
            continue
        middle, own_middle = float(np.median(known)), float(np.median(held))
        if min(middle, own_middle) <= 0:
            continue
        if not 1 / _OTHER_UNIT <= own_middle / middle <= _OTHER_UNIT:
            found.append(OtherUnit(column, middle, own_middle))
    return tuple(found)


def _bars(public: Floats, own: Floats, *, kind: Kind, scale: str) -> tuple[Bar, ...]:
    """A class for each value where there are few of them; else classes of equal width on the
    column's scale over the middle 98 of 100 rows of both, the first and the last open-ended."""
    show = _day if kind == "date" else _short
    both = [each[~np.isnan(each)] for each in (public, own)]
    values = np.unique(np.concatenate(both))
    if len(values) <= _BARS:
        counts = [np.array([(each == value).sum() for value in values]) for each in both]
        labels = [show(value) for value in values]
    else:
        scaled = [scale_numbers(each, scale) for each in both]
        ends = [np.quantile(each, (0.01, 0.99)) for each in scaled]
        low, high = min(ends[0][0], ends[1][0]), max(ends[0][1], ends[1][1])
        inner = np.unique(np.linspace(low, high, _BARS + 1)[1:-1])
        counts = [_binned(each, inner) for each in scaled]
        back = {"log": np.exp, "log1p": np.expm1}.get(scale, np.asarray)
        marks = [show(mark) for mark in back(inner)]
        between = [f"{one} to {next_one}" for one, next_one in pairwise(marks)]
        labels = [f"below {marks[0]}", *between, f"{marks[-1]} and above"]
    shares = [count / len(each) for count, each in zip(counts, (public, own), strict=True)]
    bars = [Bar(*each) for each in zip(labels, shares[0].tolist(), shares[1].tolist(), strict=True)]
    missing = [float(np.isnan(each).mean()) for each in (public, own)]
    if any(missing):
        bars.append(Bar("missing", missing[0], missing[1]))
    return tuple(bars)


def _short(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.4g}"


def compare_words(
    column: str, values: Sequence[str], public: Ints, own: Ints, *, other: bool
) -> ColumnDrift | None:
    """Counts of each value (and of `other`, last, where the task has it). None where either side
    counts nothing."""
    if not public.sum() or not own.sum():
        return None
    labels = [*values, "any other"] if other else list(values)
    index, chance = stability_index(public, own)
    shares = [public / public.sum(), own / own.sum()]
    ranked = np.argsort(-np.maximum(shares[0], shares[1]), kind="stable")
    bars = [
        Bar(labels[i], float(shares[0][i]), float(shares[1][i]))
        for i in ranked[:_WORD_BARS].tolist()
    ]
    rest = ranked[_WORD_BARS:]
    if len(rest):
        bars.append(
            Bar(f"{len(rest)} more", float(shares[0][rest].sum()), float(shares[1][rest].sum()))
        )
    verdict = verdict_of(index, chance)
    return ColumnDrift(column, "category", index, chance, verdict, (), tuple(bars))
