# SPDX-License-Identifier: Apache-2.0
"""Noise: its distribution, and its exact samples against a second implementation."""

from __future__ import annotations

import hashlib
from statistics import NormalDist

import numpy as np
import pytest
from Crypto.Cipher import AES
from Crypto.Util import Counter
from scipy import stats

from privacy.noise import SecureNoise, SeededNoise, public_gaussian


def _normals(words: bytes) -> list[float]:
    """As docs/spec/privacy.md says, with Python's own inverse normal."""
    return [
        NormalDist().inv_cdf((2 * (int.from_bytes(words[i : i + 8], "little") >> 12) + 1) / 2**53)
        for i in range(0, len(words), 8)
    ]


def test_seeded_samples_are_those_of_the_specification() -> None:
    key = hashlib.sha256(b"a seed").digest()
    stream = AES.new(key, AES.MODE_CTR, counter=Counter.new(128, initial_value=0))
    normals = _normals(stream.encrypt(bytes(8 * 4 * 50)))
    expected = [sum(normals[i : i + 4]) / 2 for i in range(0, 200, 4)]
    assert SeededNoise(b"a seed").gaussian(50) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_public_samples_are_those_of_the_specification() -> None:
    expected = _normals(hashlib.shake_256(b"public").digest(800))
    assert public_gaussian(b"public", 100) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_source_goes_on_where_it_stopped() -> None:
    parts = SeededNoise(b"s")
    whole = SeededNoise(b"s").gaussian(10)
    assert np.array_equal(np.concatenate((parts.gaussian(3), parts.gaussian(7))), whole)


@pytest.mark.parametrize("source", [SeededNoise(b"distribution"), SecureNoise()])
def test_samples_are_standard_normal(source: SeededNoise | SecureNoise) -> None:
    samples = source.gaussian(200_000)
    # One chance in 10^6 that an honest generator fails.
    assert stats.kstest(samples, "norm").pvalue > 1e-6
    assert abs(np.corrcoef(samples[:-1], samples[1:])[0, 1]) < 0.012
    assert np.isfinite(samples).all()


def test_secure_noise_never_repeats_and_says_that_it_is_not_seeded() -> None:
    first, second = SecureNoise(), SecureNoise()
    assert not np.intersect1d(first.gaussian(100), second.gaussian(100)).size
    assert not first.seeded
    assert SeededNoise(b"").seeded


def test_extreme_words_give_finite_symmetric_samples() -> None:
    from privacy.noise import _normals as fast

    low, high = fast(bytes(8))[0], fast(b"\xff" * 8)[0]
    assert low == -high
    assert 8.0 < high < 8.5
