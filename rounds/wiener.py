# SPDX-License-Identifier: Apache-2.0
"""Weighing each contributor's update by what it can know: the aggregation rule `wiener`.

A contributor's noisy sum carries noise in all d directions, and signal only in those in which its
rows vary. Where its rows lie is told once by a noisy histogram over public cells (the survey); how
rows of a cell look is told by public, synthetic rows. From both follows the linear-Gaussian model

    -G_k = N_k (theta* - theta) + e_k,   e_k ~ N(0, V_k),    V_k = a I + b N_k
    theta* ~ N(0, diag(prior))

with N_k the expected curvature of the contributor's clipped loss, a = (sigma C)^2 / T what noise
leaves of all T rounds together, and b N_k the sampling of rows. The posterior mean of theta*
(Wiener filter, weighted least squares) is reached by

    theta - eta J^-1 (sum_k W_k G_k + theta / prior),  W_k = N_k V_k^-1,
    J = diag(1 / prior) + sum_k W_k N_k

Pure; everything enters as public numbers. Matrix products may differ in their last bits between
processors, so a step is recomputed within one step of the recorded grid, never bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import blas, cho_factor, cho_solve, lapack
from scipy.special import erf

from dao.errors import TaskError
from rounds.step import PUBLIC

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SPREAD_SHARE = 0.2
"""Share of a contributor's rows that may lie anywhere, whatever its histogram says (tuned on
held-out seeds)."""
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
_BLOCK, _TILE = 2_000, 64
"""Rows of a product taken together, and of a triangle that is mirrored."""
_ROOT_TWO_PI = math.sqrt(2.0 * math.pi)


@dataclass(frozen=True)
class Landscape:
    """Public quantities that the rule follows from.

    Attributes:
        features: float64[n, d], psi of synthetic rows.
        cells: int64[n], the survey cell of each, below `cell_count`.
        cell_count: length of a survey.
        prior: float64[d], variance that each coefficient may have.
        spread: standard deviation of a residual.
        clip_norm: C.
        deviation: standard deviation that the noise of all training rounds together leaves in one
            contributor's mean update: sigma C / sqrt(T).
        survey_deviation: standard deviation of the noise in one count.
        units: N, how many units the task expects in all.
        public: float64[cell_count], public rows in each cell that the process was fitted to.
    """

    features: Floats
    cells: Ints
    cell_count: int
    prior: Floats
    spread: float
    clip_norm: float
    deviation: float
    survey_deviation: float
    units: int
    public: Floats


@dataclass(frozen=True)
class WienerRule:
    """The matrices of a task's steps.

    Attributes:
        sizes: float64[K], units that each contributor may have: those that its survey tells, and
            SIZE_DEVIATIONS deviations of the survey's noise.
        weights: W_k, float64[d, d] of each contributor, symmetric; one array serves many that are
            alike.
        noiseless: weight of the public rows' gradient, which bears no noise: 1 / b.
        precision: float64[d], 1 / prior.
        factor: Cholesky factor of D J D with D = diag(scale): well conditioned where J is not.
        scale: float64[d], sqrt(prior).
    """

    sizes: Floats
    weights: tuple[Floats, ...]
    noiseless: float
    precision: Floats
    factor: tuple[Floats, bool]
    scale: Floats

    def weigh(self, updates: Floats, voices: Sequence[int]) -> Floats:
        """float64[M, d]: W_k of each voice times its update float64[M, d]; PUBLIC has 1 / b."""
        weighed, named = np.empty_like(updates), np.array(voices, dtype=np.int64)
        order = np.argsort(named, kind="stable")
        starts = np.flatnonzero(np.diff(named[order], prepend=PUBLIC - 1))
        for rows in np.split(order, starts[1:]) if len(order) else ():
            voice = int(named[rows[0]])
            if voice == PUBLIC:
                weighed[rows] = self.noiseless * updates[rows]
            elif len(rows) == 1:
                # Half of the weight is read: this is as fast as memory is.
                weighed[rows[0]] = blas.dsymv(1.0, self.weights[voice].T, updates[rows[0]], lower=1)
            else:
                weighed[rows] = updates[rows] @ self.weights[voice]
        return weighed

    def direction(self, theta: Floats, weighed: Floats) -> Floats:
        """-J^-1 (weighed + theta / prior), to be added eta times to theta.

        The step is linear: the displacements of all contributors add up to theta's way.

        Args:
            theta, weighed: float64[d], and the sum of all updates as weighed; or float64[M, d], of
                M displacements and what moves each.
        """
        return -self.solve(self.precision * theta + weighed)

    def solve(self, right: Floats) -> Floats:
        """J^-1 of float64[d], or of each row of float64[M, d]."""
        solved: Floats = cho_solve(self.factor, (self.scale * right).T).T
        return self.scale * solved


def wiener_rule(landscape: Landscape, histograms: Floats) -> WienerRule:
    """The rule of a task, from its landscape and every contributor's survey.

    Args:
        histograms: float64[K, cell_count], noisy counts as released; all zeros of a contributor
            that sent none.

    Raises:
        TaskError: histograms of another shape, or that are not finite.
    """
    if histograms.ndim != 2 or histograms.shape[1] != landscape.cell_count:
        raise TaskError(
            f"surveys of shape {histograms.shape}, expected (contributors, {landscape.cell_count})"
        )
    if not np.isfinite(histograms).all():
        raise TaskError("a survey holds a number that is not finite")
    curvature, overall = _row_curvature(landscape)
    noise = landscape.deviation**2
    sampling = landscape.spread**2 * _variance_ratio(landscape)
    d = landscape.features.shape[1]
    scale = np.sqrt(landscape.prior)
    information = np.zeros((d, d))
    told = expected_counts(landscape, histograms)
    rows_in_cell = np.maximum(_present(landscape), 1)
    # Contributors whose survey says nothing are alike: one matrix serves them all.
    distinct, whose, times = np.unique(told, axis=0, return_inverse=True, return_counts=True)
    weights: list[Floats] = []
    for counts, many in zip(distinct, times, strict=True):
        expected = (counts / rows_in_cell)[landscape.cells]
        curve = _weighted_gram(landscape.features, expected * curvature)
        curve *= 1.0 - SPREAD_SHARE
        curve += SPREAD_SHARE * float(counts.sum()) * overall
        weight = _weight(curve, noise=noise, sampling=sampling)
        weights.append(weight)
        # W N = (V - 2 a I + a^2 V^-1) / b^2, and a V^-1 = I - b W.
        curve -= noise * weight
        curve *= float(many) / sampling
        information += curve
    information *= damping(landscape, histograms, told)
    scaled = scale[:, None] * information * scale[None, :]
    scaled[np.diag_indices(d)] += 1.0
    return WienerRule(
        sizes=_sizes(landscape, histograms, told),
        weights=tuple(weights[place] for place in whose.reshape(-1)),
        noiseless=1.0 / sampling,
        precision=1.0 / landscape.prior,
        factor=cho_factor(scaled, lower=True),
        scale=scale,
    )


def expected_counts(landscape: Landscape, histograms: Floats) -> Floats:
    """float64[K, cell_count]: how many units each contributor is taken to have in each cell.

    Counts lost in the survey's noise are dropped. Who told nothing that can be heard is taken to
    have its share of N units, everywhere alike.
    """
    present = _present(landscape)
    heard = _heard(landscape, histograms)
    counts: Floats = np.where(heard, np.maximum(histograms, 0.0), 0.0)
    everywhere = landscape.units / len(histograms) * present / present.sum()
    counts[counts.sum(axis=1) <= 0.0] = everywhere
    totals = counts.sum(axis=1)
    held: Floats = counts * (_held(totals, float(landscape.units)) / totals)[:, None]
    return held


def _sizes(landscape: Landscape, histograms: Floats, told: Floats) -> Floats:
    """float64[K]: who told nothing is not larger than the least that told something."""
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
    return loud & (_present(landscape) > 0)


def _shares(counts: Floats) -> Floats:
    shares: Floats = counts / counts.sum()
    return shares


def _present(landscape: Landscape) -> npt.NDArray[np.int64]:
    """int64[cell_count]: how many synthetic rows lie in each cell."""
    return np.bincount(landscape.cells, minlength=landscape.cell_count)


def _row_curvature(landscape: Landscape) -> tuple[Floats, Floats]:
    """float64[n]: probability that a row's gradient passes the clip, where it still pulls in
    proportion to its residual; and float64[d, d], the mean curvature of all synthetic rows."""
    norms = np.sqrt((landscape.features * landscape.features).sum(axis=1))
    reach = landscape.clip_norm / (landscape.spread * np.maximum(norms, 1e-12))
    passing: Floats = erf(reach / math.sqrt(2.0))
    return passing, _weighted_gram(landscape.features, passing / len(norms))


def _variance_ratio(landscape: Landscape) -> float:
    """Variance of a clipped standard normal over the probability that it passes, at the median
    row: E[min(z^2, c^2)] / P(|z| < c)."""
    norm = float(np.median(np.sqrt((landscape.features * landscape.features).sum(axis=1))))
    c = landscape.clip_norm / (landscape.spread * max(norm, 1e-12))
    passing = float(erf(c / math.sqrt(2.0)))
    density = math.sqrt(2.0 / math.pi) * math.exp(-0.5 * c * c)
    return (passing - c * density + c * c * (1.0 - passing)) / passing


def _weighted_gram(features: Floats, weights: Floats) -> Floats:
    """float64[d, d]: sum of w psi psi^T over rows of weight above 0."""
    rows = np.flatnonzero(weights > 0)
    gram = np.zeros((features.shape[1], features.shape[1]))
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        scaled = features[block] * np.sqrt(weights[block])[:, None]
        gram += scaled.T @ scaled
    return gram


def _weight(curve: Floats, *, noise: float, sampling: float) -> Floats:
    """N V^-1 = (I - a V^-1) / b of V = a I + b N, N being `curve`."""
    covariance = sampling * curve
    covariance[np.diag_indices(len(curve))] += noise
    # One array all the way: a thousand contributors have as many, of a megabyte each.
    factor, failed = lapack.dpotrf(covariance.T, lower=1, overwrite_a=1)
    inverse, singular = lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed or singular:
        raise TaskError("the curvature of a survey is not positive definite")
    weight: Floats = np.ascontiguousarray(inverse.T)  # its lower triangle is not filled in
    for start in range(0, len(weight), _TILE):
        tile = slice(start, start + _TILE)
        weight[tile, :start] = weight[:start, tile].T
        weight[tile, tile] = np.triu(weight[tile, tile]) + np.triu(weight[tile, tile], 1).T
    weight *= -(noise / sampling)
    weight[np.diag_indices(len(weight))] += 1.0 / sampling
    return weight
