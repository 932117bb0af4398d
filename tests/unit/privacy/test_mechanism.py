# SPDX-License-Identifier: Apache-2.0
"""The Gaussian mechanism: how much noise, on which grid, and what never gets out."""

from __future__ import annotations

import numpy as np
import pytest

from dao.errors import TaskError
from privacy.mechanism import LIMIT, Release, least_grid_bits, private_update, to_grid
from privacy.noise import SecureNoise, SeededNoise

DEVIATION = 4.5
BITS = least_grid_bits(DEVIATION)


def _release(length: int, *, bits: int = BITS) -> Release:
    return Release(length=length, sensitivity=1.5, deviation=DEVIATION, grid_bits=bits)


def _values(update: bytes) -> np.ndarray:
    return np.frombuffer(update, dtype="<i8") * 2.0**-BITS


def test_noise_is_sigma_times_clip_norm_around_the_sum() -> None:
    total = np.linspace(-50, 50, 100_000)
    noise = _values(private_update(total, _release(100_000), noise=SecureNoise())) - total
    assert noise.std() == pytest.approx(4.5, rel=0.01)
    assert abs(noise.mean()) < 0.08
    assert abs(np.corrcoef(noise, total)[0, 1]) < 0.02


def test_the_grid_is_256_times_finer_than_the_noise_and_not_finer_than_needed() -> None:
    assert 2.0**-BITS <= DEVIATION / 256 < 2.0 ** -(BITS - 1)
    with pytest.raises(TaskError, match="update_grid_bits"):
        private_update(np.zeros(3), _release(3, bits=BITS - 1), noise=SeededNoise(b""))


def test_a_grid_so_fine_that_it_shows_the_low_bits_of_floats_is_refused() -> None:
    assert private_update(np.zeros(3), _release(3, bits=BITS + 4), noise=SeededNoise(b""))
    with pytest.raises(TaskError, match="update_grid_bits"):
        private_update(np.zeros(3), _release(3, bits=BITS + 5), noise=SeededNoise(b""))


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, second = (
        private_update(np.ones(9), _release(9), noise=SeededNoise(b"x")) for _ in range(2)
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
        private_update(np.array([np.nan]), _release(1), noise=SeededNoise(b""))


def test_a_sum_of_another_length_is_refused() -> None:
    with pytest.raises(TaskError, match="vector of 3"):
        private_update(np.zeros(4), _release(3), noise=SeededNoise(b""))
