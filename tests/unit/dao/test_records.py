# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dao.canonical import MAX_RECORD_BYTES, Record
from dao.cid import cid_of, of_digest
from dao.errors import RecordError
from dao.records import (
    BlobRef,
    ContributorResult,
    DateFeature,
    DpEvent,
    Exclusion,
    Judgement,
    NormClip,
    NumberFeature,
    Position,
    Receipt,
    ReceiptBody,
    RoundRecord,
    Sampling,
    SignedRoundRecord,
    Target,
)

ADDRESS = "0x" + "ab" * 20
DIGEST = "0f" * 32
BLOB = BlobRef(
    cid="bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", sha256=DIGEST, size=0
)
POSITION = Position(chain_id=31337, ledger=ADDRESS, task_id=1, task_digest=DIGEST, round=1)
TARGET: dict[str, Any] = {
    "column": "price",
    "currency": "USD",
    "scale": "log",
    "lower_micro": str(10**16),
    "upper_micro": str(10**30),
    "center_micro": 12_000_000,
    "spread_micro": 500_000,
}


def plain_canonical(value: Any) -> bytes:
    """RFC 8785 for what records hold: ASCII names, integers, strings. An independent spelling."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_canonical_bytes_are_these() -> None:
    """Frozen: any change of these bytes changes every digest that anybody ever signed."""
    assert POSITION.canonical() == (
        b'{"chain_id":31337,"ledger":"0xabababababababababababababababababababab",'
        b'"round":1,"task_digest":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",'
        b'"task_id":1}'
    )
    assert POSITION.digest() == hashlib.sha256(POSITION.canonical()).hexdigest()
    assert of_digest(POSITION.digest()) == cid_of(POSITION.canonical())


def test_a_record_reads_back() -> None:
    assert Position.parse(POSITION.canonical()) == POSITION
    target = Target.parse(plain_canonical(TARGET))
    assert target.upper_micro == 10**30
    assert target.canonical() == plain_canonical(TARGET)


def test_a_record_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        POSITION.round = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    "spell",
    [
        lambda value: json.dumps(value).encode(),
        lambda value: plain_canonical(value) + b"\n",
        lambda value: b" " + plain_canonical(value),
        lambda value: b"\xef\xbb\xbf" + plain_canonical(value),
        lambda value: plain_canonical(dict(reversed(value.items()))).replace(b"31337", b"31337.0"),
        lambda value: plain_canonical(value).replace(b"31337", b"3.1337e4"),
        lambda value: plain_canonical(value).replace(b'"task_id":1', b'"task_id":01'),
        lambda value: plain_canonical(value).replace(b'"round":1', b'"round":-0'),
        lambda value: plain_canonical(value).replace(b"0xab", b"0x\\u0061b"),
        lambda value: plain_canonical(value)[:-1] + b',"round":1}',
    ],
    ids=[
        "spaces",
        "newline",
        "leading space",
        "mark",
        "1.0",
        "exponent",
        "01",
        "-0",
        "escape",
        "twice",
    ],
)
def test_other_spellings_are_refused(spell: Any) -> None:
    with pytest.raises(RecordError):
        Position.parse(spell(POSITION.model_dump(mode="json")))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("round", 1.5),
        ("round", True),
        ("round", "1"),
        ("round", None),
        ("round", -1),
        ("round", 2**53),
        ("chain_id", 10**400),
        ("task_id", 0),
        ("ledger", ADDRESS.upper()),
        ("ledger", ADDRESS + "\n"),
        ("ledger", "0xAB" + "ab" * 19),
        ("ledger", ADDRESS[:-1]),
        ("task_digest", DIGEST.upper()),
        ("task_digest", "0x" + DIGEST),
        ("task_digest", DIGEST + "\n"),
        ("extra", 1),
    ],
)
def test_wrong_fields_are_named(name: str, value: Any) -> None:
    data = plain_canonical({**POSITION.model_dump(mode="json"), name: value})
    with pytest.raises(RecordError, match=name if value != 10**400 else "Position"):
        Position.parse(data)


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1e-999", b"0.1"])
def test_no_floats_ever(text: bytes) -> None:
    data = POSITION.canonical().replace(b'"round":1', b'"round":' + text)
    with pytest.raises(RecordError):
        Position.parse(data)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b"1", b'"x"', b"{", b"\xff", b"[" * 100_000, b"{" * 5]
)
def test_what_is_no_record(data: bytes) -> None:
    with pytest.raises(RecordError, match="Position"):
        Position.parse(data)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(RecordError, match="ledger: Field required"):
        Position.parse(plain_canonical({"chain_id": 1}))


def test_a_record_beyond_one_block_is_refused() -> None:
    with pytest.raises(RecordError, match="at most"):
        Position.parse(b" " * (MAX_RECORD_BYTES + 1))


@pytest.mark.parametrize(
    "value",
    [
        10**16,
        1.5,
        True,
        None,
        "",
        "-",
        "-0",
        "00",
        "01",
        "+1",
        "1.0",
        "1e3",
        " 1",
        "1\n",
        "١",
        "9" * 101,
    ],
)
def test_big_integers_are_decimal_strings(value: Any) -> None:
    with pytest.raises(RecordError):
        Target.parse(plain_canonical({**TARGET, "lower_micro": value}))


@pytest.mark.parametrize(
    ("amount", "good"), [(0, True), (2**256 - 1, True), (2**256, False), (-1, False)]
)
def test_amounts_are_uint256(amount: int, good: bool) -> None:
    fields = {
        "contributor": ADDRESS,
        "score_pico": 0,
        "standard_error_pico": 0,
        "threshold_pico": 0,
        "payout_wei": str(amount),
        "share_wad": "0",
        "epsilon_micro": 0,
        "rounds_answered": 0,
    }
    if good:
        assert ContributorResult.parse(plain_canonical(fields)).payout_wei == amount
    else:
        with pytest.raises(RecordError, match="payout_wei"):
            ContributorResult.parse(plain_canonical(fields))


@pytest.mark.parametrize(
    ("day", "good"),
    [
        ("2024-02-29", True),
        ("2023-02-29", False),
        ("2024-13-01", False),
        ("2024-1-1", False),
        ("20240101", False),
        ("٢٠٢٤-٠١-٠١", False),
        ("2024-01-01\n", False),
    ],
)
def test_dates_are_days_of_the_calendar(day: str, good: bool) -> None:
    fields = {
        "kind": "date",
        "column": "sold",
        "first": day,
        "last": "2025-01-01",
        "center_days_micro": 0,
        "spread_days_micro": 1,
    }
    if good:
        assert DateFeature.parse(plain_canonical(fields)).first == day
    else:
        with pytest.raises(RecordError, match="first"):
            DateFeature.parse(plain_canonical(fields))


def test_half_a_surrogate_pair_is_refused() -> None:
    data = plain_canonical({**TARGET, "column": "x"}).replace(b'"x"', b'"\\ud800"')
    with pytest.raises(RecordError):
        Target.parse(data)


def test_receipts_bind_their_purpose() -> None:
    body = receipt_body()
    assert body.signing_digest() != bytes.fromhex(body.digest())
    expected = hashlib.sha256(b"covalue.receipt.v1\x00" + body.canonical()).digest()
    assert body.signing_digest() == expected


def receipt_body() -> ReceiptBody:
    return ReceiptBody(
        kind="covalue.receipt/1",
        position=POSITION,
        contributor=ADDRESS,
        base_model_sha256=DIGEST,
        update=BLOB,
        event=DpEvent(
            mechanism="gaussian-full-batch",
            clip_norm_nano=1,
            noise_multiplier_micro=1,
            sampling=None,
            seeded=False,
        ),
    )


# --- any record reads back, and its bytes are those of a plain encoder --------------------------

safe = st.integers(-(2**53) + 1, 2**53 - 1)
positive = st.integers(1, 2**53 - 1)
count = st.integers(0, 2**53 - 1)
addresses = st.binary(min_size=20, max_size=20).map(lambda data: "0x" + data.hex())
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
big = st.integers(-(10**99), 10**99)
blobs = st.builds(BlobRef, cid=st.just(BLOB.cid), sha256=digests, size=count)
positions = st.builds(
    Position, chain_id=count, ledger=addresses, task_id=positive, task_digest=digests, round=count
)
samplings = st.builds(
    Sampling,
    rate_micro=st.integers(1, 10**6),
    steps=st.integers(1, 256),
    eta_micro=positive,
    local_units=positive,
)
events = st.builds(
    DpEvent,
    mechanism=st.sampled_from(["gaussian-full-batch", "gaussian-poisson", "gaussian-histogram"]),
    clip_norm_nano=positive,
    noise_multiplier_micro=positive,
    sampling=st.none() | samplings,
    seeded=st.booleans(),
)
bodies = st.builds(
    ReceiptBody,
    kind=st.just("covalue.receipt/1"),
    position=positions,
    contributor=addresses,
    base_model_sha256=digests,
    update=blobs,
    event=events,
)
hexes = st.binary(max_size=96).map(lambda data: "0x" + data.hex())
receipts = st.builds(Receipt, body=bodies, signature=hexes)
exclusions = st.builds(
    Exclusion,
    contributor=addresses,
    reason=st.sampled_from(["late", "norm", "copy", "judged"]),
    detail=texts,
    receipt=st.none() | receipts,
)
rounds = st.builds(
    RoundRecord,
    kind=st.just("covalue.round/1"),
    position=positions,
    previous_record=digests,
    base_model=blobs,
    receipts=st.lists(receipts, max_size=3).map(tuple),
    exclusions=st.lists(exclusions, max_size=2).map(tuple),
    norm_clips=st.lists(
        st.builds(NormClip, contributor=addresses, kept_micro=st.integers(0, 10**6 - 1)), max_size=2
    ).map(tuple),
    judgements=st.lists(
        st.builds(Judgement, contributor=addresses, score_pico=safe), max_size=2
    ).map(tuple),
    judge_floor_pico=st.none() | safe,
    model=blobs,
)
numbers = st.builds(
    NumberFeature,
    kind=st.just("number"),
    column=texts,
    scale=st.sampled_from(["linear", "log", "log1p"]),
    lower_micro=big,
    upper_micro=big,
    center_micro=safe,
    spread_micro=positive,
    missing=st.sampled_from(["refuse", "indicate"]),
)
any_record = st.one_of(
    rounds, st.builds(SignedRoundRecord, record=rounds, signature=hexes), numbers, receipts
)


@settings(max_examples=150, deadline=None)
@given(any_record)
def test_any_record_reads_back(record: Record) -> None:
    data = record.canonical()
    assert type(record).parse(data) == record
    assert data == plain_canonical(record.model_dump(mode="json"))


@settings(max_examples=150, deadline=None)
@given(any_record, st.data())
def test_a_changed_byte_changes_the_record_or_is_refused(
    record: Record, draw: st.DataObject
) -> None:
    data = bytearray(record.canonical())
    place = draw.draw(st.integers(0, len(data) - 1))
    data[place] ^= 1 << draw.draw(st.integers(0, 7))
    try:
        changed = type(record).parse(bytes(data))
    except RecordError:
        return
    assert changed != record
    assert changed.digest() != record.digest()
