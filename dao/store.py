# SPDX-License-Identifier: Apache-2.0
"""Content-addressed storage: three verbs (`put`, `get`, `pin`) over verified blocks.

Every read is hashed, whoever delivers the block, so a store needs no trust; what a store may do
is lose content, and then it says which CID is missing.
"""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from dao.cid import (
    MAX_BLOB_BYTES,
    assemble,
    blob_ref,
    blocks,
    check_block,
    format_cid,
    parse_cid,
    walk,
)
from dao.durable import fsync_folder
from dao.errors import MissingBlobError, StoreError
from dao.records import BlobRef


class Store(Protocol):
    """What the rest of Covalue asks of storage."""

    def put(self, data: bytes) -> BlobRef:
        """Keep `data` (at most 256 MiB); durable when this returns. Repeating it is harmless."""

    def get(self, cid: str) -> bytes:
        """The verified content; MissingBlobError if nobody has it, StoreError if it is damaged
        or longer than 256 MiB."""

    def pin(self, cid: str) -> None:
        """See to it that all of `cid` is here and stays; MissingBlobError if it cannot be had."""


class BlockSource(Protocol):
    """Somebody who may have blocks; the caller hashes what comes."""

    @property
    def name(self) -> str:
        """Who it is, for messages."""

    def get_block(self, cid: bytes) -> bytes:
        """The block under a binary CID; StoreError (MissingBlobError) if it does not come."""


class BlockStore(ABC):
    """The three verbs over two block operations."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Where it is, for messages."""

    @abstractmethod
    def get_block(self, cid: bytes) -> bytes:
        """The block under a binary CID, hashed; MissingBlobError or StoreError."""

    @abstractmethod
    def put_block(self, cid: bytes, block: bytes) -> None:
        """Keep a block that hashes to `cid`; durable when this returns."""

    def put(self, data: bytes) -> BlobRef:
        """See `Store.put`."""
        if len(data) > MAX_BLOB_BYTES:
            raise StoreError(f"a blob of {len(data)} bytes, expected at most {MAX_BLOB_BYTES}")
        for cid, block in blocks(data):
            self.put_block(cid, block)
        return blob_ref(data)

    def get(self, cid: str) -> bytes:
        """See `Store.get`."""
        return assemble(cid, self.get_block)

    def pin(self, cid: str) -> None:
        """See `Store.pin`. Nothing is ever collected here, so it checks that every block is
        present and whole."""
        for _ in walk(cid, self.get_block):
            continue


class MemoryStore(BlockStore):
    """Blocks in a dictionary: for tests and for audits that keep nothing."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, bytes] = {}

    @property
    def name(self) -> str:
        return "memory"

    def get_block(self, cid: bytes) -> bytes:
        block = self._blocks.get(cid)
        if block is None:
            raise _missing(cid, f"not in {self.name}")
        check_block(cid, block)
        return block

    def put_block(self, cid: bytes, block: bytes) -> None:
        check_block(cid, block)
        self._blocks[cid] = bytes(block)


class LocalStore(BlockStore):
    """One file a block under `path`, in folders by the last two characters of the CID.

    A file appears under its name only when whole and on disk (temporary file, fsync, rename), so
    a process killed at any moment leaves no half block. Several processes may share a folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot create the store at {path}: {error.strerror}") from error

    @property
    def name(self) -> str:
        return str(self.path)

    def block_path(self, cid: bytes) -> Path:
        """Where the block of a binary CID lies, present or not."""
        text = format_cid(cid)
        return self.path / text[-2:] / text

    def blobs_beginning(self, prefix: bytes) -> Iterator[bytes]:
        """Content of one block (up to 1 MiB) that begins so, in the order of its CIDs' ends. What
        is damaged is left out."""
        for path in sorted(self.path.glob("??/*")):
            with suppress(OSError, StoreError), path.open("rb") as file:
                if file.read(len(prefix)) == prefix:
                    yield self.get_block(parse_cid(path.name))

    def get_block(self, cid: bytes) -> bytes:
        path = self.block_path(cid)
        try:
            block = path.read_bytes()
        except FileNotFoundError as error:
            raise _missing(cid, f"not in {self.name}") from error
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        check_block(cid, block)
        return block

    def put_block(self, cid: bytes, block: bytes) -> None:
        check_block(cid, block)
        path = self.block_path(cid)
        try:
            if path.exists() and path.read_bytes() == block:
                return
            path.parent.mkdir(exist_ok=True)
            _write_durably(path, block)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from error


class ReadThrough(BlockStore):
    """A local store that asks peers, in order, for what it lacks, and keeps what verifies.

    A damaged local block is an error and not fetched again silently: it says that the disk, or
    somebody at it, changes bytes.
    """

    def __init__(self, local: BlockStore, peers: Sequence[BlockSource]) -> None:
        self.local = local
        self.peers = tuple(peers)

    @property
    def name(self) -> str:
        return self.local.name

    def get_block(self, cid: bytes) -> bytes:
        try:
            return self.local.get_block(cid)
        except MissingBlobError:
            block = self._ask_peers(cid)
        self.local.put_block(cid, block)
        return block

    def put_block(self, cid: bytes, block: bytes) -> None:
        self.local.put_block(cid, block)

    def _ask_peers(self, cid: bytes) -> bytes:
        answers = [f"not in {self.local.name}"]
        for peer in self.peers:
            try:
                block = peer.get_block(cid)
                check_block(cid, block)
            except StoreError as error:
                answers.append(f"{peer.name}: {error.message}")
            else:
                return block
        raise _missing(cid, "; ".join(answers))


def _missing(cid: bytes, where: str) -> MissingBlobError:
    return MissingBlobError(
        f"block {format_cid(cid)} is missing ({where})",
        hint="name a peer that has it in covalue.toml: [store] peers = ['http://host:8090']",
    )


def _write_durably(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            # mkstemp makes files for the owner alone; blocks are public
            os.fchmod(file.fileno(), 0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)
