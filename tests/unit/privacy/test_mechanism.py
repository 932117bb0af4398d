# SPDX-License-Identifier: Apache-2.0
"""The Gaussian mechanism: how much noise, on which grid, and what never gets out."""

from __future__ import annotations

import numpy as np
import pytest

from dao.errors import TaskError
from dao.records import PrivacyPolicy
from privacy.mechanism import LIMIT, noise_deviation, private_update, to_grid, update_grid_bits
from privacy.noise import SecureNoise, SeededNoise

POLICY = PrivacyPolicy(
    mechanism="gaussian-full-batch",
    clip_norm_nano=1_500_000_000,
    noise_multiplier_micro=3_000_000,
    rounds=30,
    delta_e12=10_000_000,
    epsilon_micro=8_000_000,
    public_n=1000,
)
BITS = update_grid_bits(POLICY)


def _values(update: bytes) -> np.ndarray:
    return np.frombuffer(update, dtype="<i8") * 2.0**-BITS


def test_noise_is_sigma_times_clip_norm_around_the_sum() -> None:
    total = np.linspace(-50, 50, 100_000)
    noise = _values(private_update(total, POLICY, grid_bits=BITS, noise=SecureNoise())) - total
    assert noise.std() == pytest.approx(4.5, rel=0.01)
    assert abs(noise.mean()) < 0.08
    assert abs(np.corrcoef(noise, total)[0, 1]) < 0.02


def test_the_grid_is_256_times_finer_than_the_noise_and_not_finer_than_needed() -> None:
    assert 2.0**-BITS <= noise_deviation(POLICY) / 256 < 2.0 ** -(BITS - 1)
    with pytest.raises(TaskError, match="update_grid_bits"):
        private_update(np.zeros(3), POLICY, grid_bits=BITS - 1, noise=SeededNoise(b""))


def test_a_grid_so_fine_that_it_shows_the_low_bits_of_floats_is_refused() -> None:
    assert private_update(np.zeros(3), POLICY, grid_bits=BITS + 4, noise=SeededNoise(b""))
    with pytest.raises(TaskError, match="update_grid_bits"):
        private_update(np.zeros(3), POLICY, grid_bits=BITS + 5, noise=SeededNoise(b""))


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, second = (
        private_update(np.ones(9), POLICY, grid_bits=BITS, noise=SeededNoise(b"x"))
        for _ in range(2)
    )
    assert first == second
    assert len(first) == 9 * 8


def test_rounding_is_half_to_even_and_saturates() -> None:
    on_grid = to_grid(np.array([0.5, 1.5, 2.5, -0.5, -1.5, 1e300, -1e300]), bits=0)
    assert on_grid[:5].tolist() == [0, 2, 2, 0, -2]
    assert LIMIT - 1024 < int(on_grid[5]) < LIMIT
    assert int(on_grid[6]) == -int(on_grid[5])


def test_a_sum_that_is_not_finite_is_refused() -> None:
    with pytest.raises(TaskError, match="finite"):
        private_update(np.array([np.nan]), POLICY, grid_bits=BITS, noise=SeededNoise(b""))
