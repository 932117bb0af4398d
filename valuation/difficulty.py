# SPDX-License-Identifier: Apache-2.0
"""How hard a row is to value, as far as the public rows tell: what residuals are divided by.

The public process knows how uncertain it is at any row: little where public rows are near and
alike, much in corners that they do not reach. Training lowers that uncertainty and roughly keeps
its order, so residuals of the trained model divided by it are nearly alike everywhere, and one
distribution of them serves all rows. Where the target is linear, errors also grow with the price.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from dao.records import Target
from valuation.covariance import Hyperparameters, covariance
from valuation.encode import Encoded, target_to_value
from valuation.process import PublicProcess
from valuation.schema import Floats, Ints

MAX_ANCHORS = 600
"""At most so many public rows are looked at, evenly spaced: a row costs their number squared."""
_LEAST_SPREAD = 1e-3
_LEAST_ERROR = 0.02
"""Added to standardised errors before their logarithm is taken."""
_USUAL_ELASTICITY, _ELASTICITY_SPREAD = 0.75, 0.25
"""Of errors in the price, before the public rows speak: between alike and proportional."""
_MOST = (0.02, 0.98)
"""Quantiles of the values within which errors are taken to grow."""
_CHUNK = 2_000
_BLOCK = 32
_KEPT = 4
"""So many are kept, of the families that were asked for last: each takes up to 3 MB."""


@dataclass(frozen=True)
class Elasticity:
    """Errors are proportional to (value / typical)^power, with values held within `ends`."""

    power: float
    typical: float
    ends: tuple[float, float]

    def of(self, values: Floats) -> Floats:
        """float64[n]: the factor at each value in the target's unit."""
        if self.power == 0.0:
            return np.ones(len(values))
        factor: Floats = (np.clip(values, *self.ends) / self.typical) ** self.power
        return factor


INELASTIC = Elasticity(power=0.0, typical=1.0, ends=(1.0, 1.0))


@dataclass(frozen=True)
class Difficulty:
    """What it takes to say how hard rows are; follows from the set-up blob and the target alone.

    Attributes:
        target: of the task.
        process: the public process; None where there is none: then all rows are equally hard.
        kept: int64[a], the anchors looked at.
        factor: float64[a, a], lower Cholesky factor of their covariance with noise.
        elasticity: how errors grow with the predicted value.
        spread: robust spread of the anchors' leave-one-out residuals over what they are divided
            by; about 1 where the process is right.
        anchors: float64[a], difficulty of each anchor to the others.
    """

    target: Target
    process: PublicProcess | None
    kept: Ints
    factor: Floats
    elasticity: Elasticity
    spread: float
    anchors: Floats

    @classmethod
    def of(cls, process: PublicProcess | None, target: Target) -> Difficulty:
        """From the `process` of a family; computed once, in tens of milliseconds, and then kept."""
        if process is None:
            nobody = np.zeros(0, dtype=np.int64)
            return cls(target, None, nobody, np.zeros((0, 0)), INELASTIC, 1.0, np.zeros(0))
        return _of_process(process, target)

    def of_rows(self, rows: Encoded) -> Floats:
        """float64[n], above 0, on the standardised target: `spread` times the deviation that the
        process predicts for a sale like each row, noise included; 1 without a process."""
        process, count = self.process, len(rows.attributes)
        result = np.ones(count)
        if process is None:
            return result
        known = process.attributes[self.kept], process.locations[self.kept]
        for start in range(0, count, _CHUNK):
            block = slice(start, start + _CHUNK)
            own = process.scaled(rows.attributes[block]), rows.locations[block]
            across = covariance(process.hyper, *own, *known)
            explained = solve_triangular(self.factor, across.T, lower=True, overwrite_b=True)
            left = _own_variance(process.hyper, *own) - (explained * explained).sum(axis=0)
            result[block] = self.spread * np.sqrt(np.maximum(left, 0.0) + process.hyper.noise)
        return result

    def at(self, base: Floats, prediction: Floats) -> Floats:
        """float64[n]: difficulty of rows with `base` = `of_rows` for which the trained model
        predicts `prediction`, float64[n], standardised."""
        return base * self.elasticity.of(target_to_value(self.target, prediction))


@lru_cache(maxsize=_KEPT)
def _of_process(process: PublicProcess, target: Target) -> Difficulty:
    count = len(process.alpha)
    kept = np.unique(np.linspace(0, count - 1, min(count, MAX_ANCHORS)).astype(np.int64))
    rows = process.attributes[kept], process.locations[kept]
    # alpha = (K + noise I)^-1 target, over all anchors.
    known = process.to_anchors(*rows) @ process.alpha
    known = known + process.hyper.noise * process.alpha[kept]
    k = covariance(process.hyper, *rows, *rows)
    k[np.diag_indices(len(kept))] += process.hyper.noise
    factor = cholesky(k, lower=True)
    inverse_factor = solve_triangular(factor, np.eye(len(kept)), lower=True)
    # Leave-one-out: Rasmussen and Williams (2006), equations 5.10 to 5.12.
    variance = 1.0 / (inverse_factor * inverse_factor).sum(axis=0)
    residual = variance * (inverse_factor.T @ (inverse_factor @ known))
    standardised = np.abs(residual) / np.sqrt(variance)
    values = target_to_value(target, known - residual)
    elasticity = fit_elasticity(target, values, standardised)
    factors = elasticity.of(values)
    spread = 1.4826 * float(np.median(standardised / factors))
    spread = max(spread, _LEAST_SPREAD)
    anchors = spread * np.sqrt(variance) * factors
    return Difficulty(target, process, kept, factor, elasticity, spread, anchors)


def fit_elasticity(target: Target, values: Floats, standardised: Floats) -> Elasticity:
    """By how many per cent errors grow where the value is one per cent higher: least squares of
    logs, drawn to the usual .75 by what the rows leave open, held within 0 and 1. None on the log
    scale, where errors are shares of the price already, nor where values may be 0 or less.

    Args:
        values: float64[n], in the target's unit, predicted for public rows without themselves.
        standardised: float64[n], their absolute errors over the deviation expected.
    """
    if target.scale == "log" or target.lower_micro <= 0:
        return INELASTIC
    least, most = np.quantile(values, _MOST).tolist()
    held = np.log(np.clip(values, least, most))
    typical = float(held.mean())
    away, errors = held - typical, np.log(standardised + _LEAST_ERROR)
    power = float(away @ away)
    certainty = power / max(float(errors.var()), _LEAST_ERROR)
    prior = 1.0 / _ELASTICITY_SPREAD**2
    slope = float(away @ errors) / power if power > 0.0 else 0.0
    found = (certainty * slope + prior * _USUAL_ELASTICITY) / (certainty + prior)
    return Elasticity(min(max(found, 0.0), 1.0), float(np.exp(typical)), (least, most))


def _own_variance(hyper: Hyperparameters, attributes: Floats, locations: Floats) -> Floats:
    """float64[n]: the covariance of each row with itself."""
    result = np.empty(len(attributes))
    for start in range(0, len(result), _BLOCK):
        block = slice(start, start + _BLOCK)
        own = attributes[block], locations[block]
        result[block] = np.diagonal(covariance(hyper, *own, *own))
    return result
