# SPDX-License-Identifier: Apache-2.0
"""Where Gaussian noise comes from.

`SecureNoise` is what a vault uses: AES-256 in counter mode, keyed by the operating system.
`SeededNoise` is the same generator with a chosen key, for simulation and tests; receipts say so
(`DpEvent.seeded`). `public_gaussian` is noise that everybody can recompute: it plays the noise
players against which scores are measured, and never protects anything.

A private sample is made of four random words (Holohan and Braghin, "Secure Random Sampling in
Differential Privacy", 2021, as Opacus' secure mode does): from one released value the attack on
floating-point normals (Mironov 2012) would have to search the space of three, 2^156. The grid to
which updates are rounded after the noise hides the remaining low bits.

The four give two normals by Box and Muller, whose sum over sqrt(2) is the sample. The two normals
that Box and Muller make of one pair of words add up to sqrt(2) times such a normal, turned by 45
degrees, so this is half the sum of four normals at half the price. NumPy's logarithm and tangent
run on vectors; the inverse normal, which `public_gaussian` keeps since everybody must get the same,
takes three times as long.
"""

from __future__ import annotations

import hashlib
import os
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray
from scipy.special import ndtri

from privacy.aligned import LINE, aligned

_BLOCK = 8192
"""Samples made at once: their words stay in the cache."""
_UNIFORM_SCALE = 2.0**-53
_ONE = np.uint64(0x3FF0_0000_0000_0000)
"""The bits of 1.0."""
_SPARE = 15
"""Bytes beyond the end that a block cipher's output buffer must have."""
_ZEROS = memoryview(bytes(8 * _BLOCK))
"""What is encrypted, so that the key stream itself comes out."""


class NoiseSource(Protocol):
    """Standard normal samples; each call goes on where the last one ended."""

    @property
    def seeded(self) -> bool:
        """True where someone else could draw the same samples again."""
        ...

    def gaussian(self, n: int) -> NDArray[np.float64]:
        """float64[n]: independent samples of N(0, 1)."""
        ...


class _AesNoise:
    """AES-256-CTR key streams, read as little-endian 64-bit words.

    Stream k is the key stream from counter k 2^120 on. Streams 1 to 4 give the four words of each
    normal sample, stream 0 the uniform ones.
    """

    def __init__(self, key: bytes) -> None:
        # One cipher that is set to the counter of each stream in turn: to make one costs more than
        # the samples that a short vector takes from it.
        self._cipher = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
        self._normals_drawn = 0
        self._uniforms_drawn = 0
        self._room = 0

    def gaussian(self, n: int) -> NDArray[np.float64]:
        """n samples sqrt(-ln u_1) cos(pi v_3) + sqrt(-ln u_2) cos(pi v_4) with v = 2 u - 1; u_k is
        an odd multiple of 2^-53 from the next word of stream k."""
        result = np.empty(n)
        for first in range(0, n, _BLOCK):
            self._fill(result[first : first + _BLOCK])
        return result

    def _fill(self, out: NDArray[np.float64]) -> None:
        n = len(out)
        radii, angles = self._uniform_pairs(n)
        np.log(radii, out=radii)
        np.negative(radii, out=radii)
        np.sqrt(radii, out=radii)
        # cos(2 x) = 2 / (1 + tan(x)^2) - 1 with x = pi (u - 1/2).
        angles -= 0.5
        angles *= np.pi
        np.tan(angles, out=angles)
        angles *= angles
        angles += 1.0
        np.divide(2.0, angles, out=angles)
        angles -= 1.0
        angles *= radii
        np.add(angles[0, :n], angles[1, :n], out=out)

    def _uniform_pairs(self, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """float64[2, m] of streams 1 and 2 and float64[2, m] of streams 3 and 4, of which the first
        n columns count, in one buffer that is kept. Every row of it begins on a cache line."""
        room = -(-n // LINE) * LINE
        if room != self._room:
            self._make_room(room)
        zeros = _ZEROS[: 8 * n]
        for stream in range(1, 5):
            self._set_to(stream, self._normals_drawn)
            # Streams write a little beyond their end, where the next one writes after them.
            first = 8 * room * (stream - 1)
            self._cipher.update_into(zeros, self._bytes[first : first + 8 * n + _SPARE])
        self._normals_drawn += n
        self._bits >>= np.uint64(12)
        # As the digits of a number in [1, 2): exact, and faster than to convert and scale.
        self._bits |= _ONE
        self._uniform -= 1.0 - _UNIFORM_SCALE
        return self._uniform[:2], self._uniform[2:]

    def _make_room(self, room: int) -> None:
        """One buffer for a row of `room` words from each stream, as bytes, integers and floats."""
        self._room = room
        words = aligned(4 * room + LINE)
        self._bytes = words.data.cast("B")
        self._bits = words[: 4 * room].view("<u8").reshape(4, room)
        self._uniform = self._bits.view("<f8")

    def _set_to(self, stream: int, word: int) -> None:
        """Makes a stream's word the next one that the cipher gives."""
        block, odd = divmod(word, 2)
        self._cipher.reset_nonce(bytes([stream]) + block.to_bytes(15, "big"))
        if odd:
            self._cipher.update(bytes(8))

    def uniform(self, n: int) -> NDArray[np.float64]:
        """n independent multiples of 2^-53 from (0, 1], from the next n words of stream 0."""
        self._set_to(0, self._uniforms_drawn)
        words = np.frombuffer(self._cipher.update(bytes(8 * n)), dtype="<u8")
        self._uniforms_drawn += n
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
    """float64[n]: samples of N(0, 1) that follow from `seed`: SHAKE-256(seed), 8 bytes a sample.

    A word w (little endian) gives u = (2 (w >> 12) + 1) 2^-53 and the sample Phi^-1(u).
    """
    return _normals(hashlib.shake_256(seed).digest(8 * n))


def _normals(words: bytes) -> NDArray[np.float64]:
    """One normal from each 8 bytes. u is an odd multiple of 2^-53: exact, symmetric about 1/2 and
    never 0 or 1 (an even one could round to 1, an infinite sample)."""
    index = np.frombuffer(words, dtype="<u8") >> np.uint64(12)
    uniform = (2.0 * index.astype(np.float64) + 1.0) * _UNIFORM_SCALE
    return np.asarray(ndtri(uniform), dtype=np.float64)
