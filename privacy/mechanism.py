# SPDX-License-Identifier: Apache-2.0
"""The Gaussian mechanism: from a clipped sum to the bytes that leave the vault."""

from __future__ import annotations

import math

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


def clip_norm(policy: PrivacyPolicy) -> float:
    """C, in units of the loss gradient."""
    return policy.clip_norm_nano / 1e9


def noise_deviation(policy: PrivacyPolicy) -> float:
    """sigma * C: the standard deviation of the noise in each coordinate."""
    return (policy.noise_multiplier_micro / 1e6) * clip_norm(policy)


def update_grid_bits(policy: PrivacyPolicy) -> int:
    """Smallest b with 2^-b <= sigma C / 256: rounding adds under 1e-5 of the variance."""
    return math.ceil(math.log2(STEPS_PER_DEVIATION / noise_deviation(policy)))


def to_grid(values: NDArray[np.float64], *, bits: int) -> NDArray[np.int64]:
    """Round half to even onto the grid 2^-bits; what is beyond the range takes its nearest end.

    Saturating is post-processing of what is already private; an error here would tell of data.
    """
    scaled = np.rint(np.ldexp(values, bits))
    # The largest double below 2^62.
    edge = float(LIMIT - 512)
    return np.clip(scaled, -edge, edge).astype(np.int64)


def private_update(
    total: NDArray[np.float64], policy: PrivacyPolicy, *, grid_bits: int, noise: NoiseSource
) -> bytes:
    """Add N(0, (sigma C)^2) to each coordinate of the clipped sum and round to the grid.

    Returns d little-endian int64. With `total` of sensitivity C this is (1/sigma)-Gaussian DP for
    adding or removing one unit. TaskError where the grid is coarser than the noise allows, or so
    fine that it hides nothing.
    """
    deviation = noise_deviation(policy)
    least = update_grid_bits(policy)
    if not least <= grid_bits <= least + SPARE_BITS:
        raise TaskError(
            f"update_grid_bits is {grid_bits}, expected {least} to {least + SPARE_BITS}"
            f" for a noise deviation of {deviation}"
        )
    if total.ndim != 1 or not np.isfinite(total).all():
        raise TaskError("the clipped sum is not one finite vector, as privacy.engine returns it")
    noisy = total + deviation * noise.gaussian(len(total))
    return to_grid(noisy, bits=grid_bits).astype("<i8").tobytes()
