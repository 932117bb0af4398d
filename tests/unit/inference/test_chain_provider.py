# SPDX-License-Identifier: Apache-2.0
"""Promise 10: only the current release is served, and only bytes that hash to its digest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from released_world import ROW, World, released_world  # noqa: F401 - a fixture

from dao.contracts.model_registry import ReleaseStatus
from dao.errors import NotServable
from dao.store import MemoryStore
from inference.provider import ChainProvider


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class ForgingStore:
    """A store that gives other bytes for one CID, as no verified store would."""

    def __init__(self, store: MemoryStore, cid: str, data: bytes) -> None:
        self._store, self._cid, self._data = store, cid, data

    def put(self, data: bytes) -> Any:
        return self._store.put(data)

    def get(self, cid: str) -> bytes:
        return self._data if cid == self._cid else self._store.get(cid)

    def pin(self, cid: str) -> None:
        self._store.pin(cid)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(world: World, clock: Clock) -> ChainProvider:
    return ChainProvider(world.chain, world.store, refresh_seconds=2.0, clock=clock)


def test_the_released_model_is_served_with_its_provenance(
    world: World, provider: ChainProvider
) -> None:
    served = provider.current()
    seen = served.provenance
    assert seen.release == 1
    assert seen.model_sha256 == world.chain.release.model_digest
    assert seen.task_digest == world.task.digest()
    assert seen.contributors == tuple(result.contributor for result in world.report.results)
    assert (seen.block, seen.chain_id, seen.task_id) == (100, 31337, 3)
    assert served.model.appraise([ROW])[0].value_micro > 0


@pytest.mark.parametrize("status", [s for s in ReleaseStatus if s is not ReleaseStatus.RELEASED])
def test_promise_10_without_a_standing_release_nothing_is_served(
    world: World, provider: ChainProvider, clock: Clock, status: ReleaseStatus
) -> None:
    provider.current()
    world.chain.set_status(status)
    clock.seconds += 2.0
    with pytest.raises(NotServable, match="no model has been released|is suspended|was revoked"):
        provider.current()
    world.chain.set_status(ReleaseStatus.RELEASED)
    clock.seconds += 2.0
    assert provider.current().provenance.block == world.chain.block


@pytest.mark.parametrize("what", ["task", "score report", "set-up", "model"])
@pytest.mark.parametrize("forgery", ["flipped", "cut", "empty"])
def test_promise_10_bytes_that_do_not_hash_to_the_digest_are_not_served(
    world: World, clock: Clock, what: str, forgery: str
) -> None:
    ref = world.blobs[what]
    good = world.store.get(ref.cid)
    bad = {
        "flipped": good[:-1] + bytes([good[-1] ^ 1]),
        "cut": good[:-1],
        "empty": b"",
    }[forgery]
    provider = ChainProvider(world.chain, ForgingStore(world.store, ref.cid, bad), clock=clock)
    with pytest.raises(NotServable, match=f"release 1 cannot be proved: .*{what}"):
        provider.current()


@pytest.mark.parametrize("what", ["task", "score report"])
def test_promise_10_another_valid_record_is_not_served(
    world: World, clock: Clock, what: str
) -> None:
    card = world.report.card.model_copy(update={"rows_judged": 990_000})
    other = {
        "task": world.task.model_copy(update={"title": "Another"}),
        "score report": world.report.model_copy(update={"card": card}),
    }[what]
    store = ForgingStore(world.store, world.blobs[what].cid, other.canonical())
    provider = ChainProvider(world.chain, store, clock=clock)
    with pytest.raises(NotServable, match=f"the {what} has digest {other.digest()}"):
        provider.current()


def test_promise_10_a_score_report_that_names_another_model_is_not_served(
    world: World, provider: ChainProvider
) -> None:
    other = world.store.put(b"another model")
    world.chain.release = replace(world.chain.release, model_digest=other.sha256)
    with pytest.raises(NotServable, match="names model .* the chain released"):
        provider.current()


def test_a_score_report_of_another_task_is_not_served(
    world: World, provider: ChainProvider
) -> None:
    world.chain.release = replace(world.chain.release, task_id=4)
    with pytest.raises(NotServable, match="about task 3"):
        provider.current()


@pytest.mark.parametrize("what", ["task", "score report", "set-up", "model"])
def test_missing_content_is_named_and_served_once_it_is_there(
    world: World, clock: Clock, what: str
) -> None:
    partial = MemoryStore()
    for name, ref in world.blobs.items():
        if name != what:
            partial.put(world.store.get(ref.cid))
    provider = ChainProvider(world.chain, partial, clock=clock)
    with pytest.raises(NotServable, match=f"cannot be proved: {what}.* is missing"):
        provider.current()
    partial.put(world.store.get(world.blobs[what].cid))
    clock.seconds += 60
    assert provider.current().provenance.release == 1


def test_promise_10_an_unreachable_chain_means_that_nothing_is_served(
    world: World, provider: ChainProvider, clock: Clock
) -> None:
    provider.current()
    world.chain.down = True
    clock.seconds += 2.0
    with pytest.raises(NotServable, match="the chain cannot be read"):
        provider.current()
    world.chain.down = False
    clock.seconds += 2.0
    assert provider.current().provenance.release == 1


def test_the_chain_is_asked_once_per_interval_and_the_model_loaded_once(
    world: World, provider: ChainProvider, clock: Clock
) -> None:
    first = provider.current()
    clock.seconds += 1.9
    assert provider.current() is first
    assert world.chain.reads == 1
    clock.seconds += 0.1
    world.chain.block += 5
    again = provider.current()
    assert world.chain.reads == 2
    assert again.model is first.model
    assert again.provenance.block == first.provenance.block + 5


def test_a_new_release_replaces_the_old_one(
    world: World, provider: ChainProvider, clock: Clock
) -> None:
    old = provider.current()
    state = world.store.get(world.blobs["model"].cid)
    world.release_again(2, state[:8] + bytes(8) + state[16:])  # one weight becomes zero
    clock.seconds += 2.0
    new = provider.current()
    assert new.provenance.release == 2
    assert new.provenance.model_sha256 != old.provenance.model_sha256
    two_rooms = ROW | {"rooms": 2}
    assert new.model.appraise([two_rooms])[0].value_micro == (
        new.model.appraise([ROW])[0].value_micro
    )
    assert old.model.appraise([two_rooms]) != old.model.appraise([ROW])
