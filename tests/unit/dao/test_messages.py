# SPDX-License-Identifier: Apache-2.0
"""Signed messages against hashes built by hand from 32-byte words (no ABI or EIP-712 library)."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from Crypto.Hash import keccak
from eth_account import Account

from dao import bls
from dao.errors import RecordError
from dao.messages import (
    check_valuation,
    checkpoint_message,
    final_message,
    part_commitment,
    pop_message,
    recover_round_record_signer,
    round_record_hash,
    sign_round_record,
    sign_valuation,
)
from dao.records import Position, Valuation, ValuationBody

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
LEDGER = "0x" + "1a" * 20
ACCOUNT = "0x" + "2b" * 20
DIGESTS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(6)]
COORDINATOR = Account.from_key(b"\x01" * 32)
OTHER = Account.from_key(b"\x02" * 32)


def keccak256(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def words(*values: int | str | bytes) -> bytes:
    """abi.encode of static values: numbers, addresses and hex digests, bytes32."""
    encoded = []
    for value in values:
        if isinstance(value, str):
            value = int(value.removeprefix("0x"), 16)
        encoded.append(value if isinstance(value, bytes) else value.to_bytes(32, "big"))
    assert all(len(word) == 32 for word in encoded)
    return b"".join(encoded)


def typed_hash(kind: bytes, contract: str, *values: int | str) -> bytes:
    domain = keccak256(
        words(
            keccak256(
                b"EIP712Domain(string name,string version,uint256 chainId,"
                b"address verifyingContract)"
            ),
            keccak256(b"Covalue"),
            keccak256(b"1"),
            31337,
            contract,
        )
    )
    return keccak256(b"\x19\x01" + domain + keccak256(words(keccak256(kind), *values)))


POP: dict[str, Any] = {
    "chain_id": 31337,
    "registry": LEDGER,
    "account": ACCOUNT,
    "bls_public_key": bls.to_eip2537_g1(bls.public_key((7).to_bytes(32, "big"))),
}
CHECKPOINT: dict[str, Any] = {
    "chain_id": 31337,
    "ledger": LEDGER,
    "task_id": 3,
    "task_digest": DIGESTS[0],
    "index": 2,
    "first_round": 11,
    "last_round": 15,
    "records_root": DIGESTS[1],
    "model_digest": DIGESTS[2],
}
FINAL: dict[str, Any] = {
    "chain_id": 31337,
    "ledger": LEDGER,
    "task_id": 3,
    "task_digest": DIGESTS[0],
    "model_digest": DIGESTS[1],
    "score_digest": DIGESTS[2],
    "payout_root": "0x" + DIGESTS[3],
    "payout_total_wei": 10**24 + 7,
    "share_root": "0x" + DIGESTS[4],
    "epsilon_micro": 8_000_000,
}


def test_pop_message_by_hand() -> None:
    key_hash = keccak256(POP["bls_public_key"])
    purpose = keccak256(b"covalue.pop.v1")
    assert pop_message(**POP) == keccak256(words(purpose, 31337, LEDGER, ACCOUNT, key_hash))


def test_checkpoint_message_by_hand() -> None:
    purpose = keccak256(b"covalue.checkpoint.v1")
    assert checkpoint_message(**CHECKPOINT) == keccak256(
        words(purpose, 31337, LEDGER, 3, DIGESTS[0], 2, 11, 15, DIGESTS[1], DIGESTS[2])
    )


def test_final_message_by_hand() -> None:
    purpose = keccak256(b"covalue.final.v1")
    body = (DIGESTS[1], DIGESTS[2], DIGESTS[3], 10**24 + 7, DIGESTS[4], 8_000_000)
    assert final_message(**FINAL) == keccak256(words(purpose, 31337, LEDGER, 3, DIGESTS[0], *body))


def test_part_commitment_by_hand() -> None:
    salt, part = bytes.fromhex(DIGESTS[0]), bytes.fromhex(DIGESTS[1])
    expected = hashlib.sha256(b"covalue.part.v1" + salt + part).hexdigest()
    assert part_commitment(salt=DIGESTS[0], part_sha256=DIGESTS[1]) == expected


def other(value: Any) -> Any:
    if isinstance(value, int):
        return value + 1
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1])
    last = "1" if value[-1] == "0" else "0"
    return value[:-1] + last


@pytest.mark.promise(12)
@pytest.mark.parametrize(
    ("build", "fields"),
    [(pop_message, POP), (checkpoint_message, CHECKPOINT), (final_message, FINAL)],
)
def test_promise_12_every_field_is_bound(
    build: Callable[..., bytes], fields: dict[str, Any]
) -> None:
    seen = {build(**fields)}
    for name, value in fields.items():
        seen.add(build(**{**fields, name: other(value)}))
    assert len(seen) == len(fields) + 1


@pytest.mark.parametrize("digest", ["", "00", "0x" + "0" * 63, "zz" * 32, "00" * 33])
def test_digests_are_32_bytes(digest: str) -> None:
    with pytest.raises(RecordError, match="digest"):
        checkpoint_message(**{**CHECKPOINT, "records_root": digest})


def test_a_compressed_key_is_not_what_the_registry_hashes() -> None:
    with pytest.raises(RecordError, match="expected 128"):
        pop_message(**{**POP, "bls_public_key": bytes(48)})


# --- round records ---------------------------------------------------------------------------

POSITION = Position(chain_id=31337, ledger=LEDGER, task_id=3, task_digest=DIGESTS[0], round=9)


def test_round_record_hash_by_hand() -> None:
    kind = b"RoundRecord(uint256 taskId,uint256 round,bytes32 digest)"
    assert round_record_hash(POSITION, DIGESTS[1]) == typed_hash(kind, LEDGER, 3, 9, DIGESTS[1])


def test_the_coordinator_is_recovered() -> None:
    signature = sign_round_record(COORDINATOR, POSITION, DIGESTS[1])
    assert len(signature) == 65
    signer = recover_round_record_signer(POSITION, DIGESTS[1], signature)
    assert signer == COORDINATOR.address.lower()


@pytest.mark.promise(12)
@pytest.mark.parametrize(
    "change",
    [{"chain_id": 1}, {"ledger": ACCOUNT}, {"task_id": 4}, {"round": 10}],
    ids=lambda change: next(iter(change)),
)
def test_promise_12_a_round_signature_is_good_for_one_position(change: dict[str, Any]) -> None:
    signature = sign_round_record(COORDINATOR, POSITION, DIGESTS[1])
    elsewhere = POSITION.model_copy(update=change)
    signer = recover_round_record_signer(elsewhere, DIGESTS[1], signature)
    assert signer != COORDINATOR.address.lower()
    assert recover_round_record_signer(POSITION, DIGESTS[2], signature) != signer


def upper_s(signature: bytes) -> bytes:
    """The second signature of the same message that ECDSA allows."""
    s = ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda signature: b"",
        lambda signature: signature[:-1],
        lambda signature: signature + b"\0",
        lambda signature: signature[:-1] + bytes([signature[-1] - 27]),
        lambda signature: bytes(64) + b"\x1b",
        lambda signature: b"\xff" * 32 + signature[32:],
        upper_s,
    ],
    ids=["empty", "short", "long", "v of 0 or 1", "zero", "r beyond the field", "upper s"],
)
def test_what_the_chain_would_refuse_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    signature = sign_round_record(COORDINATOR, POSITION, DIGESTS[1])
    with pytest.raises(RecordError, match="signature"):
        recover_round_record_signer(POSITION, DIGESTS[1], spoil(signature))


# --- valuations ------------------------------------------------------------------------------

BODY = ValuationBody(
    kind="covalue.valuation/1",
    chain_id=31337,
    registry=LEDGER,
    release=2,
    model_sha256=DIGESTS[0],
    input_sha256=DIGESTS[1],
    value_micro=250_000_000_000,
    lower_micro=200_000_000_000,
    upper_micro=300_000_000_000,
    interval_level_micro=900_000,
    confidence_micro=640_000,
    fsd_micro=None,
    currency="USD",
    issued_at=1_800_000_000,
)


def test_valuation_signature_by_hand() -> None:
    kind = (
        b"Valuation(bytes32 inputHash,uint256 release,bytes32 modelDigest,uint256 value,"
        b"uint256 lower,uint256 upper,uint256 level,uint256 confidence,uint256 fsd,"
        b"uint256 issuedAt)"
    )
    ends = (BODY.value_micro, BODY.lower_micro, BODY.upper_micro)
    numbers = (*ends, 900_000, 640_000, 2**256 - 1, BODY.issued_at)
    hashed = typed_hash(kind, LEDGER, DIGESTS[1], 2, DIGESTS[0], *numbers)
    by_hand = COORDINATOR.unsafe_sign_hash(hashed).signature
    valuation = sign_valuation(COORDINATOR, BODY)
    assert valuation.signature == "0x" + bytes(by_hand).hex()
    assert valuation.signer == COORDINATOR.address.lower()
    check_valuation(valuation)


@pytest.mark.promise(12)
@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": 1},
        {"registry": ACCOUNT},
        {"release": 3},
        {"model_sha256": DIGESTS[3]},
        {"input_sha256": DIGESTS[3]},
        {"value_micro": 250_000_000_001},
        {"lower_micro": 1},
        {"upper_micro": 300_000_000_001},
        {"interval_level_micro": 950_000},
        {"confidence_micro": 650_000},
        {"confidence_micro": None},
        {"fsd_micro": 100_000},
        {"issued_at": 1_800_000_001},
    ],
    ids=lambda change: next(iter(change)),
)
def test_promise_12_a_changed_valuation_is_refused(change: dict[str, Any]) -> None:
    valuation = sign_valuation(COORDINATOR, BODY)
    changed = valuation.model_copy(update={"body": BODY.model_copy(update=change)})
    with pytest.raises(RecordError, match="signed by"):
        check_valuation(changed)


def test_a_foreign_signer_is_refused() -> None:
    valuation = sign_valuation(COORDINATOR, BODY)
    claimed = Valuation(body=BODY, signer=OTHER.address.lower(), signature=valuation.signature)
    with pytest.raises(RecordError, match=OTHER.address.lower()):
        check_valuation(claimed)


def test_a_negative_value_cannot_be_signed() -> None:
    with pytest.raises(RecordError, match="below zero"):
        sign_valuation(COORDINATOR, BODY.model_copy(update={"lower_micro": -1}))
