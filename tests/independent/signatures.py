# SPDX-License-Identifier: Apache-2.0
"""Signed messages and their signatures, docs/SPEC.md §3; curves by py_ecc."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from eth_utils import keccak
from py_ecc.bls import G2ProofOfPossession
from py_ecc.bls.g2_primitives import pubkey_to_G1, signature_to_G2, subgroup_check
from py_ecc.bls.hash_to_curve import hash_to_G2
from py_ecc.optimized_bls12_381 import (
    FQ2,
    FQ12,
    G1,
    add,
    b2,
    final_exponentiate,
    is_inf,
    is_on_curve,
    multiply,
    neg,
    pairing,
)
from py_ecc.secp256k1.secp256k1 import ecdsa_raw_recover

from tests.independent.canonical import canonical
from tests.independent.facts import Chain, Final, Stretch, must

DST = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
Signed = tuple[bytes, bytes, bytes]  # key, message, signature

_known: set[Signed] = set()


def forget() -> None:
    """Look at every signature anew."""
    _known.clear()


def _word(value: int | str | bytes) -> bytes:
    """abi.encode of a uint256, an address or a bytes32 in hex."""
    if isinstance(value, bytes):
        return value.rjust(32, b"\0")
    if isinstance(value, str):
        return bytes.fromhex(value.removeprefix("0x")).rjust(32, b"\0")
    return value.to_bytes(32, "big")


def _hash(*values: int | str | bytes) -> bytes:
    return keccak(b"".join(map(_word, values)))


def receipt_message(body: Any) -> bytes:
    """What a vault signs for a receipt."""
    return hashlib.sha256(b"covalue.receipt.v1\0" + canonical(body)).digest()


def checkpoint_message(chain: Chain, stretch: Stretch) -> bytes:
    """What vaults co-sign for a checkpoint."""
    return _hash(
        keccak(text="covalue.checkpoint.v1"),
        chain.chain_id,
        chain.ledger,
        chain.task_id,
        chain.task,
        stretch.index,
        stretch.first,
        stretch.last,
        stretch.root,
        stretch.model,
    )


def final_message(chain: Chain, final: Final) -> bytes:
    """What vaults co-sign for the result."""
    return _hash(
        keccak(text="covalue.final.v1"),
        chain.chain_id,
        chain.ledger,
        chain.task_id,
        chain.task,
        chain.stretches[-1].model,
        final.scores,
        final.payout_root,
        final.payout_total,
        final.share_root,
        final.epsilon_micro,
    )


def record_signer(chain: Chain, number: int, digest: str, signature: str) -> str:
    """The account that signed a round record, by EIP-712; empty where the bytes are none."""
    domain = _hash(
        keccak(
            text="EIP712Domain(string name,string version,uint256 chainId,"
            "address verifyingContract)"
        ),
        keccak(text="Covalue"),
        keccak(text="1"),
        chain.chain_id,
        chain.ledger,
    )
    kind = keccak(text="RoundRecord(uint256 taskId,uint256 round,bytes32 digest)")
    message = keccak(b"\x19\x01" + domain + _hash(kind, chain.task_id, number, digest))
    data = bytes.fromhex(signature.removeprefix("0x"))
    if len(data) != 65 or data[64] not in (27, 28):
        return ""
    r, s = int.from_bytes(data[:32], "big"), int.from_bytes(data[32:64], "big")
    # OpenZeppelin's ECDSA, on chain, takes the lower s alone
    if not 0 < r < ORDER or not 0 < s <= ORDER // 2:
        return ""
    try:
        x, y = ecdsa_raw_recover(message, (data[64], r, s))
    except ValueError:
        return ""
    return "0x" + keccak(x.to_bytes(32, "big") + y.to_bytes(32, "big"))[12:].hex()


def verify(signed: Signed) -> bool:
    """One signature of one key."""
    if signed not in _known and G2ProofOfPossession.Verify(*signed):
        _known.add(signed)
    return signed in _known


def verify_all(many: Sequence[Signed]) -> bool:
    """Whether all hold, faster than one by one: signatures and hashes are added up with factors
    that follow from all of them, keys apart, and paired once for each key."""
    new = [each for each in many if each not in _known]
    if not new:
        return True
    seed = hashlib.sha256(b"".join(b"".join(each) for each in new)).digest()
    total: Any = None
    hashes: dict[bytes, Any] = {}
    for place, (key, message, signature) in enumerate(new):
        drawn = hashlib.sha256(seed + place.to_bytes(4, "big")).digest()
        factor = int.from_bytes(drawn[:8], "big") | 1
        try:
            point = signature_to_G2(signature)
        except ValueError:
            return False
        if is_inf(point) or not subgroup_check(point):
            return False
        scaled = multiply(point, factor)
        total = scaled if total is None else add(total, scaled)
        hashed = multiply(hash_to_G2(message, DST, hashlib.sha256), factor)
        hashes[key] = add(hashes[key], hashed) if key in hashes else hashed
    product = pairing(total, neg(G1), final_exponentiate=False)
    for key, hashed in hashes.items():
        if not G2ProofOfPossession.KeyValidate(key):
            return False
        product *= pairing(hashed, pubkey_to_G1(key), final_exponentiate=False)
    if final_exponentiate(product) != FQ12.one():
        return False
    _known.update(new)
    return True


def _point_of(data: bytes, place: str) -> Any:
    """A G2 point from the 256 bytes of EIP-2537: c0 before c1, each of 64 bytes."""
    must(len(data) == 256, place, "an aggregate signature has 256 bytes")
    x0, x1, y0, y1 = (int.from_bytes(data[at : at + 64], "big") for at in range(0, 256, 64))
    must(max(x0, x1, y0, y1) < FQ2.field_modulus, place, "a coordinate beyond the modulus")
    point = (FQ2([x0, x1]), FQ2([y0, y1]), FQ2.one())
    must(is_on_curve(point, b2) and subgroup_check(point), place, "not a point of the group")
    return point


def verify_aggregate(keys: Sequence[bytes], message: bytes, signature: bytes, place: str) -> None:
    """An aggregate of several keys' signatures over one message; `Differs` unless it holds."""
    together = (b"".join(keys), message, signature)
    if together in _known:
        return
    point = _point_of(signature, place)
    total = pubkey_to_G1(keys[0])
    for key in keys[1:]:
        total = add(total, pubkey_to_G1(key))
    hashed = hash_to_G2(message, DST, hashlib.sha256)
    product = pairing(point, neg(G1), final_exponentiate=False)
    product *= pairing(hashed, total, final_exponentiate=False)
    must(final_exponentiate(product) == FQ12.one(), place, "the aggregate signature does not fit")
    _known.add(together)
