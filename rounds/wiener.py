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
from scipy.linalg import blas, cho_factor, cho_solve, lapack
from scipy.special import erf

from dao.errors import TaskError
from rounds.landscape import Floats, Landscape
from rounds.step import PUBLIC
from rounds.surveys import damping, expected_counts, most_units

SPREAD_SHARE = 0.2
"""Share of a contributor's rows that may lie anywhere, whatever its histogram says (tuned on
held-out seeds)."""
_BLOCK, _TILE = 2_000, 64
"""Rows of a product taken together, and of a triangle that is mirrored."""


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
    rows_in_cell = np.maximum(landscape.present, 1)
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
        sizes=most_units(landscape, histograms, told),
        weights=tuple(weights[place] for place in whose.reshape(-1)),
        noiseless=1.0 / sampling,
        precision=1.0 / landscape.prior,
        factor=cho_factor(scaled, lower=True),
        scale=scale,
    )


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
