# SPDX-License-Identifier: Apache-2.0
"""A file where the vault keeps a folder, or the reverse: it is said, nothing is lost, and when it
is moved away the vault goes on."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from vault_world import ACCOUNT, VaultWorld, world

from dao.settings import VaultSettings
from fl_client.budget import read_ledger
from fl_client.refusals import Code, Refused
from fl_client.service_lock import ServiceLock

__all__ = ["world"]

pytestmark = pytest.mark.timeout(60)

MAKE: dict[str, Callable[[Path], object]] = {
    "file": lambda path: path.write_text("x"),
    "folder": lambda path: (path.mkdir(), (path / "inside").write_text("x")),
    "pipe": os.mkfifo,
}


def obstacle(path: Path, kind: str) -> Callable[[], object]:
    """Put something in the path's place; the return puts back what was there."""
    kept = path.with_name(path.name + "-kept")
    if path.exists():
        path.rename(kept)
    MAKE[kind](path)

    def back() -> None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        if kept.exists():
            kept.rename(path)

    return back


def refused(world: VaultWorld, number: int) -> Refused:
    with pytest.raises(Refused) as caught:
        world.open().answer(world.request(number))
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("kind", ["folder", "pipe"])
@pytest.mark.parametrize("name", ["lock", "service.lock"])
def test_a_lock_that_is_no_file(world: VaultWorld, name: str, kind: str) -> None:
    first = world.open().answer(world.request())
    path = world.config.folder / name
    back = obstacle(path, kind)
    for number in (1, 2):
        error = refused(world, number)
        assert error.code is Code.UNAVAILABLE
        assert f"cannot write {path}" in error.message
        assert "move it away" in (error.hint or "")
        assert "room on the disk" not in (error.hint or "")
    if name == "service.lock":
        with pytest.raises(Refused, match="cannot write"), ServiceLock(path.parent).held():
            raise AssertionError("it serves without a lock")
    (path.parent / "account").write_text(ACCOUNT)
    settings = VaultSettings(path=path.parent, witness_path=world.config.witness)
    if name == "lock":
        with pytest.raises(Refused, match="cannot write"):
            read_ledger(settings)
    back()
    assert world.open().answer(world.request()) == first
    assert world.open().ledger_state() == read_ledger(settings)
    assert read_ledger(settings).length == 2


def test_a_service_lock_that_holds_no_number(world: VaultWorld) -> None:
    lock = world.open().service_lock
    with lock.held():
        (world.config.folder / "service.lock").write_bytes(b"\xff\x1b[31m")
        assert "another process just now" in refused(world, 1).message
    world.open().answer(world.request())


@pytest.mark.parametrize("place", ["vault", "vault/inner"])
def test_a_folder_that_is_a_file(world: VaultWorld, place: str) -> None:
    world.config = dataclasses.replace(world.config, folder=world.folder / place)
    (world.folder / "vault").write_text("x")
    error = refused(world, 1)
    assert error.code is Code.UNAVAILABLE
    assert f"cannot make the vault's folder {world.folder / place}" in error.message
    assert "vault.path" in (error.hint or "")
    assert (world.folder / "vault").read_text() == "x"
    (world.folder / "vault").unlink()
    world.open().answer(world.request())


@pytest.mark.parametrize("place", ["answers", "answers/TASK"])
def test_answers_that_are_a_file(world: VaultWorld, place: str) -> None:
    """An answered round is not sent; a new one is neither charged nor sent."""
    first = world.open().answer(world.request())
    entries = world.open().ledger_state().length
    back = obstacle(world.config.folder / place.replace("TASK", world.task.digest()), "file")
    old = refused(world, 1)
    assert old.code is Code.LEDGER
    assert "its reply cannot be read" in old.message
    assert "answers/" in (old.hint or "")
    new = refused(world, 2)
    assert new.code is Code.UNAVAILABLE
    assert "move it away" in (new.hint or "")
    assert world.open().ledger_state().length == entries
    back()
    assert world.open().answer(world.request()) == first
    world.open().answer(world.request(2))


@pytest.mark.parametrize("kind", ["folder", "pipe"])
@pytest.mark.parametrize("name", ["1.receipt", "1.update"])
def test_a_reply_that_is_no_file(world: VaultWorld, name: str, kind: str) -> None:
    first = world.open().answer(world.request())
    path = world.config.folder / "answers" / world.task.digest() / name
    back = obstacle(path, kind)
    error = refused(world, 1)
    assert error.code is Code.LEDGER
    assert str(path) in error.message
    assert {"folder": "it is a folder", "pipe": "it is a named pipe"}[kind] in error.message
    with pytest.raises(Refused, match="cannot be read"):
        world.open().stored_answer(world.task.digest(), 1)
    back()
    assert world.open().answer(world.request()) == first


def test_a_folder_where_a_reply_is_to_be_written(world: VaultWorld) -> None:
    path = world.config.folder / "answers" / world.task.digest() / "1.update"
    path.parent.mkdir(parents=True)
    back = obstacle(path, "folder")
    error = refused(world, 1)
    assert error.code is Code.UNAVAILABLE
    assert "move it away" in (error.hint or "")
    assert world.open().ledger_state().length == 0
    back()
    world.open().answer(world.request())
