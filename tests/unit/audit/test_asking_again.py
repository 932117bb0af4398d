# SPDX-License-Identifier: Apache-2.0
"""What is missing is asked for again, of every peer, before it is called withheld."""

from __future__ import annotations

import pytest

from audit.asking import AskingAgain
from dao.cid import blob_ref, parse_cid
from dao.errors import MissingBlobError, StoreError
from dao.store import MemoryStore, ReadThrough

DATA = b"an update of somebody"
CID = blob_ref(DATA).cid


class Peer:
    """Answers each question with the next of `answers`: bytes, or None for a block it lacks."""

    def __init__(self, name: str, *answers: bytes | None) -> None:
        self.name = name
        self.asked = 0
        self._answers = list(answers)

    def get_block(self, cid: bytes) -> bytes:
        self.asked += 1
        answer = self._answers.pop(0) if self._answers else None
        if answer is None:
            raise MissingBlobError("it lacks the block")
        return answer


def asking(*peers: Peer, local: MemoryStore | None = None) -> tuple[AskingAgain, list[float]]:
    waits: list[float] = []
    through = ReadThrough(local or MemoryStore(), peers)
    return AskingAgain(through, pauses=(1.0, 4.0), wait=waits.append), waits


def test_what_is_there_is_read_at_once() -> None:
    store, waits = asking(Peer("late", DATA))
    assert store.get(CID) == DATA
    assert waits == []


def test_what_comes_the_third_time_is_read() -> None:
    peer = Peer("busy", None, None, DATA)
    store, waits = asking(peer)
    assert store.get(CID) == DATA
    assert (peer.asked, waits) == (3, [1.0, 4.0])


def test_what_nobody_has_is_withheld_and_all_who_were_asked_are_named() -> None:
    peers = Peer("first"), Peer("second")
    store, _ = asking(*peers)
    with pytest.raises(MissingBlobError, match="withheld: asked for 3 times") as caught:
        store.get(CID)
    assert all(peer.asked == 3 and f"{peer.name}: " in caught.value.message for peer in peers)
    assert CID in caught.value.message


def test_after_a_peer_that_lies_the_next_is_asked() -> None:
    liar, honest = Peer("liar", b"something else"), Peer("honest", DATA)
    store, waits = asking(liar, honest)
    assert store.get(CID) == DATA
    assert (liar.asked, honest.asked, waits) == (1, 1, [])


def test_a_peer_that_only_lies_is_named_as_such() -> None:
    lies = [b"something else"] * 3
    store, _ = asking(Peer("liar", *lies))
    with pytest.raises(
        MissingBlobError, match="withheld.*liar: .*does not hash to its CID"
    ) as caught:
        store.get(CID)
    assert "liar" in caught.value.message


def test_damaged_blocks_are_not_asked_for_again() -> None:
    local = MemoryStore()
    local.put(DATA)
    local._blocks[parse_cid(CID)] = b"damaged"
    peer = Peer("honest", DATA)
    store, waits = asking(peer, local=local)
    with pytest.raises(StoreError):
        store.get(CID)
    assert (peer.asked, waits) == (0, [])
