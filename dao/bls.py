# SPDX-License-Identifier: Apache-2.0
"""BLS12-381 signatures: proof-of-possession ciphersuite, keys in G1, signatures in G2.

Ciphersuite ``BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_`` (draft-irtf-cfrg-bls-signature-05).
Messages are 32 bytes, always a hash that binds chain, contract, task, place and purpose. Bytes
are compressed (48 a key, 96 a signature); the chain wants EIP-2537's encoding (128 and 256).

Two backends keep to the same contract and the same tests: `dao.bls_fast` (arkworks, used here)
and `dao.bls_reference` (py_ecc, slow and plain). Of both:

- a secret key is 32 bytes, big endian, of 1 to r - 1, else KeyFileError;
- infinity, points off the curve or outside the subgroup, other lengths and other spellings of a
  point are refused: False where a signature is verified, RecordError where bytes are converted;
- a message that is not 32 bytes is a fault of the program: ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence

from dao import bls_fast
from dao.bls_fast import (
    aggregate,
    aggregate_keys,
    fast_aggregate_verify,
    from_eip2537_g1,
    from_eip2537_g2,
    is_public_key,
    is_signature,
    prove_possession,
    public_key,
    sign,
    to_eip2537_g1,
    to_eip2537_g2,
    verify,
    verify_possession,
)

__all__ = [
    "Signed",
    "aggregate",
    "aggregate_keys",
    "fast_aggregate_verify",
    "from_eip2537_g1",
    "from_eip2537_g2",
    "is_public_key",
    "is_signature",
    "prove_possession",
    "public_key",
    "sign",
    "to_eip2537_g1",
    "to_eip2537_g2",
    "verify",
    "verify_many",
    "verify_possession",
]

Signed = tuple[bytes, bytes, bytes]
"""Public key (48), message (32), signature (96)."""


def verify_many(signed: Sequence[Signed]) -> list[bool]:
    """Which of the signatures are valid, in order.

    All are checked in one go with secret random weights (a false one passes with a chance of
    2^-128); if that fails, each half for itself, so that k bad ones of n cost k log n checks.
    """
    if len(signed) < 2:
        return [verify(*triple) for triple in signed]
    if bls_fast.verify_all(signed):
        return [True] * len(signed)
    half = len(signed) // 2
    return verify_many(signed[:half]) + verify_many(signed[half:])
