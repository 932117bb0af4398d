# SPDX-License-Identifier: Apache-2.0
"""What the surveys of a task tell: how many units each contributor has in which cell, how many at
most, and how far all of them together lie from the public rows.

A survey is a noisy histogram over public cells; its noise is known, and what does not stand out
from it is not believed. Pure; everything enters as public numbers.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rounds.landscape import Floats, Landscape

LEAST_DEVIATIONS = 1.5
"""Counts below so many deviations of the survey's noise are taken for noise."""
SIZE_DEVIATIONS = 3.0
"""A contributor may have more units than its survey says, by so many deviations of their sum."""
MOST_DAMPING = 12.0
"""How many times shorter steps are where surveys lie far from the public rows (tuned on held-out
seeds of two regions of ten)."""
USUAL_DISTANCE, STRANGE_DISTANCE = 0.2, 0.28
"""Total variation between surveys and public rows up to which nothing is damped, and from which all
is; drawn from one market they are .05 to .15 apart (seeds 5 to 8)."""
_ROOT_TWO_PI = math.sqrt(2.0 * math.pi)


def expected_counts(landscape: Landscape, histograms: Floats) -> Floats:
    """float64[K, cell_count]: how many units each contributor is taken to have in each cell.

    Counts lost in the survey's noise are dropped. Who told nothing that can be heard is taken to
    have its share of N units, everywhere alike.

    Args:
        histograms: float64[K, cell_count], noisy counts as released; finite.
    """
    present = landscape.present
    heard = _heard(landscape, histograms)
    counts: Floats = np.where(heard, np.maximum(histograms, 0.0), 0.0)
    everywhere = landscape.units / len(histograms) * present / present.sum()
    counts[counts.sum(axis=1) <= 0.0] = everywhere
    totals = counts.sum(axis=1)
    held: Floats = counts * (_held(totals, float(landscape.units)) / totals)[:, None]
    return held


def most_units(landscape: Landscape, histograms: Floats, told: Floats) -> Floats:
    """float64[K]: how many units each contributor may have, by its survey and its noise.

    Who told nothing is not larger than the least that told something.

    Args:
        histograms: float64[K, cell_count], noisy counts as released.
        told: float64[K, cell_count], what `expected_counts` makes of them.
    """
    sizes, silent = told.sum(axis=1), ~_heard(landscape, histograms).any(axis=1)
    if not silent.all():
        sizes[silent] = np.minimum(sizes[silent], sizes[~silent].min())
    unsure = SIZE_DEVIATIONS * landscape.survey_deviation * math.sqrt(landscape.cell_count)
    found: Floats = sizes + unsure
    return found


def damping(landscape: Landscape, histograms: Floats, counts: Floats) -> float:
    """How many times the curvature is taken, 1 to MOST_DAMPING.

    How rows look is known where public rows are. Where contributors have theirs elsewhere, they may
    lie close together, and then pull some thousand times harder in one direction than rows strewn
    over a cell would: a step by the curvature of those would overshoot. So it is shortened by how
    far the surveys are from the public rows, in total variation, less what noise makes of it. Where
    it ends does not change.

    Args:
        histograms: float64[K, cell_count], noisy counts as released.
        counts: float64[K, cell_count], what `expected_counts` makes of them.
    """
    total = float(counts.sum())
    apart = 0.5 * float(np.abs(counts.sum(axis=0) / total - _shares(landscape.public)).sum())
    heard = _heard(landscape, histograms).sum(axis=0)
    noise = landscape.survey_deviation * float(np.sqrt(heard).sum()) / (total * _ROOT_TWO_PI)
    strange = (apart - noise - USUAL_DISTANCE) / (STRANGE_DISTANCE - USUAL_DISTANCE)
    return 1.0 + (MOST_DAMPING - 1.0) * min(1.0, max(0.0, strange))


def _held(totals: Floats, most: float) -> Floats:
    """The largest totals cut to one level where all together pass `most`: who tells too much is cut
    before who tells the truth."""
    falling = np.sort(totals)[::-1]
    if float(falling.sum()) <= most:
        return totals
    below = falling.sum() - np.cumsum(falling)
    levels = (most - below) / np.arange(1, len(falling) + 1)
    # The first level at which the next total is not cut any more.
    stands = levels >= np.append(falling[1:], 0.0)
    held: Floats = np.minimum(totals, levels[int(np.argmax(stands))])
    return held


def _heard(landscape: Landscape, histograms: Floats) -> npt.NDArray[np.bool_]:
    """Which counts stand out from the survey's noise, where there are synthetic rows."""
    loud = histograms > LEAST_DEVIATIONS * landscape.survey_deviation
    return loud & (landscape.present > 0)


def _shares(counts: Floats) -> Floats:
    shares: Floats = counts / counts.sum()
    return shares
