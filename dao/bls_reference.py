# SPDX-License-Identifier: Apache-2.0
"""BLS signatures over py_ecc: slow, plain, what `dao.bls_fast` is held equal to.

The contract is in `dao.bls`. A verification takes half a second here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from py_ecc.bls.ciphersuites import G2ProofOfPossession as Suite
from py_ecc.bls.g2_primitives import (
    G1_to_pubkey,
    G2_to_signature,
    pubkey_to_G1,
    signature_to_G2,
    subgroup_check,
)
from py_ecc.bls.typing import G1Uncompressed, G2Uncompressed
from py_ecc.fields import optimized_bls12_381_FQ as FQ
from py_ecc.fields import optimized_bls12_381_FQ2 as FQ2
from py_ecc.optimized_bls12_381.optimized_curve import (
    Z1,
    Z2,
    add,
    b,
    b2,
    curve_order,
    field_modulus,
    is_inf,
    is_on_curve,
    normalize,
)

from dao.errors import KeyFileError, RecordError


def public_key(secret_key: bytes) -> bytes:
    """48 bytes: the compressed G1 point of a secret key."""
    return bytes(Suite.SkToPk(_secret(secret_key)))


def sign(secret_key: bytes, message: bytes) -> bytes:
    """96 bytes: the compressed G2 signature of a message."""
    return bytes(Suite.Sign(_secret(secret_key), _checked(message)))


def prove_possession(secret_key: bytes, message: bytes) -> bytes:
    """96 bytes: a signature under the tag of proofs of possession, good for nothing else."""
    # py_ecc's PopProve signs the key's own bytes; ours binds account, chain and registry too
    return bytes(Suite._CoreSign(_secret(secret_key), _checked(message), Suite.POP_TAG))


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is the key's signature of `message`."""
    return fast_aggregate_verify([key], message, signature)


def verify_possession(key: bytes, message: bytes, proof: bytes) -> bool:
    """Whether `proof` proves possession of the key over `message`."""
    _checked(message)
    if not is_public_key(key) or not is_signature(proof):
        return False
    return bool(Suite._CoreVerify(key, message, proof, Suite.POP_TAG))  # type: ignore[arg-type]


def fast_aggregate_verify(keys: Sequence[bytes], message: bytes, signature: bytes) -> bool:
    """Whether `signature` is the aggregate of all the keys' signatures of one message."""
    _checked(message)
    if not all(map(is_public_key, keys)) or not is_signature(signature):
        return False
    return bool(Suite.FastAggregateVerify(list(keys), message, signature))  # type: ignore[arg-type]


def verify_many(signed: Sequence[tuple[bytes, bytes, bytes]]) -> list[bool]:
    """Which of the signatures (key, message, signature) are valid, in order."""
    return [verify(*triple) for triple in signed]


def aggregate(signatures: Sequence[bytes]) -> bytes:
    """The sum of at least one signature; RecordError for a bad one or if they cancel out."""
    if not signatures:
        raise RecordError("no signatures to aggregate, expected at least one")
    total = Z2
    for signature in signatures:
        total = add(total, _g2(signature))
    if is_inf(total):
        raise RecordError("the signatures cancel each other out")
    return bytes(G2_to_signature(total))


def aggregate_keys(keys: Sequence[bytes]) -> bytes:
    """The sum of at least one public key; RecordError for a bad one or if they cancel out."""
    if not keys:
        raise RecordError("no public keys to aggregate, expected at least one")
    total = Z1
    for key in keys:
        total = add(total, _g1(key))
    if is_inf(total):
        raise RecordError("the public keys cancel each other out")
    return bytes(G1_to_pubkey(total))


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
    x, y = normalize(_g1(key))
    return b"".join(int(value).to_bytes(64, "big") for value in (x, y))


def to_eip2537_g2(signature: bytes) -> bytes:
    """256 bytes (x.c0, x.c1, y.c0, y.c1, each in 64) of a compressed signature."""
    x, y = normalize(_g2(signature))
    return b"".join(int(value).to_bytes(64, "big") for value in (*x.coeffs, *y.coeffs))


def from_eip2537_g1(data: bytes) -> bytes:
    """The compressed public key of 128 bytes."""
    x, y = _elements(data, count=2)
    point = (FQ(x), FQ(y), FQ(1))
    if not is_on_curve(point, b) or not subgroup_check(point):
        raise RecordError("not a point of G1")
    return bytes(G1_to_pubkey(point))


def from_eip2537_g2(data: bytes) -> bytes:
    """The compressed signature of 256 bytes."""
    x0, x1, y0, y1 = _elements(data, count=4)
    point = (FQ2([x0, x1]), FQ2([y0, y1]), FQ2.one())
    if not is_on_curve(point, b2) or not subgroup_check(point):
        raise RecordError("not a point of G2")
    return bytes(G2_to_signature(point))


def _secret(secret_key: bytes) -> int:
    # the messages must not repeat the key
    number = int.from_bytes(secret_key, "big")
    if len(secret_key) != 32 or number >= curve_order:
        raise KeyFileError("not a BLS secret key: expected 32 bytes below r")
    if number == 0:
        raise KeyFileError("not a BLS secret key: it is zero")
    return number


def _checked(message: bytes) -> bytes:
    if len(message) != 32:
        raise ValueError(f"a message has 32 bytes, got {len(message)}")
    return message


def _g1(key: bytes) -> G1Uncompressed:
    point: G1Uncompressed = _point(key, length=48, decode=pubkey_to_G1, what="public key")
    return point


def _g2(signature: bytes) -> G2Uncompressed:
    point: G2Uncompressed = _point(signature, length=96, decode=signature_to_G2, what="signature")
    return point


def _point(data: bytes, *, length: int, decode: Any, what: str) -> Any:
    """py_ecc's decoding is strict about the spelling; the subgroup is ours to check."""
    if len(data) != length:
        raise RecordError(f"not a BLS {what}: {len(data)} bytes, expected {length}")
    try:
        point = decode(data)
    except ValueError as error:
        raise RecordError(f"not a BLS {what}: {error}") from error
    if is_inf(point) or not subgroup_check(point):
        raise RecordError(f"not a BLS {what}: infinity, or not in the subgroup")
    return point


def _elements(data: bytes, *, count: int) -> list[int]:
    if len(data) != 64 * count:
        raise RecordError(f"an EIP-2537 point of {len(data)} bytes, expected {64 * count}")
    numbers = [int.from_bytes(data[start : start + 64], "big") for start in range(0, len(data), 64)]
    if any(number >= field_modulus for number in numbers):
        raise RecordError("an EIP-2537 point with a number beyond the field")
    return numbers
