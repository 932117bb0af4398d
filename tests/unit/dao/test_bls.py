# SPDX-License-Identifier: Apache-2.0
"""One set of tests for both backends, and the backends equal to each other byte for byte."""

import hashlib
from types import ModuleType

import pytest

from dao import bls, bls_fast, bls_reference
from dao.errors import KeyFileError, RecordError

P = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab",
    16,
)
R = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
COMPRESSED, INFINITY, SIGN = 1 << 383, 1 << 382, 1 << 381
SECRETS = [hashlib.sha256(bytes([i])).digest()[1:].rjust(32, b"\0") for i in range(3)]
MESSAGE = hashlib.sha256(b"message").digest()
OTHER = hashlib.sha256(b"other").digest()
KEYS = [bls.public_key(secret) for secret in SECRETS]
SIGNATURES = [bls.sign(secret, MESSAGE) for secret in SECRETS]

# x = 4 lies on E1 (4^3 + 4 = 68 is a square), outside the subgroup of order r.
OUTSIDE_G1 = (4 | COMPRESSED).to_bytes(48, "big")
BAD_KEYS = {
    "empty": b"",
    "short": KEYS[0][:-1],
    "long": KEYS[0] + b"\0",
    "uncompressed flag": bytes([KEYS[0][0] & 0x7F]) + KEYS[0][1:],
    "infinity": (COMPRESSED | INFINITY).to_bytes(48, "big"),
    "infinity with sign": (COMPRESSED | INFINITY | SIGN).to_bytes(48, "big"),
    "infinity with content": (COMPRESSED | INFINITY | 1).to_bytes(48, "big"),
    "zero": bytes(48),
    "outside the subgroup": OUTSIDE_G1,
    "x beyond the field": (4 + P | COMPRESSED).to_bytes(48, "big"),
    "off the curve": (1 | COMPRESSED).to_bytes(48, "big"),
}
BAD_SIGNATURES = {
    "empty": b"",
    "short": SIGNATURES[0][:-1],
    "long": SIGNATURES[0] + b"\0",
    "infinity": (COMPRESSED | INFINITY).to_bytes(48, "big") + bytes(48),
    "infinity with content": (COMPRESSED | INFINITY).to_bytes(48, "big") + bytes(47) + b"\1",
    # x = 2 lies on E2, outside the subgroup (checked below)
    "outside the subgroup": COMPRESSED.to_bytes(48, "big") + (2).to_bytes(48, "big"),
    "x beyond the field": COMPRESSED.to_bytes(48, "big") + (2 + P).to_bytes(48, "big"),
    "flags in the second half": SIGNATURES[0][:48]
    + bytes([SIGNATURES[0][48] | 0x80])
    + SIGNATURES[0][49:],
    "off the curve": COMPRESSED.to_bytes(48, "big") + (1).to_bytes(48, "big"),
}


@pytest.fixture(params=[bls_fast, bls_reference], ids=["fast", "reference"])
def backend(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


def test_known_answers(backend: ModuleType) -> None:
    """Vectors of ethereum/bls12-381-tests: sign_case of the first private key, zero message."""
    secret = bytes.fromhex("263dbd792f5b1be47ed85f8938c0f29586af0d3ac7b977f21c278fe1462040e3")
    assert backend.public_key(secret).hex() == (
        "a491d1b0ecd9bb917989f0e74f0dea0422eac4a873e5e2644f368dffb9a6e20f"
        "d6e10c1b77654d067c0618f6e5a7f79a"
    )
    assert backend.sign(secret, bytes(32)).hex() == (
        "b6ed936746e01f8ecf281f020953fbf1f01debd5657c4a383940b020b26507f6"
        "076334f91e2366c96e9ab279fb5158090352ea1c5b0c9274504f4f0e7053af24"
        "802e51e4568d164fe986834f41e55c8e850ce1f98458c0cfc9ab380b55285a55"
    )


def test_backends_agree_byte_for_byte() -> None:
    for secret, key in zip(SECRETS, KEYS, strict=True):
        assert bls_reference.public_key(secret) == key
    secret = SECRETS[1]
    assert bls_reference.sign(secret, OTHER) == bls_fast.sign(secret, OTHER)
    proof = bls_fast.prove_possession(secret, OTHER)
    assert bls_reference.prove_possession(secret, OTHER) == proof
    assert bls_reference.aggregate(SIGNATURES) == bls_fast.aggregate(SIGNATURES)
    assert bls_reference.aggregate_keys(KEYS) == bls_fast.aggregate_keys(KEYS)
    for key in KEYS:
        assert bls_reference.to_eip2537_g1(key) == bls_fast.to_eip2537_g1(key)
    for signature in SIGNATURES:
        assert bls_reference.to_eip2537_g2(signature) == bls_fast.to_eip2537_g2(signature)


def test_a_signature_is_good_for_its_key_and_message_only(backend: ModuleType) -> None:
    assert backend.verify(KEYS[0], MESSAGE, SIGNATURES[0])
    assert not backend.verify(KEYS[1], MESSAGE, SIGNATURES[0])
    assert not backend.verify(KEYS[0], OTHER, SIGNATURES[0])


def test_possession_and_signature_have_different_tags(backend: ModuleType) -> None:
    proof = bls.prove_possession(SECRETS[0], MESSAGE)
    assert backend.verify_possession(KEYS[0], MESSAGE, proof)
    assert not backend.verify_possession(KEYS[1], MESSAGE, proof)
    assert not backend.verify(KEYS[0], MESSAGE, proof)
    assert not backend.verify_possession(KEYS[0], MESSAGE, SIGNATURES[0])


def test_an_aggregate_needs_exactly_its_signers(backend: ModuleType) -> None:
    total = bls.aggregate(SIGNATURES)
    assert backend.fast_aggregate_verify(KEYS, MESSAGE, total)
    assert backend.fast_aggregate_verify([bls.aggregate_keys(KEYS)], MESSAGE, total)
    assert not backend.fast_aggregate_verify(KEYS[:2], MESSAGE, total)
    assert not backend.fast_aggregate_verify([*KEYS, KEYS[0]], MESSAGE, total)
    assert not backend.fast_aggregate_verify([], MESSAGE, total)


def test_keys_that_cancel_out_verify_nothing(backend: ModuleType) -> None:
    opposite = bls.public_key((R - int.from_bytes(SECRETS[0], "big")).to_bytes(32, "big"))
    negated = bls.sign((R - int.from_bytes(SECRETS[0], "big")).to_bytes(32, "big"), MESSAGE)
    infinity = BAD_SIGNATURES["infinity"]
    assert not backend.fast_aggregate_verify([KEYS[0], opposite], MESSAGE, infinity)
    assert not backend.fast_aggregate_verify([KEYS[0], opposite], MESSAGE, SIGNATURES[0])
    with pytest.raises(RecordError, match="cancel"):
        backend.aggregate([SIGNATURES[0], negated])
    with pytest.raises(RecordError, match="cancel"):
        backend.aggregate_keys([KEYS[0], opposite])


@pytest.mark.parametrize("name", BAD_KEYS)
def test_bad_keys_are_refused(backend: ModuleType, name: str) -> None:
    key = BAD_KEYS[name]
    assert not backend.is_public_key(key)
    assert not backend.verify(key, MESSAGE, SIGNATURES[0])
    assert not backend.verify_possession(key, MESSAGE, SIGNATURES[0])
    assert not backend.fast_aggregate_verify([KEYS[0], key], MESSAGE, SIGNATURES[0])
    for convert in (backend.to_eip2537_g1, lambda key: backend.aggregate_keys([KEYS[0], key])):
        with pytest.raises(RecordError):
            convert(key)


@pytest.mark.parametrize("name", BAD_SIGNATURES)
def test_bad_signatures_are_refused(backend: ModuleType, name: str) -> None:
    signature = BAD_SIGNATURES[name]
    assert not backend.is_signature(signature)
    assert not backend.verify(KEYS[0], MESSAGE, signature)
    assert not backend.verify_possession(KEYS[0], MESSAGE, signature)
    assert not backend.fast_aggregate_verify([KEYS[0]], MESSAGE, signature)
    for convert in (backend.to_eip2537_g2, lambda s: backend.aggregate([SIGNATURES[0], s])):
        with pytest.raises(RecordError):
            convert(signature)


def test_the_points_outside_the_subgroup_are_on_the_curve() -> None:
    """Else the cases above would test nothing."""
    from py_ecc.bls.g2_primitives import pubkey_to_G1, signature_to_G2, subgroup_check

    for point in (
        pubkey_to_G1(OUTSIDE_G1),  # type: ignore[arg-type]
        signature_to_G2(BAD_SIGNATURES["outside the subgroup"]),  # type: ignore[arg-type]
    ):
        assert not subgroup_check(point)


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(32), R.to_bytes(32, "big"), b"\xff" * 32])
def test_bad_secrets_are_refused_and_not_repeated(backend: ModuleType, secret: bytes) -> None:
    for use in (
        backend.public_key,
        lambda secret: backend.sign(secret, MESSAGE),
        lambda secret: backend.prove_possession(secret, MESSAGE),
    ):
        with pytest.raises(KeyFileError) as caught:
            use(secret)
        assert not secret or secret.hex() not in str(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("message", [b"", b"short", bytes(33)])
def test_messages_are_32_bytes(backend: ModuleType, message: bytes) -> None:
    for use in (
        lambda: backend.sign(SECRETS[0], message),
        lambda: backend.verify(KEYS[0], message, SIGNATURES[0]),
        lambda: backend.verify_possession(KEYS[0], message, SIGNATURES[0]),
        lambda: backend.fast_aggregate_verify(KEYS, message, SIGNATURES[0]),
    ):
        with pytest.raises(ValueError, match="32 bytes"):
            use()


def test_nothing_aggregates_to_nothing(backend: ModuleType) -> None:
    with pytest.raises(RecordError, match="at least one"):
        backend.aggregate([])
    with pytest.raises(RecordError, match="at least one"):
        backend.aggregate_keys([])


# --- EIP-2537 --------------------------------------------------------------------------------


def test_the_generator_has_the_encoding_of_eip_2537(backend: ModuleType) -> None:
    """Generator of G1 as EIP-2537 writes it."""
    generator = backend.public_key((1).to_bytes(32, "big"))
    assert backend.to_eip2537_g1(generator).hex() == (
        "0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905"
        "a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
        "0000000000000000000000000000000008b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af6"
        "00db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1"
    )


def test_eip2537_goes_both_ways(backend: ModuleType) -> None:
    key, signature = backend.to_eip2537_g1(KEYS[0]), backend.to_eip2537_g2(SIGNATURES[0])
    assert (len(key), len(signature)) == (128, 256)
    assert backend.from_eip2537_g1(key) == KEYS[0]
    assert backend.from_eip2537_g2(signature) == SIGNATURES[0]


def add_field_prime(data: bytes) -> bytes:
    """The same point modulo p, in a spelling that is not canonical."""
    return (int.from_bytes(data[:64], "big") + P).to_bytes(64, "big") + data[64:]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: bytes(len(data)),
        lambda data: b"\1" + data[1:],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        add_field_prime,
    ],
    ids=["short", "long", "infinity", "padding", "off the curve", "beyond the field"],
)
def test_bad_eip2537_is_refused(backend: ModuleType, spoil) -> None:
    with pytest.raises(RecordError):
        backend.from_eip2537_g1(spoil(bls.to_eip2537_g1(KEYS[0])))
    with pytest.raises(RecordError):
        backend.from_eip2537_g2(spoil(bls.to_eip2537_g2(SIGNATURES[0])))


def test_eip2537_outside_the_subgroup_is_refused(backend: ModuleType) -> None:
    y = pow(68, (P + 1) // 4, P)
    assert y * y % P == 68
    with pytest.raises(RecordError):
        backend.from_eip2537_g1((4).to_bytes(64, "big") + y.to_bytes(64, "big"))


# --- many at once -----------------------------------------------------------------------------


def many(count: int) -> list[tuple[bytes, bytes, bytes]]:
    triples = []
    for number in range(count):
        secret = hashlib.sha256(b"many%d" % number).digest()[1:].rjust(32, b"\0")
        message = hashlib.sha256(b"m%d" % (number % 3)).digest()
        triples.append((bls.public_key(secret), message, bls.sign(secret, message)))
    return triples


@pytest.mark.parametrize("count", [0, 1, 2, 7, 30])
def test_many_good_signatures(count: int) -> None:
    assert bls.verify_many(many(count)) == [True] * count


@pytest.mark.parametrize("bad", [{0}, {3}, {9}, {0, 9}, {2, 3, 4}, set(range(10))])
def test_the_bad_ones_among_many_are_found(bad: set[int]) -> None:
    triples = many(10)
    for place in bad:
        key, message, _ = triples[place]
        triples[place] = (key, message, SIGNATURES[0])
    assert bls.verify_many(triples) == [place not in bad for place in range(10)]


def test_many_with_malformed_ones() -> None:
    triples = many(4)
    triples[1] = (BAD_KEYS["outside the subgroup"], *triples[1][1:])
    triples[2] = (*triples[2][:2], b"")
    assert bls.verify_many(triples) == [True, False, False, True]
    assert bls_reference.verify_many(triples[1:]) == [False, False, True]


def test_two_wrong_signatures_that_cancel_are_found() -> None:
    """A batch without random weights would take them: the sum of the signatures is right."""
    (key_a, message_a, right_a), (key_b, message_b, right_b) = many(2)
    swapped = [(key_a, message_a, right_b), (key_b, message_b, right_a)]
    assert bls.verify_many(swapped) == [False, False]
