# SPDX-License-Identifier: Apache-2.0
"""What contributors release so that intervals can be made: histograms of their residuals.

Every residual is divided by the row's difficulty, which is public, and counted in up to three
tables of the same bins: one of all rows, one by bands of difficulty, one by region of the map. A
unit counts 1/sqrt(tables) in each, and so at most 1 in Euclidean norm. Overlapping tables cost less
noise than one table of all combinations: the table of all rows stays sharp however many regions
there are (Barak et al. 2007).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from dao.errors import TaskError
from dao.records import Calibration
from valuation.difficulty import Difficulty
from valuation.regions import region_centres, region_of
from valuation.schema import Floats, Ints
from valuation.unit_counts import row_shares

BANDS = 6
"""Bands of difficulty, equally wide on a log scale over the range of most public rows."""
_MOST = (0.05, 0.95)
"""That range, as quantiles of the anchors' difficulties."""
MAX_REGIONS = 8
EDGE_LEAST, EDGE_RATIO, EDGES_A_SIDE = 0.08, 1.4, 13
"""Edges of the bins on either side of 0: .08 to 4.5 difficulties; a difficulty is meant to be about
one robust standard deviation, and may well turn out three times too large or too small."""
LEVEL = 0.9
SHARES = (0.02, 0.03, 0.05, 0.08, 0.1, 0.125, 0.15)
GOOD_DEVIATION = 0.0075
"""Standard deviation of the coverage that a 90 % interval turns out to have: the share of units is
the least that promises it, or the greatest of all."""
WORST_DEVIATION = 0.02
"""Beyond this there is no calibration: the public rows that judge tell as much, and for nothing."""
WORST_ALONE = 0.04
"""The same where there are no public rows."""
TABLE_COST = 1.3
"""Further tables are released while they raise that deviation by no more than this factor."""
_TAIL_BINS = 8
"""Bins beyond both ends of a 90 % interval: so many noisy counts decide where it ends."""


@dataclass(frozen=True)
class Layout:
    """Rows of the released table: all rows, then bands of difficulty, then regions.

    Attributes:
        bands: 0 or BANDS. regions: 0 or 2 and more.
    """

    bands: int
    regions: int

    @property
    def groups(self) -> int:
        """Rows of the released table."""
        return 1 + self.bands + self.regions

    @property
    def tables(self) -> int:
        """In how many rows of the table a row of data counts."""
        return 1 + (self.bands > 0) + (self.regions > 0)


def layout_of(calibration: Calibration) -> Layout:
    """What its groups stand for: 1 = all rows; 7 = and six bands; more = and regions.

    Raises:
        TaskError: another number of groups, or edges that do not rise.
    """
    groups, edges = calibration.groups, calibration.edges_micro
    if groups not in (1, 1 + BANDS) and groups < 3 + BANDS:
        raise TaskError(
            f"calibration: {groups} groups, expected 1, {1 + BANDS}, or {3 + BANDS} and more"
        )
    if any(b <= a for a, b in itertools.pairwise(edges)):
        raise TaskError("calibration: the edges of the bins must rise")
    return Layout(bands=min(groups - 1, BANDS), regions=max(groups - 1 - BANDS, 0))


def calibration_plan(
    *, units: int, contributors: int, mu: float, public_rows: bool, located: bool
) -> Calibration | None:
    """The calibration for a task of which only public numbers are known.

    None where even the largest share leaves the coverage of a 90 % interval uncertain by .02 (a
    standard deviation; .04 without public rows): below 2,700 units with 10 contributors at epsilon
    8, below 11,900 at epsilon 1.

    Args:
        units: private units that the task expects in all contributors together.
        contributors: each adds noise of its own.
        mu: Gaussian-DP parameter of the release: the noise's deviation is 1 / mu.
        public_rows, located: whether the task has public rows, and a location.
    """
    bands = BANDS if public_rows else 0
    richest = Layout(bands, MAX_REGIONS if public_rows and located else 0)

    def deviation(layout: Layout, share: float) -> float:
        return coverage_deviation(layout, share * units, contributors / mu**2)

    good = (share for share in SHARES if deviation(richest, share) <= GOOD_DEVIATION)
    share = next(good, SHARES[-1])
    plain = deviation(Layout(0, 0), share)
    if plain > (WORST_DEVIATION if public_rows else WORST_ALONE):
        return None
    found = Layout(0, 0)
    for layout in (Layout(bands, 0), richest):
        if deviation(layout, share) <= max(GOOD_DEVIATION, TABLE_COST * plain):
            found = layout
    return Calibration(
        share_micro=round(share * 1e6),
        groups=found.groups,
        edges_micro=standard_edges_micro(),
        level_micro=round(LEVEL * 1e6),
    )


def standard_edges_micro() -> tuple[int, ...]:
    """Edges of the bins in 1e-6 difficulties, symmetric about 0."""
    right = [EDGE_LEAST * EDGE_RATIO**i for i in range(EDGES_A_SIDE)]
    edges = [-edge for edge in reversed(right)] + right
    return tuple(round(edge * 1e6) for edge in edges)


def coverage_deviation(layout: Layout, units: float, noise_variance: float) -> float:
    """Standard deviation of the share of rows that a 90 % interval turns out to cover: from drawing
    the calibration units, and from the noise of the counts beyond its ends.

    Args:
        units: that calibrate, in all contributors together.
        noise_variance: of each count, summed over the contributors.
    """
    drawn = LEVEL * (1.0 - LEVEL) / max(units, 1.0)
    noisy = layout.tables * noise_variance * _TAIL_BINS / max(units, 1.0) ** 2
    return math.sqrt(drawn + noisy)


def centres_of(layout: Layout, difficulty: Difficulty) -> Floats:
    """float64[r, 2]: centres of the regions, from the public rows in the set-up; r may be less
    than the layout's regions where few places differ, and is 0 without regions or locations."""
    process = difficulty.process
    if layout.regions == 0 or process is None or process.locations.shape[1] == 0:
        return np.zeros((0, 2))
    return region_centres(process.locations, layout.regions)


def bands_of(difficulty: Difficulty, difficulties: Floats) -> Ints:
    """int64[n]: the band 0 .. BANDS - 1 of each; the first and the last are open-ended."""
    return np.searchsorted(_band_edges(difficulty)[1:-1], np.log(difficulties)).astype(np.int64)


def band_middles(difficulty: Difficulty) -> Floats:
    """float64[BANDS]: log difficulty in the middle of each band; of the open-ended ones the mean of
    the anchors in them. They rise, or are all equal where all difficulties are."""
    edges = _band_edges(difficulty)
    middles: Floats = (edges[1:] + edges[:-1]) / 2.0
    logs = np.log(difficulty.anchors)
    if edges[-1] > edges[0]:
        middles[0] = logs[logs <= edges[1]].mean()
        middles[-1] = logs[logs >= edges[-2]].mean()
    return middles


def _band_edges(difficulty: Difficulty) -> Floats:
    """float64[BANDS + 1]: logs; the ends only say how wide the bands are."""
    if difficulty.process is None:
        return np.zeros(BANDS + 1)
    least, most = np.log(np.quantile(difficulty.anchors, _MOST))
    edges: Floats = least + (most - least) * np.arange(BANDS + 1) / BANDS
    return edges


def groups_of(
    calibration: Calibration, difficulty: Difficulty, difficulties: Floats, locations: Floats
) -> Ints:
    """int64[n, tables]: the rows of the released table in which each row of data counts.

    Args:
        difficulties: float64[n], `difficulty.at`.
        locations: float64[n, 2 or 0], as `Encoded.locations`.
    """
    layout = layout_of(calibration)
    everyone = np.zeros(len(difficulties), dtype=np.int64)
    columns = [everyone]
    if layout.bands:
        columns.append(1 + bands_of(difficulty, difficulties))
    if layout.regions:
        centres = centres_of(layout, difficulty)
        region = region_of(centres, locations) if len(centres) else everyone
        columns.append(1 + layout.bands + region)
    return np.column_stack(columns)


def residual_histogram(
    calibration: Calibration,
    *,
    residual: Floats,
    difficulty: Floats,
    groups: Ints,
    units: Ints,
    max_rows: int,
) -> Floats:
    """The private sum that one contributor releases with noise, float64[groups * bins], row by row
    of the table.

    Of a unit the first `max_rows` rows count, each 1/m of its m; a row adds 1/sqrt(tables) in each
    of its tables. So adding or removing a unit moves the sum by at most 1 in Euclidean norm,
    whatever its rows are.

    Args:
        residual: float64[n], target minus prediction, of calibration rows.
        difficulty: float64[n], above 0.
        groups: int64[n, tables], of `groups_of`.
        units: int64[n], equal for rows of one unit.
    """
    bins = len(calibration.edges_micro) + 1
    weight = row_shares(units, max_rows) / math.sqrt(groups.shape[1])
    edges = np.array(calibration.edges_micro) * 1e-6
    # A value on an edge belongs above it; one that is not a number to the last bin.
    which = np.searchsorted(edges, residual / difficulty, side="right")
    table = np.zeros(calibration.groups * bins)
    for column in groups.T:
        np.add.at(table, column * bins + which, weight)
    return table
