# SPDX-License-Identifier: Apache-2.0
"""Our CIDs against vectors of ipfs-unixfs-importer 17.1.1 (chunks of 1 MiB, width 1024)."""

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dao import cid as cid_module
from dao.cid import (
    CHUNK_BYTES,
    assemble,
    blob_ref,
    blocks,
    cid_of,
    format_cid,
    of_digest,
    parse_cid,
    walk,
)
from dao.errors import StoreError

MIB = 1 << 20
EMPTY = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
VECTORS = {
    0: EMPTY,
    1: "bafkreic2nz5eovfprz7up7eusmca3bj6pma6hhktpsy52nj4so324whlhu",
    100: "bafkreiagrf3wnjlrtbnu77anfwkdus4dld5pacq6ixktjfy4o37wicdpxm",
    MIB - 1: "bafkreih2276hw3twjawppx2mt73ybyd3o4k5zgdjljclq7n3mlg2ubgd7u",
    MIB: "bafkreideeyd2kwgjzezoiwhuyouepeupk4xficfzqshba3txc2ee4o27bi",
    MIB + 1: "bafybeiaexsalcsoug7gc4g3igi4ly6f4hiyrvlxgraph7oxye3zqduuuli",
    2 * MIB: "bafybeia22sprjd66jbzxq2qccwovv5a67lspx47lt4gsuidurtkurur5ji",
    3 * MIB + 12345: "bafybeiewtfqmconfv43aejqfi6l7zms6fwpn7rc6bnm6nn3xrzavcdfn2q",
    7 * MIB + 1: "bafybeia4h4cfhjbgt5msiyxpx73uepacruo3pav2fmlzeh2fxsngavciju",
}
# The same importer over zeros: the second level, where a node may hold a single link.
ZERO_VECTORS = {
    1024 * MIB: "bafybeibqawkaltgjfdebq4no6nmfcvkcw7k52xqzclkwfmrkn6oxw7srmy",
    1024 * MIB + 1: "bafybeigx4uyebjbq65346xh6cjrt6yshbdudzudhnqecwbzvymslxj7gje",
    1025 * MIB + 7: "bafybeib5lqrdbo44k4be4g3lpvbxgq7fuixffc2azus6ef65ndvyo3n2ti",
}


def content(size: int) -> bytes:
    """SHA-256 of a counter (8 bytes, big endian), repeated: what the vectors were made of."""
    hashes = (hashlib.sha256(i.to_bytes(8, "big")).digest() for i in range(size // 32 + 1))
    return b"".join(hashes)[:size]


def source(data: bytes) -> tuple[str, dict[bytes, bytes]]:
    return cid_of(data), dict(blocks(data))


class Zeros:
    """Stands for a buffer of zeros that would not fit the memory of a test."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        return bytes(min(part.stop, self.size) - part.start)


@pytest.mark.parametrize("size", VECTORS)
def test_cid_equals_the_reference_importer(size: int) -> None:
    assert cid_of(content(size)) == VECTORS[size]


@pytest.mark.parametrize("size", ZERO_VECTORS)
def test_second_level_equals_the_reference_importer(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cid_module, "memoryview", lambda data: data, raising=False)
    leaf_hash = hashlib.sha256
    known: dict[bytes, object] = {}

    class Remembered:
        """Hashing a gigabyte of equal leaves would take seconds."""

        @staticmethod
        def sha256(data: bytes) -> object:
            if len(data) == CHUNK_BYTES:
                return known.setdefault(b"full", leaf_hash(data))
            return leaf_hash(data)

    monkeypatch.setattr(cid_module, "hashlib", Remembered)
    assert cid_of(Zeros(size)) == ZERO_VECTORS[size]  # type: ignore[arg-type]


def test_deep_tree_reads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cid_module, "CHUNK_BYTES", 16)
    monkeypatch.setattr(cid_module, "MAX_LINKS", 3)
    for size in range(0, 16 * 30, 7):
        data = content(size)
        root, held = source(data)
        assert assemble(root, held.__getitem__) == data
        assert {cid for cid, _ in walk(root, held.__getitem__)} == set(held)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 3 * MIB), st.binary(min_size=1, max_size=64))
def test_content_reads_back(size: int, pattern: bytes) -> None:
    data = (pattern * (size // len(pattern) + 1))[:size]
    root, held = source(data)
    assert assemble(root, held.__getitem__) == data


def test_digest_gives_the_cid_of_one_block() -> None:
    data = content(1000)
    reference = blob_ref(data)
    assert reference.sha256 == hashlib.sha256(data).hexdigest()
    assert reference.size == 1000
    assert of_digest(reference.sha256) == reference.cid == cid_of(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",  # CIDv0
        EMPTY.upper(),
        EMPTY[:-1],
        EMPTY + "a",
        EMPTY[:-1] + "v",  # the same bytes, padding bits set
        "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua",  # dag-cbor
        "../../etc/passwd",
        "b" + "1" * 58,
        "b" + "é" * 58,
    ],
)
def test_other_texts_are_not_cids(text: str) -> None:
    with pytest.raises(StoreError):
        parse_cid(text)


def test_cid_text_round_trip() -> None:
    assert format_cid(parse_cid(EMPTY)) == EMPTY
    assert parse_cid(EMPTY)[4:] == hashlib.sha256(b"").digest()


def test_every_flipped_byte_of_every_block_is_refused() -> None:
    root, held = source(content(2 * MIB + 5))
    for cid, block in held.items():
        for place in {0, len(block) // 2, len(block) - 1}:
            broken = bytearray(block)
            broken[place] ^= 1
            tampered = {**held, cid: bytes(broken)}
            with pytest.raises(StoreError, match=format_cid(cid)):
                assemble(root, tampered.__getitem__)


def test_reading_is_bounded() -> None:
    root, held = source(content(2 * MIB))
    with pytest.raises(StoreError, match="at most"):
        assemble(root, held.__getitem__, max_bytes=2 * MIB - 1)
    with pytest.raises(StoreError, match="expected 10"):
        assemble(cid_of(b"x" * 11), lambda _: b"x" * 11, max_bytes=10)


# --- nodes that hash to their CID and lie -----------------------------------------------------

DAG_PB = bytes((1, 0x70, 0x12, 0x20))


def varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + varint(value >> 7)


def field(tag: int, payload: bytes) -> bytes:
    return bytes([tag]) + varint(len(payload)) + payload


def link(cid: bytes, dag_bytes: int, name: bytes = b"") -> bytes:
    return field(0x12, field(0x0A, cid) + field(0x12, name) + b"\x18" + varint(dag_bytes))


def unixfs(sizes: list[int], *, kind: int = 2, total: int | None = None) -> bytes:
    total = sum(sizes) if total is None else total
    body = b"\x08" + varint(kind) + b"\x18" + varint(total)
    return field(0x0A, body + b"".join(b"\x20" + varint(size) for size in sizes))


def read_node(node: bytes, held: dict[bytes, bytes]) -> bytes:
    cid = DAG_PB + hashlib.sha256(node).digest()
    return assemble(format_cid(cid), {**held, cid: node}.__getitem__)


LEAF = content(MIB)
LEAF_CID = parse_cid(cid_of(LEAF))
TAIL = b"tail"
TAIL_CID = parse_cid(cid_of(TAIL))
HELD = {LEAF_CID: LEAF, TAIL_CID: TAIL}
GOOD = link(LEAF_CID, MIB) + link(TAIL_CID, 4) + unixfs([MIB, 4])


def test_hand_made_node_is_ours() -> None:
    assert read_node(GOOD, HELD) == LEAF + TAIL
    assert format_cid(DAG_PB + hashlib.sha256(GOOD).digest()) == cid_of(LEAF + TAIL)


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (b"", "links"),
        (b"\xff" * 20, "too long|cut short"),
        (GOOD[:-1], "cut short"),
        (GOOD + b"\x08\x01", "links|expected bytes"),
        (b"\x0d" + GOOD, "wire type"),
        (unixfs([]), "0 links"),
        (unixfs([MIB, 4]), "0 links"),
        (link(LEAF_CID, MIB) + link(TAIL_CID, 4) + unixfs([MIB]), "not a UnixFS"),
        (link(LEAF_CID, MIB) + link(TAIL_CID, 4) + unixfs([MIB, 4], kind=1), "canonical"),
        (link(LEAF_CID, MIB) + link(TAIL_CID, 4) + unixfs([MIB, 4], total=9), "canonical"),
        (link(LEAF_CID, MIB) + link(TAIL_CID, 4, b"x") + unixfs([MIB, 4]), "canonical"),
        (unixfs([MIB, 4]) + link(LEAF_CID, MIB) + link(TAIL_CID, 4), "not a UnixFS"),
        (link(b"Qm", MIB) + link(TAIL_CID, 4) + unixfs([MIB, 4]), "CIDv1"),
        # sizes that do not fit what lies below
        (link(LEAF_CID, MIB) + link(TAIL_CID, 5) + unixfs([MIB, 4]), "wrong size"),
        (link(LEAF_CID, MIB) + link(TAIL_CID, 5) + unixfs([MIB, 5]), "has 4 bytes"),
        (link(LEAF_CID, MIB) + link(TAIL_CID, 3) + unixfs([MIB, 3]), "has 4 bytes"),
        # shapes that the profile never has
        (link(TAIL_CID, 4) + unixfs([4]), "fit one raw block"),
        (link(TAIL_CID, 4) + link(LEAF_CID, MIB) + unixfs([4, MIB]), "not laid out"),
        (link(LEAF_CID, MIB) + link(LEAF_CID, 0) + unixfs([MIB + 1, 0]), "not laid out"),
        (b"".join([link(LEAF_CID, MIB)] * 1025) + unixfs([MIB] * 1025), "1025 links"),
        # a file of 2^40 bytes in a few hundred
        (link(LEAF_CID, 1 << 40) + unixfs([1 << 40]), "at most"),
    ],
)
def test_malformed_nodes_are_refused(node: bytes, why: str) -> None:
    with pytest.raises(StoreError, match=why):
        read_node(node, HELD)


def test_inner_node_in_place_of_a_leaf_is_refused() -> None:
    inner = DAG_PB + hashlib.sha256(GOOD).digest()
    node = link(inner, MIB) + link(TAIL_CID, 4) + unixfs([MIB, 4])
    with pytest.raises(StoreError, match="wrong kind"):
        read_node(node, {**HELD, inner: GOOD})


def test_content_of_two_levels_below_a_wrong_size_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cid_module, "CHUNK_BYTES", 16)
    monkeypatch.setattr(cid_module, "MAX_LINKS", 2)
    data = content(60)
    held = dict(blocks(data))
    *_, (_, root) = held.items()
    tops = [cid for cid in held if cid[:4] == DAG_PB][:2]
    sizes = [len(held[cid]) for cid in tops]
    lying = link(tops[0], sizes[0] + 33) + link(tops[1], sizes[1] + 28) + unixfs([32, 28])
    assert len(root) == len(lying)
    with pytest.raises(StoreError, match="wrong size"):
        read_node(lying, held)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutated_nodes_never_read_as_other_content(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(GOOD) - 1))
    mutate: Callable[[bytes], bytes] = data.draw(
        st.sampled_from(
            [
                lambda b: b[:place] + bytes([b[place] ^ 1 << place % 8]) + b[place + 1 :],
                lambda b: b[:place] + b[place + 1 :],
                lambda b: b[:place] + b"\x80" + b[place:],
            ]
        )
    )
    node = mutate(GOOD)

    def fetch(cid: bytes) -> bytes:
        if cid not in HELD:
            raise StoreError("missing")
        return HELD[cid]

    root = DAG_PB + hashlib.sha256(node).digest()
    with pytest.raises(StoreError):
        assemble(format_cid(root), lambda cid: node if cid == root else fetch(cid))
