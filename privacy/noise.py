# SPDX-License-Identifier: Apache-2.0
"""Where Gaussian noise comes from.

`SecureNoise` is what a vault uses: AES-256 in counter mode, keyed by the operating system.
`SeededNoise` is the same generator with a chosen key, for simulation and tests; receipts say so
(`DpEvent.seeded`). `public_gaussian` is noise that everybody can recompute: it plays the noise
players against which scores are measured, and never protects anything.

A private sample is the sum of four normals divided by 2 (Holohan and Braghin, "Secure Random
Sampling in Differential Privacy", 2021, as Opacus' secure mode does): from one released value the
attack on floating-point normals (Mironov 2012) would have to search the space of four. The grid
to which updates are rounded after the noise hides the remaining low bits.
"""

from __future__ import annotations

import hashlib
import os
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray
from scipy.special import ndtri

_SUMMANDS = 4
_UNIFORM_SCALE = 2.0**-53


class NoiseSource(Protocol):
    """Standard normal samples; each call goes on where the last one ended."""

    @property
    def seeded(self) -> bool:
        """True where someone else could draw the same samples again."""
        ...

    def gaussian(self, n: int) -> NDArray[np.float64]:
        """n independent samples of N(0, 1)."""
        ...


class _AesNoise:
    """AES-256-CTR key stream (counter from 0), read as little-endian 64-bit words."""

    def __init__(self, key: bytes) -> None:
        self._stream: CipherContext = Cipher(
            algorithms.AES256(key), modes.CTR(bytes(16))
        ).encryptor()

    def gaussian(self, n: int) -> NDArray[np.float64]:
        """n samples; sample i is half the sum of the normals 4i to 4i+3 of the stream."""
        words = self._stream.update(bytes(8 * _SUMMANDS * n))
        normals = _normals(words).reshape(n, _SUMMANDS)
        # Added one by one: the order of a reduction depends on the processor.
        return (normals[:, 0] + normals[:, 1] + normals[:, 2] + normals[:, 3]) / 2.0

    def uniform(self, n: int) -> NDArray[np.float64]:
        """n independent multiples of 2^-53 from (0, 1], from the next n words of the stream."""
        words = np.frombuffer(self._stream.update(bytes(8 * n)), dtype="<u8")
        return ((words >> np.uint64(11)).astype(np.float64) + 1.0) * _UNIFORM_SCALE


class SecureNoise(_AesNoise):
    """Noise that nobody can draw again: the key is 32 bytes of `os.urandom` and is not kept."""

    seeded = False

    def __init__(self) -> None:
        super().__init__(os.urandom(32))


class SeededNoise(_AesNoise):
    """The same generator with key SHA-256(seed). Simulation and tests only."""

    seeded = True

    def __init__(self, seed: bytes) -> None:
        super().__init__(hashlib.sha256(seed).digest())


def public_gaussian(seed: bytes, n: int) -> NDArray[np.float64]:
    """n samples of N(0, 1) that follow from `seed`: SHAKE-256(seed), 8 bytes a sample.

    A word w (little endian) gives u = (2 (w >> 12) + 1) 2^-53 and the sample Phi^-1(u).
    """
    return _normals(hashlib.shake_256(seed).digest(8 * n))


def _normals(words: bytes) -> NDArray[np.float64]:
    """One normal from each 8 bytes. u is an odd multiple of 2^-53: exact, symmetric about 1/2 and
    never 0 or 1 (an even one could round to 1, an infinite sample)."""
    index = np.frombuffer(words, dtype="<u8") >> np.uint64(12)
    uniform = (2.0 * index.astype(np.float64) + 1.0) * _UNIFORM_SCALE
    return np.asarray(ndtri(uniform), dtype=np.float64)
