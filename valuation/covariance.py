# SPDX-License-Identifier: Apache-2.0
"""The covariance function: a linear part, a Matern 5/2 on the attributes (one length per
attribute), two Matern 3/2 on the location, and the product of both kinds.

Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), chapters 4 and 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from valuation.schema import Floats

_TINY = 1e-10
"""Added to squared distances: the square root then has a slope at zero."""
_ROWS = 64
"""Rows whose values are worked out together: those of 2,000 others then fit a cache."""


@dataclass(frozen=True)
class Hyperparameters:
    """Of the covariance function.

    Attributes:
        amplitudes: variances of linear, attribute, and with a location of the two location
            kernels and the product: float64[5], else float64[2].
        noise: variance of an observation around the function.
        location_lengths: float64[3] in scaled location units (two location kernels, product);
            float64[0] without location.
        attribute_lengths: float64[a] in standardised units, shared by attribute and product.
    """

    amplitudes: Floats
    noise: float
    location_lengths: Floats
    attribute_lengths: Floats

    @property
    def located(self) -> bool:
        """Whether the function reads locations."""
        return len(self.location_lengths) > 0

    def to_logs(self) -> Floats:
        """Logarithms in one vector: amplitudes, noise, location lengths, attribute lengths."""
        noise = np.array([self.noise])
        parts = [self.amplitudes, noise, self.location_lengths, self.attribute_lengths]
        logs: Floats = np.log(np.concatenate(parts))
        return logs

    @classmethod
    def from_logs(cls, logs: Floats, *, located: bool) -> Hyperparameters:
        """The inverse of `to_logs`."""
        values = np.exp(logs)
        size, lengths = (5, 3) if located else (2, 0)
        return cls(
            amplitudes=values[:size],
            noise=float(values[size]),
            location_lengths=values[size + 1 : size + 1 + lengths],
            attribute_lengths=values[size + 1 + lengths :],
        )

    @classmethod
    def default(cls, attributes: int, *, located: bool) -> Hyperparameters:
        """The centre of the prior: most of the variance in the smooth parts, noise 0.15.

        Lengths grow with the root of the number of attributes, as distances do.
        """
        return cls(
            amplitudes=np.array([0.2, 0.5, 0.15, 0.15, 0.3] if located else [0.2, 0.5]),
            noise=0.15,
            location_lengths=np.array([1.0, 0.2, 1.0] if located else []),
            attribute_lengths=np.full(attributes, 3.0 * max(1.0, math.sqrt(attributes / 12.0))),
        )


def squared_distances(a: Floats, b: Floats) -> Floats:
    """float64[n, m] of squared Euclidean distances between the rows of [n, p] and [m, p]."""
    products = a @ b.T
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :]
    squared: Floats = np.maximum(squares - 2.0 * products, 0.0)
    return squared


def matern32(squared: Floats) -> Floats:
    """Matern 3/2 of each squared scaled distance (Rasmussen and Williams 2006, equation 4.17)."""
    r = _scaled_root(squared, 3.0)
    decay = np.negative(r)
    np.exp(decay, out=decay)
    r += 1.0
    r *= decay
    return r


def matern52(squared: Floats) -> Floats:
    """Matern 5/2 of each squared scaled distance (Rasmussen and Williams 2006, equation 4.17)."""
    r = _scaled_root(squared, 5.0)
    decay = np.negative(r)
    np.exp(decay, out=decay)
    third = r * r
    third /= 3.0
    r += 1.0
    r += third
    r *= decay
    return r


def _scaled_root(squared: Floats, factor: float) -> Floats:
    root: Floats = squared + _TINY
    root *= factor
    np.sqrt(root, out=root)
    return root


def covariance(
    hyper: Hyperparameters,
    attributes: Floats,
    locations: Floats,
    other_attributes: Floats,
    other_locations: Floats,
) -> Floats:
    """float64[n, m]: covariance of the function between rows [n] and other rows [m].

    Args:
        attributes, other_attributes: float64[n, a], float64[m, a], standardised.
        locations, other_locations: float64[n, 2 or 0], float64[m, 2 or 0], in scaled units.
    """
    result = np.empty((len(attributes), len(other_attributes)))
    for start in range(0, len(attributes), _ROWS):
        rows = slice(start, start + _ROWS)
        result[rows] = _covariance(
            hyper, attributes[rows], locations[rows], other_attributes, other_locations
        )
    return result


def _covariance(
    hyper: Hyperparameters,
    attributes: Floats,
    locations: Floats,
    other_attributes: Floats,
    other_locations: Floats,
) -> Floats:
    size = max(attributes.shape[1], 1)
    s = hyper.amplitudes
    scaled, other = attributes / hyper.attribute_lengths, other_attributes / hyper.attribute_lengths
    attribute = matern52(squared_distances(scaled, other))
    result: Floats = s[0] * (attributes @ other_attributes.T + 1.0) / size
    if not hyper.located:
        result += s[1] * attribute
        return result
    distances = squared_distances(locations, other_locations)
    near, far, joint = (matern32(distances / length**2) for length in hyper.location_lengths)
    result += (s[1] + s[4] * joint) * attribute + s[2] * near + s[3] * far
    return result


def log_posterior_slope(
    logs: Floats, attributes: Floats, locations: Floats, target: Floats, *, located: bool
) -> tuple[float, Floats]:
    """Negative log of likelihood times prior of the hyperparameters, and its gradient.

    The prior is log-normal around `Hyperparameters.default`; constants are left out.

    Args:
        logs: `Hyperparameters.to_logs`.
        attributes: float64[n, a]. locations: float64[n, 2]. target: float64[n].

    Returns:
        The value and float64[len(logs)].
    """
    hyper = Hyperparameters.from_logs(logs, located=located)
    rows, size = len(target), max(attributes.shape[1], 1)
    s = hyper.amplitudes
    scaled = attributes / hyper.attribute_lengths
    r = np.sqrt(5.0 * (squared_distances(scaled, scaled) + _TINY))
    decay = np.exp(-r)
    attribute = (1.0 + r + r * r / 3.0) * decay
    attribute_slope = -(5.0 / 6.0) * (1.0 + r) * decay  # by the squared distance
    linear = (attributes @ attributes.T + 1.0) / size
    parts = [linear, attribute]
    slopes: list[tuple[Floats, Floats]] = []
    if located:
        distances = squared_distances(locations, locations)
        for length in hyper.location_lengths:
            squared = distances / length**2
            r = np.sqrt(3.0 * (squared + _TINY))
            decay = np.exp(-r)
            parts.append((1.0 + r) * decay)
            slopes.append((squared, -1.5 * decay))
        joint = parts[4]
        parts[4] = attribute * joint
    k = sum((a * part for a, part in zip(s, parts, strict=True)), np.zeros((rows, rows)))
    k[np.diag_indices(rows)] += hyper.noise + 1e-6
    factor = np.linalg.cholesky(k)
    inverse_factor = np.linalg.solve(factor, np.eye(rows))
    inverse = inverse_factor.T @ inverse_factor
    alpha = inverse @ target
    weight = 0.5 * (inverse - np.outer(alpha, alpha))  # d value / d K

    center = Hyperparameters.default(attributes.shape[1], located=located).to_logs()
    width = np.ones_like(logs)
    width[: len(s)], width[len(s)] = 1.5, 0.7
    value = 0.5 * float(target @ alpha) + float(np.log(np.diag(factor)).sum())
    value += float((((logs - center) / width) ** 2).sum()) / 2.0

    slope = (logs - center) / width**2
    for i, part in enumerate(parts):
        slope[i] += s[i] * float((weight * part).sum())
    slope[len(s)] += hyper.noise * float(np.trace(weight))
    across = s[1] * attribute_slope
    if located:
        scales = (s[2], s[3], s[4] * attribute)
        for i, ((squared, by_square), scale) in enumerate(zip(slopes, scales, strict=True)):
            slope[len(s) + 1 + i] += float((weight * scale * by_square * -2.0 * squared).sum())
        across = across + s[4] * joint * attribute_slope
    m = weight * across
    by_length = (m.sum(axis=1)[:, None] * scaled**2).sum(axis=0) - (scaled * (m @ scaled)).sum(
        axis=0
    )
    slope[len(logs) - attributes.shape[1] :] += -4.0 * by_length
    return value, slope


def fit_hyperparameters(
    attributes: Floats, locations: Floats, target: Floats, *, iterations: int = 100
) -> Hyperparameters:
    """Maximum a posteriori by Adam (Kingma and Ba 2015) with a falling step.

    A fixed, small number of iterations from the prior's centre also acts as early stopping.
    """
    located = locations.shape[1] > 0
    logs = Hyperparameters.default(attributes.shape[1], located=located).to_logs()
    first, second = np.zeros_like(logs), np.zeros_like(logs)
    limit = math.log(1e4)
    for t in range(1, iterations + 1):
        _, slope = log_posterior_slope(logs, attributes, locations, target, located=located)
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        rate = 0.07 * (1.0 - 0.8 * (t - 1) / iterations)
        step = (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        logs = np.clip(logs - rate * step, -limit, limit)
    return Hyperparameters.from_logs(logs, located=located)
