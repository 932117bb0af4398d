# SPDX-License-Identifier: Apache-2.0
"""Canonical JSON (RFC 8785, integers only) and CIDs (profile unixfs-v1-2025), docs/SPEC.md §1."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tests.independent.facts import Differs, must

CHUNK, WIDTH, SAFE = 1 << 20, 1024, 2**53 - 1
RAW, DAG_PB = 0x55, 0x70


def sha256(data: bytes) -> str:
    """SHA-256 as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def canonical(value: Any) -> bytes:
    """The value's JSON by RFC 8785, for objects, arrays, strings, integers, booleans and null."""
    return _text(value).encode()


def _text(value: Any) -> str:
    if isinstance(value, dict):
        # RFC 8785 §3.2.3: names are sorted by their UTF-16 code units
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{_text(name)}:{_text(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > SAFE:
        raise Differs("canonical JSON", f"{value} is beyond 2^53 - 1")
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read(data: bytes, place: str) -> Any:
    """The JSON value of canonical bytes; `Differs` for all other bytes."""
    must(len(data) <= CHUNK, place, "a record is at most 1 MiB")
    try:
        value = json.loads(data.decode())
        again = canonical(value)
    except (ValueError, RecursionError, Differs) as error:
        raise Differs(place, f"not JSON of integers: {error}") from error
    must(not _has_float(value), place, "recorded numbers are integers")
    must(again == data, place, "not in canonical form")
    return value


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_float, value.values()))
    if isinstance(value, list):
        return any(map(_has_float, value))
    return isinstance(value, float)


def _cid(codec: int, block: bytes) -> str:
    binary = bytes((1, codec, 0x12, 32)) + hashlib.sha256(block).digest()
    return "b" + base64.b32encode(binary).decode().lower().rstrip("=")


def _binary(cid: str) -> bytes:
    return base64.b32decode(cid[1:].upper() + "=" * (-len(cid[1:]) % 8))


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes((*found, number))


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def cid_of_record(digest: str) -> str:
    """CID of a file of at most 1 MiB, from its SHA-256."""
    binary = bytes((1, RAW, 0x12, 32)) + bytes.fromhex(digest)
    return "b" + base64.b32encode(binary).decode().lower().rstrip("=")


def cid_of(data: bytes) -> str:
    """CID of a file: raw leaves of 1 MiB under dag-pb nodes of up to 1024 links, balanced."""
    leaves = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)] or [b""]
    # (CID, bytes of the file below, bytes of all blocks below and itself)
    level = [(_cid(RAW, leaf), len(leaf), len(leaf)) for leaf in leaves]
    while len(level) > 1:
        level = [_node(level[start : start + WIDTH]) for start in range(0, len(level), WIDTH)]
    return level[0][0]


def _node(children: list[tuple[str, int, int]]) -> tuple[str, int, int]:
    """A dag-pb node over UnixFS: links first, then the data, as the dag-pb spec orders bytes."""
    links = b"".join(
        _field(2, _field(1, _binary(cid)) + _field(2, b"") + b"\x18" + _varint(total))
        for cid, _, total in children
    )
    size = sum(below for _, below, _ in children)
    # UnixFS: Type = File (2), filesize, then each child's size
    data = b"\x08\x02" + b"\x18" + _varint(size)
    data += b"".join(b"\x20" + _varint(below) for _, below, _ in children)
    block = links + _field(1, data)
    return _cid(DAG_PB, block), size, len(block) + sum(total for _, _, total in children)


def _links(block: bytes, place: str) -> list[str]:
    """CIDs of a dag-pb node's links."""
    found, at = [], 0
    try:
        while at < len(block) and block[at] == 0x12:
            size, start = _read_varint(block, at + 1)
            link = block[start : start + size]
            must(link[0] == 0x0A, place, "a dag-pb link without a CID")
            length, head = _read_varint(link, 1)
            binary = link[head : head + length]
            found.append("b" + base64.b32encode(binary).decode().lower().rstrip("="))
            at = start + size
    except IndexError as error:
        raise Differs(place, "a dag-pb node is cut off") from error
    return found


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while data[at] & 128:
        number |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
    return number | data[at] << shift, at + 1


class Blocks:
    """Published blocks by CID. Every block is held against its CID, every file against all of its
    reference (`cid`, `sha256`, `size`)."""

    def __init__(self, blocks: Mapping[str, bytes]) -> None:
        self._blocks = blocks

    def _block(self, cid: str, place: str) -> bytes:
        must(cid in self._blocks, place, f"{cid} is not published")
        block = self._blocks[cid]
        must(
            cid[:1] == "b" and _cid(_binary(cid)[1], block) == cid,
            place,
            f"{cid} is of other bytes",
        )
        return block

    def file(self, cid: str, place: str) -> bytes:
        """All bytes of the file under a CID."""
        block = self._block(cid, place)
        if _binary(cid)[1] == RAW:
            return block
        data = b"".join(self.file(link, place) for link in _links(block, place))
        must(cid_of(data) == cid, place, "not a DAG of the profile")
        return data

    def referred(self, reference: Any, place: str) -> bytes:
        """The bytes of a blob reference."""
        data = self.file(reference["cid"], place)
        must(sha256(data) == reference["sha256"], place, "SHA-256 of its reference differs")
        must(len(data) == reference["size"], place, "size of its reference differs")
        return data
