# SPDX-License-Identifier: Apache-2.0
"""Poisson-sampled local steps: a round in which the contributor walks by itself for a while.

Each step takes every unit with the task's rate, all by chances of their own, adds up the clipped
gradients of those it took, and adds noise, also where it took none: whether a sample was empty
would otherwise show. Between steps the contributor's own model moves along what it has found, by
public numbers only. What leaves is the sum of the noisy sums, so the steps compose as
`privacy.subsampled` accounts for them.

They save messages, not privacy: at the same epsilon full batches learn more, and training can end
below where it starts (docs/spec/privacy.md, section 5; `covalue task forecast` warns of it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import nn

from dao.errors import TaskError
from dao.records import PrivacyPolicy
from privacy.engine import Engine
from privacy.mechanism import clip_norm, least_grid_bits, noise_deviation, to_grid
from privacy.noise import NoiseSource

Floats = NDArray[np.float64]


@runtime_checkable
class UniformSource(Protocol):
    """Where the chance of being sampled comes from; as secret as the noise, since the accounting
    counts on nobody knowing who was taken."""

    def uniform(self, n: int) -> Floats:
        """float64[n]: independent samples from (0, 1]."""
        ...


def sampled_update(
    module_at: Callable[[Floats], nn.Module],
    theta: Floats,
    inputs: Floats,
    targets: Floats,
    units: NDArray[np.int64],
    *,
    policy: PrivacyPolicy,
    max_rows: int,
    huber: float | None,
    noise: NoiseSource,
    random: UniformSource,
) -> Floats:
    """Sum over `policy.sampling.steps` local steps of their noisy clipped sums, float64[d].

    `module_at` gives the model at a theta float64[d]; what it computes is looked at once, and its
    gradients are clipped as `Engine` does, with inputs [n, p], targets [n], units [n] and the
    bounds `max_rows` and `huber`. A step's noise is N(0, (sigma C)^2) in each coordinate, and its
    sum is rounded to a grid of sigma C / 256 before anything follows from it. TaskError where the
    policy samples nothing.
    """
    sampling = policy.sampling
    if sampling is None:
        raise TaskError("the task has no sampled steps", hint="its rounds are full batches")
    rate = sampling.rate_micro / 1e6
    stride = (sampling.eta_micro / 1e6) / (rate * sampling.local_units)
    deviation = noise_deviation(policy)
    bits = least_grid_bits(deviation)
    engine = Engine(module_at(theta), inputs.shape[1])
    place = np.array(theta, dtype=np.float64)
    total = np.zeros_like(place)
    for _ in range(sampling.steps):
        rows = sampled_rows(units, rate, random)
        found = engine.clipped_sum(
            place,
            inputs[rows],
            targets[rows],
            units[rows],
            clip_norm=clip_norm(policy),
            max_rows=max_rows,
            huber=huber,
        )
        noisy = found + deviation * noise.gaussian(len(place))
        noisy = np.ldexp(to_grid(noisy, bits=bits).astype(np.float64), -bits)
        total += noisy
        place = place - stride * noisy
    return total


def sampled_rows(units: NDArray[np.int64], rate: float, random: UniformSource) -> NDArray[np.int64]:
    """int64[m]: rows, in file order, of a Poisson sample: each unit as a whole with probability
    `rate`, rounded down to 2^-53, whatever the others do.

    units: int64[n], equal for rows of one unit.
    """
    names, unit_of_row = np.unique(units, return_inverse=True)
    taken = random.uniform(len(names)) <= rate
    return np.flatnonzero(taken[unit_of_row])
