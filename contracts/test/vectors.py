# SPDX-License-Identifier: Apache-2.0
"""Writes contracts/test/vectors.json: BLS12-381 vectors of py_ecc for BLS12381.t.sol.

Run as ``python contracts/test/vectors.py``; ``--check`` fails if the committed file differs.
Points are encoded as EIP-2537 does: each coordinate 64 bytes big-endian, G1 as x, y and G2 as
x.c0, x.c1, y.c0, y.c1.
"""

import json
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from py_ecc.bls.ciphersuites import G2ProofOfPossession
from py_ecc.bls.g2_primitives import pubkey_to_G1, signature_to_G2
from py_ecc.bls.hash import expand_message_xmd
from py_ecc.bls.hash_to_curve import hash_to_G2, map_to_curve_G2
from py_ecc.fields import optimized_bls12_381_FQ as FQ
from py_ecc.fields import optimized_bls12_381_FQ2 as FQ2
from py_ecc.optimized_bls12_381.optimized_curve import (
    b,
    curve_order,
    is_inf,
    is_on_curve,
    multiply,
    normalize,
)

VECTORS = Path(__file__).with_name("vectors.json")
SIGNATURE_DST = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
POSSESSION_DST = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
RANDOM_SECRET = 0x263DBD792F5B1BE47ED85F8938C0F29586AF0D3AC7B977F21C278FE1462040E3
SECRETS = (1, 2, curve_order - 1, RANDOM_SECRET)
# py_ecc annotates a hash function as a hash object.
SHA256: Any = sha256


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _coordinates(values: Sequence[Any]) -> str:
    return _hex(b"".join(int(value).to_bytes(64, "big") for value in values))


def encode_g1(point: Any) -> str:
    """A G1 point as 128 bytes in hex."""
    x, y = normalize(point)
    return _coordinates((x, y))


def encode_g2(point: Any) -> str:
    """A G2 point as 256 bytes in hex."""
    x, y = normalize(point)
    return _coordinates((*x.coeffs, *y.coeffs))


def g1_outside_subgroup() -> str:
    """The curve point with the least x that does not have the order of the subgroup."""
    modulus = FQ.field_modulus
    for x in range(1, 100):
        square = (x**3 + 4) % modulus
        y = pow(square, (modulus + 1) // 4, modulus)
        point = (FQ(x), FQ(y), FQ(1))
        if y * y % modulus == square and not is_inf(multiply(point, curve_order)):
            if not is_on_curve(point, b):
                raise AssertionError("the square root is wrong")
            return encode_g1(point)
    raise AssertionError("no point outside of the subgroup below x = 100")


def g2_outside_subgroup() -> str:
    """A mapped point whose cofactor was not cleared."""
    point = map_to_curve_G2(FQ2((1, 2)))
    if is_inf(multiply(point, curve_order)):
        raise AssertionError("the point happens to lie in the subgroup")
    return encode_g2(point)


def build() -> dict[str, Any]:
    """All vectors, in columns."""
    messages = [sha256(bytes([i])).digest() for i in range(len(SECRETS))]
    keys = [G2ProofOfPossession.SkToPk(secret) for secret in SECRETS]
    signed = [
        signature_to_G2(G2ProofOfPossession.Sign(secret, message))
        for secret, message in zip(SECRETS, messages, strict=True)
    ]
    # The ciphersuite's own proof signs the key; ours signs a message, so multiply by hand.
    possessed = [
        multiply(hash_to_G2(message, POSSESSION_DST, SHA256), secret)
        for secret, message in zip(SECRETS, messages, strict=True)
    ]
    joint = [G2ProofOfPossession.Sign(secret, messages[0]) for secret in (SECRETS[0], SECRETS[3])]
    return {
        "secrets": [_hex(secret.to_bytes(32, "big")) for secret in SECRETS],
        "messages": [_hex(message) for message in messages],
        "publicKeys": [encode_g1(pubkey_to_G1(key)) for key in keys],
        "expanded": [_hex(expand_message_xmd(m, SIGNATURE_DST, 256, SHA256)) for m in messages],
        "hashes": [encode_g2(hash_to_G2(m, SIGNATURE_DST, SHA256)) for m in messages],
        "signatures": [encode_g2(point) for point in signed],
        "possessions": [encode_g2(point) for point in possessed],
        "jointSignature": encode_g2(signature_to_G2(G2ProofOfPossession.Aggregate(joint))),
        "g1OutsideSubgroup": g1_outside_subgroup(),
        "g2OutsideSubgroup": g2_outside_subgroup(),
    }


def main() -> None:
    """Writes or checks the file."""
    text = json.dumps(build(), indent=1, sort_keys=True) + "\n"
    if "--check" not in sys.argv[1:]:
        VECTORS.write_text(text)
    elif VECTORS.read_text() != text:
        sys.exit(f"{VECTORS} does not follow from vectors.py; run it without --check")


if __name__ == "__main__":
    main()
