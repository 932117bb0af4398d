# SPDX-License-Identifier: Apache-2.0
"""BLS signatures over arkworks' curve operations; the contract is in `dao.bls`."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from dao.errors import KeyFileError, RecordError

SIGNATURE_TAG = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
POSSESSION_TAG = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
KEY_BYTES = 48
SIGNATURE_BYTES = 96
MESSAGE_BYTES = 32
_FIELD_BYTES = 48
_PAD = bytes(16)
"""EIP-2537 writes a field element of 48 bytes in 64."""
_WEIGHT_BITS = 128


def public_key(secret_key: bytes) -> bytes:
    """48 bytes: the compressed G1 point of a secret key."""
    return (G1Point() * _secret(secret_key)).to_compressed_bytes()


def sign(secret_key: bytes, message: bytes) -> bytes:
    """96 bytes: the compressed G2 signature of a message."""
    return (_hash(message, SIGNATURE_TAG) * _secret(secret_key)).to_compressed_bytes()


def prove_possession(secret_key: bytes, message: bytes) -> bytes:
    """96 bytes: a signature under the tag of proofs of possession, good for nothing else."""
    return (_hash(message, POSSESSION_TAG) * _secret(secret_key)).to_compressed_bytes()


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is the key's signature of `message`."""
    return _verify([key], _hash(message, SIGNATURE_TAG), signature)


def verify_possession(key: bytes, message: bytes, proof: bytes) -> bool:
    """Whether `proof` proves possession of the key over `message`."""
    return _verify([key], _hash(message, POSSESSION_TAG), proof)


def fast_aggregate_verify(keys: Sequence[bytes], message: bytes, signature: bytes) -> bool:
    """Whether `signature` is the aggregate of all the keys' signatures of one message. Safe only
    for keys whose possession was proved. No keys: False."""
    return _verify(keys, _hash(message, SIGNATURE_TAG), signature)


def verify_all(signed: Sequence[tuple[bytes, bytes, bytes]]) -> bool:
    """Whether all signatures (key, message, signature) are valid; see `dao.bls.verify_many`."""
    keys, points = [-G1Point()], [G2Point.identity()]
    for key, message, signature in signed:
        weight = Scalar(secrets.randbits(_WEIGHT_BITS) | 1)
        hashed = _hash(message, SIGNATURE_TAG)
        try:
            keys.append(_g1(key) * weight)
            points[0] = points[0] + _g2(signature) * weight
        except RecordError:
            return False
        points.append(hashed)
    return GT.pairing_check(keys, points)


def aggregate(signatures: Sequence[bytes]) -> bytes:
    """The sum of at least one signature; RecordError for a bad one or if they cancel out."""
    if not signatures:
        raise RecordError("no signatures to aggregate, expected at least one")
    total = G2Point.identity()
    for signature in signatures:
        total = total + _g2(signature)
    if total == G2Point.identity():
        raise RecordError("the signatures cancel each other out")
    return total.to_compressed_bytes()


def aggregate_keys(keys: Sequence[bytes]) -> bytes:
    """The sum of at least one public key; RecordError for a bad one or if they cancel out."""
    if not keys:
        raise RecordError("no public keys to aggregate, expected at least one")
    total = _key_sum(keys)
    if total == G1Point.identity():
        raise RecordError("the public keys cancel each other out")
    return total.to_compressed_bytes()


def is_public_key(key: bytes) -> bool:
    """Whether the bytes are a valid public key."""
    try:
        _g1(key)
    except RecordError:
        return False
    return True


def is_signature(signature: bytes) -> bool:
    """Whether the bytes are a signature's point, of whatever message."""
    try:
        _g2(signature)
    except RecordError:
        return False
    return True


def to_eip2537_g1(key: bytes) -> bytes:
    """128 bytes (x, y, each in 64) of a compressed public key."""
    return _spread(_g1(key).to_xy_bytes_be())


def to_eip2537_g2(signature: bytes) -> bytes:
    """256 bytes (x.c0, x.c1, y.c0, y.c1, each in 64) of a compressed signature."""
    return _spread(_g2(signature).to_xy_bytes_be())


def from_eip2537_g1(data: bytes) -> bytes:
    """The compressed public key of 128 bytes."""
    coordinates = _gather(data, elements=2)
    try:
        point = G1Point.from_xy_bytes_be(coordinates)
    except ValueError as error:
        raise RecordError(f"not a point of G1: {error}") from error
    if point == G1Point.identity():
        raise RecordError("the public key is the point at infinity")
    return point.to_compressed_bytes()


def from_eip2537_g2(data: bytes) -> bytes:
    """The compressed signature of 256 bytes."""
    coordinates = _gather(data, elements=4)
    try:
        point = G2Point.from_xy_bytes_be(coordinates)
    except ValueError as error:
        raise RecordError(f"not a point of G2: {error}") from error
    if point == G2Point.identity():
        raise RecordError("the signature is the point at infinity")
    return point.to_compressed_bytes()


def _verify(keys: Sequence[bytes], hashed: G2Point, signature: bytes) -> bool:
    if not keys:
        return False
    try:
        key = _key_sum(keys)
        point = _g2(signature)
    except RecordError:
        return False
    if key == G1Point.identity():
        return False
    return GT.pairing_check([key, -G1Point()], [hashed, point])


def _key_sum(keys: Sequence[bytes]) -> G1Point:
    total = G1Point.identity()
    for key in keys:
        total = total + _g1(key)
    return total


def _secret(secret_key: bytes) -> Scalar:
    # the messages must not repeat the key
    try:
        scalar = Scalar.from_be_bytes(secret_key)
    except ValueError:
        raise KeyFileError("not a BLS secret key: expected 32 bytes below r") from None
    if scalar.is_zero():
        raise KeyFileError("not a BLS secret key: it is zero")
    return scalar


def _hash(message: bytes, tag: bytes) -> G2Point:
    if len(message) != MESSAGE_BYTES:
        raise ValueError(f"a message has {MESSAGE_BYTES} bytes, got {len(message)}")
    return G2Point.hash_to_curve(message, tag)


def _g1(data: bytes) -> G1Point:
    """A key's point, on the curve and in the subgroup. Arkworks reads several spellings of
    infinity and takes no notice; comparing the bytes does."""
    try:
        point = G1Point.from_compressed_bytes(data)
    except ValueError as error:
        raise RecordError(f"not a BLS public key: {error}") from error
    if point == G1Point.identity() or point.to_compressed_bytes() != data:
        raise RecordError("not a BLS public key: infinity, or not its one spelling")
    return point


def _g2(data: bytes) -> G2Point:
    try:
        point = G2Point.from_compressed_bytes(data)
    except ValueError as error:
        raise RecordError(f"not a BLS signature: {error}") from error
    if point == G2Point.identity() or point.to_compressed_bytes() != data:
        raise RecordError("not a BLS signature: infinity, or not its one spelling")
    return point


def _spread(coordinates: bytes) -> bytes:
    starts = range(0, len(coordinates), _FIELD_BYTES)
    return b"".join(_PAD + coordinates[start : start + _FIELD_BYTES] for start in starts)


def _gather(data: bytes, *, elements: int) -> bytes:
    if len(data) != 64 * elements:
        raise RecordError(f"an EIP-2537 point of {len(data)} bytes, expected {64 * elements}")
    parts = [data[start : start + 64] for start in range(0, len(data), 64)]
    if any(part[:16] != _PAD for part in parts):
        raise RecordError("an EIP-2537 point with bytes in its padding")
    return b"".join(part[16:] for part in parts)
