# SPDX-License-Identifier: Apache-2.0
"""Whether the public rows bear out the curved part of a fitted covariance.

Where prices are plain sums of their columns, a few hundred rows leave the posterior of the
amplitudes flat, and its top lies where curves follow the noise: a ridge regression then predicts
better. So the same covariance with its curved terms at a quarter is tried beside it, and is taken
where it predicts the public rows, each left out once, not clearly worse. A quarter, not zero:
contributors' rows may still show curves that the public ones do not.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from valuation.covariance import Hyperparameters, covariance
from valuation.schema import Floats

CURVED = 0.25
"""What is left of the amplitudes of all terms but the linear one."""
_NOISES = np.exp(np.linspace(0.0, 1.5, 13))
"""Multiples of the noise that are tried with it: it takes over what curves no longer follow."""


def quieter_if_hardly_worse(
    hyper: Hyperparameters, attributes: Floats, locations: Floats, target: Floats
) -> Hyperparameters:
    """`hyper`, or it with quieter curves and more noise where that predicts hardly worse: by less
    than the standard error of the difference.

    Args:
        attributes: float64[n, a], scaled. locations: float64[n, 2 or 0]. target: float64[n].
    """
    quiet = hyper.amplitudes.copy()
    quiet[1:] *= CURVED
    trials = [replace(hyper, amplitudes=quiet, noise=hyper.noise * more) for more in _NOISES]
    rows = (attributes, locations, target)
    densities = left_out_densities(trials, *rows)
    best = int(np.argmax(densities.sum(axis=1)))
    lost = left_out_densities([hyper], *rows)[0] - densities[best]
    error = float(np.std(lost, ddof=1)) * math.sqrt(len(lost))
    return trials[best] if float(lost.sum()) <= error else hyper


def left_out_densities(
    trials: list[Hyperparameters], attributes: Floats, locations: Floats, target: Floats
) -> Floats:
    """float64[trials, n]: log density of each row, predicted from all others (Rasmussen and
    Williams 2006, equations 5.10 to 5.12). The trials differ in their noise alone."""
    k = covariance(trials[0], attributes, locations, attributes, locations)
    values, vectors = np.linalg.eigh(k)
    turned = vectors.T @ target
    found = np.empty((len(trials), len(target)))
    for i, trial in enumerate(trials):
        inverse = 1.0 / (values + trial.noise)
        precision = (vectors * vectors) @ inverse  # diagonal of the inverse
        residual = (vectors @ (inverse * turned)) / precision
        found[i] = 0.5 * (np.log(precision / (2.0 * np.pi)) - residual**2 * precision)
    return found
