# SPDX-License-Identifier: Apache-2.0
"""Answers rounds on a disk that fills, in a process of its own: `python full_disk.py KIND FOLDER`.

KIND `first` bounds the size of files while a task's rows are prepared for its first round.
KIND `tmpfs` mounts a small tmpfs at FOLDER (in a mount namespace of this process alone) and leaves
a few pages free; KIND `limit` bounds the size of files, so that the kernel takes only a part of a
line. For each amount of room one line: how much, what the vault did, what the ledger then held.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vault_world import VaultWorld, make_world

from dao.errors import CovalueError
from fl_client.refusals import code_of

ROUNDS = 40
PAGE = 4096


def rounds_in_ledger(world: VaultWorld) -> int:
    spending = world.open().ledger_state().tasks.get(world.task.digest())
    return 0 if spending is None else len(spending.answered)


def attempt(world: VaultWorld, number: int, full: Callable[[], object]) -> dict[str, object]:
    """Ask for a round while `full` is in force, and again with room."""
    lines = world.config.folder / "ledger.jsonl"
    before = lines.read_bytes()
    released, refusal = None, None
    with full():
        try:
            released = world.open().answer(world.request(number))
        except CovalueError as error:
            refusal = error
    assert lines.read_bytes().startswith(before), "what was charged stays charged"
    charged = rounds_in_ledger(world)
    staged = world.config.folder / "answers" / world.task.digest() / f"{number}.update"
    kept = staged.read_bytes() if charged == number else None
    again = world.open().answer(world.request(number))
    assert rounds_in_ledger(world) == number
    if released is not None:
        assert again == released
    if kept is not None:
        assert again.update == kept, "a charged round is answered with the bytes it was charged for"
    return {"said": said(refusal), "charged": charged == number}


def said(refusal: CovalueError | None) -> str:
    if refusal is None:
        return "answered"
    assert refusal.hint, refusal
    assert "cannot write" in refusal.message, refusal
    return code_of(refusal).value


def leaving_pages(folder: Path, pages: int) -> Callable[[], object]:
    @contextmanager
    def full() -> Iterator[None]:
        filler = folder / "filler"
        status = os.statvfs(folder)
        with filler.open("wb") as file:
            file.write(bytes(max(0, status.f_bavail - pages) * PAGE))
        try:
            yield
        finally:
            filler.unlink()

    return full


def leaving_bytes(ledger: Path, room: int) -> Callable[[], object]:
    return lambda: limited(ledger.stat().st_size + room)


def first_answers(folder: Path) -> None:
    """The first round, in which the rows are prepared, of one new vault after another."""
    for room in (0, 100, 500, 1000, 2000, 5000, 9000, 20_000):
        below = folder / str(room)
        below.mkdir()
        world = make_world(below)
        refusal = None
        with limited(room):
            try:
                world.open().answer(world.request(1))
            except CovalueError as error:
                refusal = error
        left = [path.name for path in world.config.folder.rglob("*.new")]
        assert not left, "nothing half-written is left"
        expected = make_answer(below / "other")
        again = world.open().answer(world.request(1))
        assert again.update == expected, "the same rows as where there was always room"
        print(json.dumps({"room": room, "said": said(refusal)}), flush=True)


def make_answer(folder: Path) -> bytes:
    folder.mkdir()
    world = make_world(folder)
    return world.open().answer(world.request(1)).update


@contextmanager
def limited(size: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def main() -> None:
    kind, folder = sys.argv[1], Path(sys.argv[2])
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
        subprocess.run(command, check=True)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if kind == "first":
        first_answers(folder)
        return
    world = make_world(folder, rounds=ROUNDS)
    world.config = dataclasses.replace(world.config, noise_seed=None)
    world.open().answer(world.request(1))
    ledger = world.config.folder / "ledger.jsonl"
    rooms = range(10) if kind == "tmpfs" else (0, 1, 30, 200, 400, 5_000)
    for number, room in enumerate(rooms, start=2):
        full = leaving_pages(folder, room) if kind == "tmpfs" else leaving_bytes(ledger, room)
        print(json.dumps({"room": room, **attempt(world, number, full)}), flush=True)


if __name__ == "__main__":
    main()
