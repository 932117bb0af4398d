# SPDX-License-Identifier: Apache-2.0
"""The Gaussian mechanism: from a private sum to the bytes that leave the vault."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dao.errors import TaskError
from dao.records import PrivacyPolicy
from privacy.noise import NoiseSource

LIMIT = 1 << 62
"""Recorded integers lie strictly between -LIMIT and LIMIT."""
STEPS_PER_DEVIATION = 256
"""A task's update grid is at least this many times finer than the noise."""
SPARE_BITS = 4
"""How much finer still it may be: a much finer grid would show the low bits of the floats, which
the rounding is there to hide."""


@dataclass(frozen=True)
class Release:
    """What one update is.

    Attributes:
        length: numbers in it.
        sensitivity: Euclidean norm by which one unit can move the sum before noise.
        deviation: standard deviation of the noise in each coordinate.
        grid_bits: it is rounded to the grid 2^-grid_bits.
    """

    length: int
    sensitivity: float
    deviation: float
    grid_bits: int


def clip_norm(policy: PrivacyPolicy) -> float:
    """C, in units of the loss gradient."""
    return policy.clip_norm_nano / 1e9


def noise_deviation(policy: PrivacyPolicy) -> float:
    """sigma * C: the standard deviation of the noise in each coordinate of one clipped sum."""
    return (policy.noise_multiplier_micro / 1e6) * clip_norm(policy)


def least_grid_bits(deviation: float) -> int:
    """Smallest b with 2^-b <= deviation / 256: rounding adds under 1e-5 of the variance."""
    return math.ceil(math.log2(STEPS_PER_DEVIATION / deviation))


def to_grid(values: NDArray[np.float64], *, bits: int) -> NDArray[np.int64]:
    """int64 of the same shape: values rounded half to even onto the grid 2^-bits; what is beyond
    the range takes its nearest end.

    Saturating is post-processing of what is already private; an error here would tell of data.
    """
    scaled = np.rint(np.ldexp(values, bits))
    # The largest double below 2^62.
    edge = float(LIMIT - 512)
    return np.clip(scaled, -edge, edge).astype(np.int64)


def private_update(total: NDArray[np.float64], release: Release, *, noise: NoiseSource) -> bytes:
    """Add N(0, deviation^2) to each coordinate of a sum and round to the grid.

    Returns `length` little-endian int64. With `total` of the release's sensitivity this is
    (sensitivity / deviation)-Gaussian DP for adding or removing one unit. TaskError where the grid
    is coarser than the noise allows, or so fine that it hides nothing.
    """
    _check_total(total, release)
    return encode_update(total + release.deviation * noise.gaussian(release.length), release)


def encode_update(noisy: NDArray[np.float64], release: Release) -> bytes:
    """Bytes of a sum that holds the release's noise already; errors as `private_update`."""
    _check_total(noisy, release)
    least = least_grid_bits(release.deviation)
    if not least <= release.grid_bits <= least + SPARE_BITS:
        raise TaskError(
            f"update_grid_bits is {release.grid_bits}, expected {least} to {least + SPARE_BITS}"
            f" for a noise deviation of {release.deviation}"
        )
    return to_grid(noisy, bits=release.grid_bits).astype("<i8").tobytes()


def _check_total(total: NDArray[np.float64], release: Release) -> None:
    if total.shape != (release.length,) or not np.isfinite(total).all():
        raise TaskError(
            f"the sum of shape {total.shape} is not one finite vector of {release.length} numbers"
        )
