# SPDX-License-Identifier: Apache-2.0
"""What is signed, exactly as the contracts hash it.

BLS messages are keccak256(abi.encode(purpose, chain id, contract, ...)), each with a purpose of
its own; accounts sign EIP-712 typed data in the domain {Covalue, 1, chain id, contract}. So a
signature is good for one chain, one contract, one task, one place and one purpose.
Digests are 64 hex digits, roots the same with 0x; addresses are lower case.
"""

from __future__ import annotations

import hashlib
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import SignableMessage, _hash_eip191_message, encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak

from dao.errors import RecordError
from dao.records import Position, ReceiptList, SignedReceiptList, Valuation, ValuationBody

POP_PURPOSE = keccak(b"covalue.pop.v1")
CHECKPOINT_PURPOSE = keccak(b"covalue.checkpoint.v1")
FINAL_PURPOSE = keccak(b"covalue.final.v1")
PART_PREFIX = b"covalue.part.v1"

_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""Half of secp256k1's order: the contracts take only signatures with s up to here."""


def pop_message(*, chain_id: int, registry: str, account: str, bls_public_key: bytes) -> bytes:
    """What a proof of possession signs. `bls_public_key` in EIP-2537's 128 bytes."""
    if len(bls_public_key) != 128:
        raise RecordError(f"a public key of {len(bls_public_key)} bytes, expected 128 (EIP-2537)")
    return _hash(
        ("bytes32", POP_PURPOSE),
        ("uint256", chain_id),
        ("address", registry),
        ("address", account),
        ("bytes32", keccak(bls_public_key)),
    )


def checkpoint_message(
    *,
    chain_id: int,
    ledger: str,
    task_id: int,
    task_digest: str,
    index: int,
    first_round: int,
    last_round: int,
    records_root: str,
    model_digest: str,
) -> bytes:
    """What the roster co-signs of a stretch of rounds."""
    return _hash(
        ("bytes32", CHECKPOINT_PURPOSE),
        ("uint256", chain_id),
        ("address", ledger),
        ("uint256", task_id),
        ("bytes32", _bytes32(task_digest)),
        ("uint32", index),
        ("uint32", first_round),
        ("uint32", last_round),
        ("bytes32", _bytes32(records_root)),
        ("bytes32", _bytes32(model_digest)),
    )


def final_message(
    *,
    chain_id: int,
    ledger: str,
    task_id: int,
    task_digest: str,
    model_digest: str,
    score_digest: str,
    payout_root: str,
    payout_total_wei: int,
    share_root: str,
    epsilon_micro: int,
) -> bytes:
    """What the roster co-signs of scores, payouts and shares. `model_digest` is that of the last
    training checkpoint."""
    return _hash(
        ("bytes32", FINAL_PURPOSE),
        ("uint256", chain_id),
        ("address", ledger),
        ("uint256", task_id),
        ("bytes32", _bytes32(task_digest)),
        ("bytes32", _bytes32(model_digest)),
        ("bytes32", _bytes32(score_digest)),
        ("bytes32", _bytes32(payout_root)),
        ("uint256", payout_total_wei),
        ("bytes32", _bytes32(share_root)),
        ("uint64", epsilon_micro),
    )


def part_commitment(*, salt: str, part_sha256: str) -> str:
    """The commitment (64 hex digits) to a sealed validation part, as `TaskLedger.openPart`
    checks it."""
    return hashlib.sha256(PART_PREFIX + _bytes32(salt) + _bytes32(part_sha256)).hexdigest()


# --- round records: the coordinator's account -------------------------------------------------


def round_record_typed_data(position: Position, digest: str) -> dict[str, Any]:
    """EIP-712 data of a round record's digest at its position."""
    return _of_round("RoundRecord", position, digest)


def _of_round(name: str, position: Position, digest: str) -> dict[str, Any]:
    return _typed_data(
        name,
        [("taskId", "uint256"), ("round", "uint256"), ("digest", "bytes32")],
        {"taskId": position.task_id, "round": position.round, "digest": _bytes32(digest)},
        chain_id=position.chain_id,
        contract=position.ledger,
    )


def round_record_hash(position: Position, digest: str) -> bytes:
    """32 bytes: what the coordinator's account signs."""
    return _hash_eip191_message(_signable(round_record_typed_data(position, digest)))


def sign_round_record(signer: LocalAccount, position: Position, digest: str) -> bytes:
    """65 bytes: the coordinator's signature of a record's digest at its position."""
    return _sign(signer, round_record_typed_data(position, digest))


def recover_round_record_signer(position: Position, digest: str, signature: bytes) -> str:
    """The account (lower case) that signed a digest at a position; RecordError if the bytes are
    no signature."""
    return _recover(round_record_typed_data(position, digest), signature)


def receipt_list_typed_data(position: Position, digest: str) -> dict[str, Any]:
    """EIP-712 data of the digest of a round's receipt list at its position."""
    return _of_round("ReceiptList", position, digest)


def sign_receipt_list(signer: LocalAccount, fixed: ReceiptList) -> SignedReceiptList:
    """The list with the coordinator's signature."""
    signature = _sign(signer, receipt_list_typed_data(fixed.position, fixed.digest()))
    return SignedReceiptList(body=fixed, signature="0x" + signature.hex())


def recover_receipt_list_signer(signed: SignedReceiptList) -> str:
    """The account (lower case) that signed a list; RecordError if the bytes are no signature."""
    signature = bytes.fromhex(signed.signature.removeprefix("0x"))
    return _recover(receipt_list_typed_data(signed.body.position, signed.body.digest()), signature)


# --- valuations: the API's account ------------------------------------------------------------


def valuation_typed_data(body: ValuationBody) -> dict[str, Any]:
    """EIP-712 data of an answer; values in millionths of the currency, shares in millionths; what
    is not known is the largest uint256."""
    fields = [
        ("inputHash", "bytes32"),
        ("release", "uint256"),
        ("modelDigest", "bytes32"),
        ("value", "uint256"),
        ("lower", "uint256"),
        ("upper", "uint256"),
        ("level", "uint256"),
        ("confidence", "uint256"),
        ("fsd", "uint256"),
        ("issuedAt", "uint256"),
    ]
    values = {
        "inputHash": _bytes32(body.input_sha256),
        "release": body.release,
        "modelDigest": _bytes32(body.model_sha256),
        "value": body.value_micro,
        "lower": body.lower_micro,
        "upper": body.upper_micro,
        "level": body.interval_level_micro,
        "confidence": _or_unknown(body.confidence_micro),
        "fsd": _or_unknown(body.fsd_micro),
        "issuedAt": body.issued_at,
    }
    if min(body.value_micro, body.lower_micro, body.upper_micro) < 0:
        raise RecordError("a valuation below zero cannot be signed (uint256)")
    return _typed_data("Valuation", fields, values, chain_id=body.chain_id, contract=body.registry)


def _or_unknown(value: int | None) -> int:
    return 2**256 - 1 if value is None else value


def sign_valuation(signer: LocalAccount, body: ValuationBody) -> Valuation:
    """The answer with the API's signature."""
    return Valuation(
        body=body,
        signer=signer.address.lower(),
        signature="0x" + _sign(signer, valuation_typed_data(body)).hex(),
    )


def check_valuation(valuation: Valuation) -> None:
    """RecordError unless the stated signer signed the answer."""
    signature = bytes.fromhex(valuation.signature.removeprefix("0x"))
    signer = _recover(valuation_typed_data(valuation.body), signature)
    if signer != valuation.signer:
        raise RecordError(f"the valuation is signed by {signer}, it states {valuation.signer}")


# --- encoding ---------------------------------------------------------------------------------


def _hash(*fields: tuple[str, object]) -> bytes:
    kinds, values = zip(*fields, strict=True)
    return keccak(encode(kinds, values))


def _bytes32(text: str) -> bytes:
    try:
        data = bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise RecordError(f"not a digest: {text[:80]!r}") from error
    if len(data) != 32:
        raise RecordError(f"a digest of {len(data)} bytes, expected 32")
    return data


def _typed_data(
    name: str,
    fields: list[tuple[str, str]],
    values: dict[str, object],
    *,
    chain_id: int,
    contract: str,
) -> dict[str, Any]:
    domain = [
        ("name", "string"),
        ("version", "string"),
        ("chainId", "uint256"),
        ("verifyingContract", "address"),
    ]
    return {
        "types": {
            "EIP712Domain": [{"name": key, "type": kind} for key, kind in domain],
            name: [{"name": key, "type": kind} for key, kind in fields],
        },
        "primaryType": name,
        "domain": {
            "name": "Covalue",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": contract,
        },
        "message": values,
    }


def _signable(typed_data: dict[str, Any]) -> SignableMessage:
    return encode_typed_data(full_message=typed_data)


def _sign(signer: LocalAccount, typed_data: dict[str, Any]) -> bytes:
    return bytes(signer.sign_message(_signable(typed_data)).signature)


def _recover(typed_data: dict[str, Any], signature: bytes) -> str:
    """Only what OpenZeppelin's ECDSA takes: 65 bytes, low s, v of 27 or 28."""
    if len(signature) != 65 or signature[64] not in (27, 28):
        raise RecordError("not an account's signature: expected 65 bytes ending with 27 or 28")
    if int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        raise RecordError("not an account's signature: s is in the upper half of the order")
    try:
        recovered = Account.recover_message(_signable(typed_data), signature=signature)
    except BadSignature as error:
        raise RecordError(f"not an account's signature: {error}") from error
    return str(recovered).lower()
