# SPDX-License-Identifier: Apache-2.0
"""Noise: its distribution, and its exact samples against a second implementation."""

from __future__ import annotations

import hashlib
import math
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


def _words(key: bytes, stream: int, count: int) -> list[int]:
    """The first words of a key stream, its counter starting at stream * 2^120."""
    cipher = AES.new(key, AES.MODE_CTR, counter=Counter.new(128, initial_value=stream << 120))
    drawn = cipher.encrypt(bytes(8 * count))
    return [int.from_bytes(drawn[i : i + 8], "little") for i in range(0, 8 * count, 8)]


def test_seeded_samples_are_those_of_the_specification() -> None:
    key = hashlib.sha256(b"a seed").digest()
    u = [[(2 * (w >> 12) + 1) / 2**53 for w in _words(key, k, 50)] for k in (1, 2, 3, 4)]
    expected = [
        math.sqrt(-math.log(a)) * math.cos(math.pi * (2 * c - 1))
        + math.sqrt(-math.log(b)) * math.cos(math.pi * (2 * d - 1))
        for a, b, c, d in zip(*u, strict=True)
    ]
    assert SeededNoise(b"a seed").gaussian(50) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_uniform_samples_are_those_of_the_specification_whatever_normals_were_drawn() -> None:
    key = hashlib.sha256(b"a seed").digest()
    source = SeededNoise(b"a seed")
    source.gaussian(7)
    expected = [((w >> 11) + 1) / 2**53 for w in _words(key, 0, 20)]
    assert source.uniform(20).tolist() == expected


def test_public_samples_are_those_of_the_specification() -> None:
    expected = _normals(hashlib.shake_256(b"public").digest(800))
    assert public_gaussian(b"public", 100) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_source_goes_on_where_it_stopped() -> None:
    parts = SeededNoise(b"s")
    whole = SeededNoise(b"s").gaussian(10_000)
    drawn = [parts.gaussian(n) for n in (3, 0, 9000, 997)]
    assert np.array_equal(np.concatenate(drawn), whole)


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


def test_extreme_words_give_finite_symmetric_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    from privacy.noise import _normals as fast

    low, high = fast(bytes(8))[0], fast(b"\xff" * 8)[0]
    assert low == -high
    assert 8.0 < high < 8.5

    class Constant:
        def __init__(self, radius: bytes, angle: bytes) -> None:
            self.bytes = {1: radius, 2: radius, 3: angle, 4: angle}

        def reset_nonce(self, counter: bytes) -> None:
            self.byte = self.bytes[counter[0]]

        def update_into(self, data: bytes, out: memoryview) -> None:
            out[: len(data)] = self.byte * len(data)

    found = []
    for radius in (b"\x00", b"\xff"):
        for angle in (b"\x00", b"\x7f", b"\xff"):
            source = SeededNoise(b"")
            monkeypatch.setattr(source, "_cipher", Constant(radius, angle))
            found.append(float(source.gaussian(1)[0]))
    assert found[0] == found[2] == pytest.approx(-2.0 * math.sqrt(53 * math.log(2.0)))
    assert found[1] == pytest.approx(-found[0], rel=1e-3)
    assert np.abs(found[3:]).max() < 1e-6
