# SPDX-License-Identifier: Apache-2.0
"""From the sum of noisy histograms to the distribution of errors: pure post-processing.

Three steps, all smooth in the counts, so that two processors agree to the last recorded digit:
the distribution of residual / difficulty over all rows; by how much that differs in width with
difficulty and by region, shrunk as far as the known noise demands (empirical Bayes, Robbins 1956);
and the distribution once every row is divided by its own width, whose quantiles are the interval.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import logsumexp

from dao.errors import InputError, ReplayMismatch
from dao.records import Calibrated, Calibration
from valuation.calibration import Layout, band_middles, centres_of, layout_of
from valuation.difficulty import Difficulty
from valuation.distribution import Distribution
from valuation.regions import region_of
from valuation.schema import MICRO, Floats

OPEN_MICRO = 1_000_000_000_000
"""A quantile in an open-ended bin: a million difficulties, which the task's bounds cut off."""
_LOG_SCALES = np.linspace(-1.2, 1.2, 97)
_SPREADS = np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45])
"""How much bands and regions may scatter (standard deviation of log width), equally likely
beforehand."""
_SLOPES = np.linspace(-1.0, 1.0, 41)
_SLOPE_SPREAD = 0.5
_LEAST_SHARE = 1e-9


def calibrate(
    calibration: Calibration,
    difficulty: Difficulty,
    counts: Floats,
    *,
    noise_variance: float,
) -> Calibrated:
    """What follows from the summed histograms of all contributors that count.

    Args:
        counts: float64[groups * bins], the exact sum of the releases.
        noise_variance: of each count: the sum over those contributors of deviation^2.

    Raises:
        InputError: counts of another length, or not finite.
    """
    layout, bins = layout_of(calibration), len(calibration.edges_micro) + 1
    if counts.shape != (calibration.groups * bins,) or not np.isfinite(counts).all():
        raise InputError(
            f"{counts.size} counts, expected {calibration.groups} groups of {bins} bins, all finite"
        )
    # A row counts 1/sqrt(tables) in each table.
    table = counts.reshape(calibration.groups, bins) * math.sqrt(layout.tables)
    variance = noise_variance * layout.tables
    edges = np.array(calibration.edges_micro) * MICRO
    units = max(float(table[0].sum()), 1.0)
    everyone = Distribution(edges, _rising(np.cumsum(table[0])[:-1] / units))

    bands, regions, widths, weights = _factors(layout, difficulty, table, variance, everyone)
    # With F the distribution over all rows and W the random width: F(t) = E F1(t / W). Of which
    # F1 = F + (F - E F(t / W)) is the solution but for terms of the fourth order in log W.
    mixed = (weights[:, None] * everyone.below(edges / widths[:, None])).sum(axis=0)
    own = _rising(2.0 * everyone.at_edges - mixed)
    tail = (1.0 - calibration.level_micro * MICRO) / 2.0
    # Split conformal: the ceil((n + 1) p)-th of n values covers one more with probability p.
    errors = Distribution(edges, own)
    return Calibrated(
        units=max(round(float(table[0].sum())), 0),
        band_micro=tuple(round(factor * 1e6) for factor in bands.tolist()),
        region_micro=tuple(round(factor * 1e6) for factor in regions.tolist()),
        cumulative_micro=tuple(round(share * 1e6) for share in own.tolist()),
        lower_micro=_micro_end(errors.quantile((tail * (units + 1.0) - 1.0) / units)),
        upper_micro=_micro_end(errors.quantile((1.0 - tail) * (units + 1.0) / units)),
    )


def check_calibrated(recorded: Calibrated, recomputed: Calibrated) -> None:
    """Compare; every number may differ by one step of its grid.

    Raises:
        ReplayMismatch: names the number that differs.
    """
    for name in Calibrated.model_fields:
        was, now = getattr(recorded, name), getattr(recomputed, name)
        was_all, now_all = (was, now) if isinstance(was, tuple) else ((was,), (now,))
        if len(was_all) != len(now_all) or any(
            abs(a - b) > 1 for a, b in zip(was_all, now_all, strict=True)
        ):
            raise ReplayMismatch(place=f"calibrated.{name}", recorded=str(was), recomputed=str(now))


def band_logs(difficulty: Difficulty, bands: Floats, difficulties: Floats) -> Floats:
    """float64[n]: log factor of each difficulty, from the logs float64[BANDS] in the middle of
    each band: linear in log difficulty between, constant beyond."""
    middles = band_middles(difficulty)
    if len(bands) == 0 or middles[-1] <= middles[0]:
        return np.zeros(len(difficulties))
    return np.interp(np.log(difficulties), middles, bands)


def _rising(shares: Floats) -> Floats:
    """The nearest shares (least squares) that rise from 0 to 1 (Hay et al. 2010)."""
    return np.clip(np.asarray(isotonic_regression(shares).x, dtype=np.float64), 0.0, 1.0)


def _micro_end(quantile: float) -> int:
    return round(max(-OPEN_MICRO, min(OPEN_MICRO, quantile * 1e6)))


def _factors(
    layout: Layout,
    difficulty: Difficulty,
    table: Floats,
    variance: float,
    everyone: Distribution,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Factor of each band, of each region, and all their products with weights."""
    bands, regions = np.zeros(layout.bands), np.zeros(layout.regions)
    logs, weights = np.zeros(1), np.ones(1)
    if layout.bands:
        rows = table[1 : 1 + layout.bands]
        middles = band_middles(difficulty)
        bands = _along(_log_likelihood(rows, variance, everyone), middles - middles.mean())
        logs, weights = bands, _shares(rows)
    if layout.regions:
        rows = table[1 + layout.bands :]
        usual = _usual_logs(layout, difficulty, bands)
        regions = _shrunk(_log_likelihood(rows, variance, everyone)) - usual
        share = _shares(rows)
        regions = regions - float((share * regions).sum())
        logs = (logs[:, None] + regions[None, :]).ravel()
        weights = (weights[:, None] * share[None, :]).ravel()
    return np.exp(bands), np.exp(regions), np.exp(logs), weights


def _usual_logs(layout: Layout, difficulty: Difficulty, bands: Floats) -> Floats:
    """float64[regions]: mean log factor that the bands give the public rows of each region."""
    centres, process = centres_of(layout, difficulty), difficulty.process
    if process is None or len(centres) == 0:
        return np.zeros(layout.regions)
    logs = band_logs(difficulty, bands, difficulty.anchors)
    region = region_of(centres, process.locations[difficulty.kept])
    total = np.bincount(region, weights=logs, minlength=layout.regions)
    return total / np.maximum(np.bincount(region, minlength=layout.regions), 1)


def _shares(rows: Floats) -> Floats:
    """Share of the units in each row of a table."""
    sizes = np.maximum(rows.sum(axis=1), 0.0)
    shares: Floats = (sizes + 1e-9) / (sizes + 1e-9).sum()
    return shares


def _log_likelihood(rows: Floats, variance: float, everyone: Distribution) -> Floats:
    """float64[rows, scales]: how well each row of counts fits the distribution of all rows,
    widened by each of `_LOG_SCALES`. Counts are taken as normal, with the variance of the noise
    plus that of drawing the units; a row's size is fitted (weighted least squares)."""
    inner = everyone.below(everyone.edges / np.exp(_LOG_SCALES)[:, None])
    ends = np.zeros((len(inner), 1)), np.ones((len(inner), 1))
    expected = np.maximum(np.diff(np.hstack([ends[0], inner, ends[1]]), axis=1), _LEAST_SHARE)
    plain = expected[len(_LOG_SCALES) // 2]
    result = np.empty((len(rows), len(_LOG_SCALES)))
    for i, row in enumerate(rows):
        spread = variance + np.maximum(max(float(row.sum()), 0.0) * plain, 1.0)
        size = (expected * row / spread).sum(axis=1) / (expected**2 / spread).sum(axis=1)
        misfit = row - np.maximum(size, 0.0)[:, None] * expected
        result[i] = -0.5 * (misfit**2 / spread).sum(axis=1)
    return result


def _along(likelihood: Floats, at: Floats) -> Floats:
    """float64[rows]: posterior mean of each row's log width, where widths rise by some slope along
    `at`, float64[rows], and scatter around that."""
    evidence, means = [], []
    for slope in _SLOPES:
        shifted = [
            np.interp(_LOG_SCALES + slope * a, _LOG_SCALES, row)
            for row, a in zip(likelihood, at, strict=True)
        ]
        found, mean = _scattered(np.array(shifted))
        evidence.append(found - 0.5 * (slope / _SLOPE_SPREAD) ** 2)
        means.append(mean + slope * at[:, None])
    weight = np.exp(np.array(evidence) - logsumexp(evidence))  # slopes x spreads
    posterior: Floats = (np.array(means) * weight[:, None, :]).sum(axis=(0, 2))
    return posterior


def _shrunk(likelihood: Floats) -> Floats:
    """float64[rows]: posterior mean of each row's log width, where widths scatter around 0."""
    evidence, means = _scattered(likelihood)
    posterior: Floats = (means * np.exp(evidence - logsumexp(evidence))).sum(axis=1)
    return posterior


def _scattered(likelihood: Floats) -> tuple[Floats, Floats]:
    """Log evidence of each spread, float64[spreads], and posterior mean of each row's log width
    with it, float64[rows, spreads]; log widths are normal around 0 with that spread."""
    prior = -0.5 * (_LOG_SCALES[None, :] / _SPREADS[:, None]) ** 2
    prior = prior - logsumexp(prior, axis=1, keepdims=True)
    joint = likelihood[:, None, :] + prior[None, :, :]  # rows x spreads x scales
    evidence = logsumexp(joint, axis=2)
    means = (np.exp(joint - evidence[:, :, None]) * _LOG_SCALES).sum(axis=2)
    return evidence.sum(axis=0), means
