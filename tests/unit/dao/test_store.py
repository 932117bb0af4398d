# SPDX-License-Identifier: Apache-2.0
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dao.cid import blocks, cid_of, parse_cid
from dao.errors import MissingBlobError, StoreError
from dao.store import BlockStore, LocalStore, MemoryStore, ReadThrough

MIB = 1 << 20
BIG = bytes(range(256)) * (4096 * 2) + b"the end"  # three leaves and a root


@pytest.fixture(params=["memory", "local", "through"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlockStore:
    make: dict[str, Callable[[], BlockStore]] = {
        "memory": MemoryStore,
        "local": lambda: LocalStore(tmp_path / "store"),
        "through": lambda: ReadThrough(LocalStore(tmp_path / "store"), [MemoryStore()]),
    }
    return make[request.param]()


@pytest.mark.parametrize("data", [b"", b"small", bytes(MIB), BIG])
def test_what_is_put_is_got(store: BlockStore, data: bytes) -> None:
    reference = store.put(data)
    assert reference.cid == cid_of(data)
    assert reference.size == len(data)
    assert store.get(reference.cid) == data
    assert store.put(data) == reference
    store.pin(reference.cid)


def test_missing_content_is_named(store: BlockStore) -> None:
    cid = cid_of(b"nobody has this")
    with pytest.raises(MissingBlobError, match=cid):
        store.get(cid)
    with pytest.raises(MissingBlobError, match=cid):
        store.pin(cid)


def test_not_a_cid_is_refused(store: BlockStore) -> None:
    with pytest.raises(StoreError, match="not a CID"):
        store.get("../../../etc/passwd")


def test_a_block_under_a_foreign_cid_is_refused(store: BlockStore) -> None:
    with pytest.raises(StoreError, match="does not hash"):
        store.put_block(parse_cid(cid_of(b"one")), b"other")


def test_too_long_a_blob_is_refused(store: BlockStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dao.store.MAX_BLOB_BYTES", 10)
    with pytest.raises(StoreError, match="11 bytes"):
        store.put(b"x" * 11)


def test_any_damaged_block_is_named(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    root = store.put(BIG).cid
    for cid, block in blocks(BIG):
        path = store.block_path(cid)
        path.write_bytes(block[:-1] + bytes([block[-1] ^ 1]))
        for read in (store.get, store.pin, ReadThrough(store, [store]).get):
            with pytest.raises(StoreError, match=path.name):
                read(root)
        path.write_bytes(block[:-1])
        with pytest.raises(StoreError, match=path.name):
            store.get(root)
        # putting the content again heals it
        store.put(BIG)
        assert store.get(root) == BIG


def test_blobs_are_found_by_how_they_begin_and_damaged_ones_are_left_out(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    for data in (b"record one", b"record two", b"record three", b"another", b"rec", BIG):
        store.put(data)
    damaged = store.block_path(parse_cid(cid_of(b"record two")))
    damaged.write_bytes(b"record two!")
    (store.path / "a stray file").write_bytes(b"record four")
    (damaged.parent / "no-cid").write_bytes(b"record five")
    assert sorted(store.blobs_beginning(b"record")) == [b"record one", b"record three"]
    assert list(LocalStore(tmp_path / "empty").blobs_beginning(b"record")) == []


def test_pin_finds_a_hole_anywhere(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    root = store.put(BIG).cid
    for cid, block in blocks(BIG):
        path = store.block_path(cid)
        path.unlink()
        with pytest.raises(MissingBlobError, match=path.name):
            store.pin(root)
        store.put_block(cid, block)
    store.pin(root)


def test_a_crash_while_writing_leaves_no_half_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)

    def crash(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(StoreError, match="No space left"):
        store.put(b"content")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    monkeypatch.undo()
    assert store.get(store.put(b"content").cid) == b"content"


def test_blocks_are_readable_by_others_on_the_machine(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    path = store.block_path(parse_cid(store.put(b"public").cid))
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_unusable_folders_are_store_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot create the store"):
        LocalStore(tmp_path / "file")
    store = LocalStore(tmp_path / "store")
    path = store.block_path(parse_cid(cid_of(b"x")))
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot write"):
        store.put(b"x")
    with pytest.raises(StoreError, match="cannot read"):
        store.get(cid_of(b"x"))


def _put_many(path: Path) -> None:
    store = LocalStore(path)
    for number in range(60):
        store.put(number.to_bytes(2, "big") * 1000)


def test_processes_may_share_a_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_put_many, args=(tmp_path,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    store = LocalStore(tmp_path)
    for number in range(60):
        data = number.to_bytes(2, "big") * 1000
        assert store.get(cid_of(data)) == data
    assert list(tmp_path.rglob(".part-*")) == []


class Lying:
    """A peer that answers every question with the same bytes."""

    name = "lying"

    def __init__(self) -> None:
        self.asked = 0

    def get_block(self, cid: bytes) -> bytes:
        self.asked += 1
        return b"trust me"


def test_missing_blocks_come_from_peers_in_order_and_stay(tmp_path: Path) -> None:
    lying, honest, empty = Lying(), MemoryStore(), MemoryStore()
    root = honest.put(BIG).cid
    local = LocalStore(tmp_path)
    through = ReadThrough(local, [empty, lying, honest])
    assert through.get(root) == BIG
    assert lying.asked == len(dict(blocks(BIG)))
    assert local.get(root) == BIG
    assert through.get(root) == BIG
    assert lying.asked == len(dict(blocks(BIG)))


def test_when_no_peer_helps_each_answer_is_told(tmp_path: Path) -> None:
    through = ReadThrough(LocalStore(tmp_path), [MemoryStore(), Lying()])
    with pytest.raises(MissingBlobError, match=r"memory: .*lying: .*does not hash"):
        through.get(cid_of(b"rare"))
    assert list(tmp_path.rglob("b*")) == []


def test_pin_through_peers_brings_everything_here(tmp_path: Path) -> None:
    honest = MemoryStore()
    root = honest.put(BIG).cid
    local = LocalStore(tmp_path)
    ReadThrough(local, [honest]).pin(root)
    assert local.get(root) == BIG


def test_put_goes_to_the_local_store_only(tmp_path: Path) -> None:
    peer = MemoryStore()
    through = ReadThrough(LocalStore(tmp_path), [peer])
    reference = through.put(b"mine")
    assert through.local.get(reference.cid) == b"mine"
    with pytest.raises(MissingBlobError):
        peer.get(reference.cid)
