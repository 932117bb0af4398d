# SPDX-License-Identifier: Apache-2.0
"""Content identifiers: CIDv1 of a UnixFS file, as IPFS computes them.

The layout is the profile ``unixfs-v1-2025`` (IPIP-499): chunks of 1 MiB, raw leaves, balanced
tree with at most 1024 links a node, SHA-256, base32. Content has exactly one CID under it, so a
reader knows the whole shape of the tree from the declared size, and refuses every other shape.
Sources: UnixFS and DAG-PB specifications (specs.ipfs.tech), multiformats CIDv1.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dao.errors import StoreError, UnreadableBlobError
from dao.records import BlobRef

CHUNK_BYTES = 1 << 20
"""A leaf's bytes; all leaves but the last are full."""
MAX_LINKS = 1024
MAX_BLOB_BYTES = 1 << 28
"""What `assemble` accepts unless told otherwise: 256 MiB."""

_RAW = bytes((0x01, 0x55, 0x12, 0x20))
_DAG_PB = bytes((0x01, 0x70, 0x12, 0x20))
_CID_BYTES = 36
_CID_TEXT = 59


@dataclass(frozen=True)
class _Child:
    """A link of an inner node: `file_bytes` of content below it, `dag_bytes` with all nodes."""

    cid: bytes
    dag_bytes: int
    file_bytes: int


def format_cid(cid: bytes) -> str:
    """Text (base32, lower case) of a binary CID."""
    return "b" + base64.b32encode(cid).decode("ascii").lower().rstrip("=")


def parse_cid(text: str) -> bytes:
    """Binary form (36 bytes) of a CIDv1 of a raw or dag-pb block under SHA-256.

    UnreadableBlobError for any other text, other spellings of the same CID included.
    """
    hint = "expected a CIDv1 in base32 of 59 characters: bafkrei... (raw) or bafybei... (dag-pb)"
    if len(text) != _CID_TEXT or not text.startswith("b"):
        raise UnreadableBlobError(f"not a CID that this store knows: {text[:80]!r}", hint=hint)
    try:
        cid = base64.b32decode(text[1:].upper() + "======")
    except (binascii.Error, ValueError) as error:
        raise UnreadableBlobError(f"not base32: {text!r}", hint=hint) from error
    if len(cid) != _CID_BYTES or cid[:4] not in (_RAW, _DAG_PB) or format_cid(cid) != text:
        raise UnreadableBlobError(f"not a CID that this store knows: {text!r}", hint=hint)
    return cid


def check_block(cid: bytes, block: bytes) -> None:
    """StoreError unless the block hashes to its CID."""
    if hashlib.sha256(block).digest() != cid[4:]:
        raise StoreError(
            f"block {format_cid(cid)} does not hash to its CID",
            hint="the copy is damaged; delete that block so that it is fetched again",
        )


def of_digest(sha256_hex: str) -> str:
    """CID of content of at most one chunk (1 MiB), from the SHA-256 of its bytes."""
    digest = bytes.fromhex(sha256_hex)
    if len(digest) != 32:
        raise StoreError(f"a SHA-256 has 32 bytes, got {len(digest)}")
    return format_cid(_RAW + digest)


def blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All blocks (binary CID, bytes) of the tree over `data`: leaves first, the root last."""
    view = memoryview(data)
    level: list[_Child] = []
    for start in range(0, max(len(data), 1), CHUNK_BYTES):
        leaf = bytes(view[start : start + CHUNK_BYTES])
        cid = _RAW + hashlib.sha256(leaf).digest()
        level.append(_Child(cid, dag_bytes=len(leaf), file_bytes=len(leaf)))
        yield cid, leaf
    while len(level) > 1:
        parents: list[_Child] = []
        for start in range(0, len(level), MAX_LINKS):
            children = level[start : start + MAX_LINKS]
            node = _encode_node(children)
            parent = _child_of_node(node, children)
            parents.append(parent)
            yield parent.cid, node
        level = parents


def cid_of(data: bytes) -> str:
    """The CID of `data`."""
    root = b""
    for cid, _ in blocks(data):
        root = cid
    return format_cid(root)


def blob_ref(data: bytes) -> BlobRef:
    """CID, SHA-256 of the whole and size of `data`."""
    return BlobRef(cid=cid_of(data), sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def walk(
    root: str, get_block: Callable[[bytes], bytes], *, max_bytes: int = MAX_BLOB_BYTES
) -> Iterator[tuple[bytes, bytes]]:
    """Every block (binary CID, bytes) below `root`, each node before its children, in file order.

    `get_block` (binary CID to bytes) may be anyone: each block is hashed, and must be what the
    profile's layout has at its place; else UnreadableBlobError. Reads at most `max_bytes` of
    content.
    """
    cid = parse_cid(root)
    block = _fetch(cid, get_block)
    if cid[:4] == _RAW:
        _check_leaf(cid, block, len(block), max_bytes)
        yield cid, block
        return
    children = _decode_node(cid, block)
    size = sum(child.file_bytes for child in children)
    if size > max_bytes:
        raise UnreadableBlobError(f"{root} declares {size} bytes, expected at most {max_bytes}")
    if size <= CHUNK_BYTES:
        raise UnreadableBlobError(f"{root} is a tree over {size} bytes, which fit one raw block")
    height = 1
    while CHUNK_BYTES * MAX_LINKS**height < size:
        height += 1
    yield cid, block
    yield from _walk_children(cid, children, size, height, get_block)


def assemble(
    root: str, get_block: Callable[[bytes], bytes], *, max_bytes: int = MAX_BLOB_BYTES
) -> bytes:
    """The content of `root`, verified block by block; see `walk`."""
    parts = walk(root, get_block, max_bytes=max_bytes)
    return b"".join(block for cid, block in parts if cid[:4] == _RAW)


def _walk_children(
    parent: bytes,
    children: list[_Child],
    size: int,
    height: int,
    get_block: Callable[[bytes], bytes],
) -> Iterator[tuple[bytes, bytes]]:
    span = CHUNK_BYTES * MAX_LINKS ** (height - 1)
    expected = [min(span, size - start) for start in range(0, size, span)]
    if [child.file_bytes for child in children] != expected:
        raise UnreadableBlobError(f"{format_cid(parent)} is not laid out as unixfs-v1-2025")
    for child in children:
        if child.cid[:4] != (_RAW if height == 1 else _DAG_PB):
            raise UnreadableBlobError(f"{format_cid(parent)} links a block of the wrong kind")
        block = _fetch(child.cid, get_block)
        if height == 1:
            _check_leaf(child.cid, block, child.file_bytes, CHUNK_BYTES)
            if child.dag_bytes != len(block):
                raise UnreadableBlobError(f"{format_cid(parent)} states a wrong size of a link")
            yield child.cid, block
            continue
        grandchildren = _decode_node(child.cid, block)
        if _child_of_node(block, grandchildren) != child:
            raise UnreadableBlobError(f"{format_cid(parent)} states a wrong size of a link")
        yield child.cid, block
        yield from _walk_children(child.cid, grandchildren, child.file_bytes, height - 1, get_block)


def _fetch(cid: bytes, get_block: Callable[[bytes], bytes]) -> bytes:
    block = get_block(cid)
    check_block(cid, block)
    return block


def _check_leaf(cid: bytes, block: bytes, declared: int, max_bytes: int) -> None:
    limit = min(max_bytes, CHUNK_BYTES)
    if len(block) != declared or len(block) > limit:
        raise UnreadableBlobError(
            f"leaf {format_cid(cid)} has {len(block)} bytes, expected {min(declared, limit)}"
        )


def _child_of_node(node: bytes, children: list[_Child]) -> _Child:
    return _Child(
        cid=_DAG_PB + hashlib.sha256(node).digest(),
        dag_bytes=len(node) + sum(child.dag_bytes for child in children),
        file_bytes=sum(child.file_bytes for child in children),
    )


# --- DAG-PB: the protobuf messages PBNode, PBLink and UnixFS Data -----------------------------


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(tag: int, payload: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(payload)) + payload


def _encode_node(children: list[_Child]) -> bytes:
    """PBNode: repeated Links {Hash, Name "", Tsize} (field 2), then Data (field 1), which is
    UnixFS {Type file (2), filesize, repeated blocksizes}."""
    links = b"".join(
        _field(0x12, _field(0x0A, child.cid) + b"\x12\x00\x18" + _varint(child.dag_bytes))
        for child in children
    )
    file_bytes = sum(child.file_bytes for child in children)
    unixfs = b"\x08\x02\x18" + _varint(file_bytes)
    unixfs += b"".join(b"\x20" + _varint(child.file_bytes) for child in children)
    return links + _field(0x0A, unixfs)


def _decode_node(cid: bytes, block: bytes) -> list[_Child]:
    """The links of an inner node; UnreadableBlobError unless it is exactly what we would write."""
    try:
        *links, unixfs = _fields(block) or [0]
        if not 1 <= len(links) <= MAX_LINKS:
            raise ValueError(f"{len(links)} links, expected 1 to {MAX_LINKS}")
        file_sizes = _fields(_message(unixfs))[2:]
        children = [
            _Child(link, dag_bytes=dag_bytes, file_bytes=_number(file_bytes))
            for (link, dag_bytes), file_bytes in zip(
                map(_decode_link, links), file_sizes, strict=True
            )
        ]
        if any(len(child.cid) != _CID_BYTES for child in children):
            raise ValueError("a link is not a CIDv1 under SHA-256")
        if _encode_node(children) != block:
            raise ValueError("not the canonical encoding of a UnixFS file")
    except ValueError as error:
        raise UnreadableBlobError(
            f"{format_cid(cid)} is not a UnixFS file node: {error}"
        ) from error
    return children


def _decode_link(payload: int | bytes) -> tuple[bytes, int]:
    fields = _fields(_message(payload))
    if len(fields) != 3:
        raise ValueError("a link is not {Hash, Name, Tsize}")
    return _message(fields[0]), _number(fields[2])


def _message(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("expected bytes")
    return value


def _number(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("expected a number")
    return value


def _fields(data: bytes) -> list[int | bytes]:
    """Values of a protobuf message in the order they stand; their tags are checked by encoding
    the node again."""
    values: list[int | bytes] = []
    place = 0
    while place < len(data):
        tag, place = _read_varint(data, place)
        value, place = _read_varint(data, place)
        if tag & 7 == 0:
            values.append(value)
        elif tag & 7 == 2:
            if place + value > len(data):
                raise ValueError("a field is cut short")
            values.append(data[place : place + value])
            place += value
        else:
            raise ValueError(f"unexpected protobuf wire type {tag & 7}")
    return values


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        if place >= len(data):
            raise ValueError("a number is cut short")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number is too long")
