# SPDX-License-Identifier: Apache-2.0
"""What is no file in the place of ledger or witness is named, at once, and left alone."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from test_ledger_file import filled, ledger
from vault_world import VaultWorld, world

from fl_client.refusals import Code, Refused

__all__ = ["world"]

pytestmark = pytest.mark.timeout(30)


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's address is short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(here)


SPECIAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "named pipe": (os.mkfifo, "it is a named pipe, not a file"),
    "socket": (a_socket, "it is a socket, not a file"),
    "folder": (Path.mkdir, "it is a folder, not a file"),
    "null": (lambda path: path.symlink_to("/dev/null"), "a link to /dev/null, which is a device"),
    "zero": (lambda path: path.symlink_to("/dev/zero"), "a link to /dev/zero, which is a device"),
    "circle": (lambda path: path.symlink_to(path), "which leads round in a circle"),
    "nowhere": (
        lambda path: path.symlink_to("/nowhere/at/all"),
        "it is a link to /nowhere/at/all, where nothing is",
    ),
    "linked pipe": (
        lambda path: (os.mkfifo(path.with_name("pipe")), path.symlink_to("pipe")),
        "it is a link to pipe, which is a named pipe, not a file",
    ),
}
KINDS = [pytest.param(make, words, id=name) for name, (make, words) in SPECIAL.items()]


@pytest.mark.parametrize(("make", "words"), KINDS)
@pytest.mark.parametrize("name", ["ledger.jsonl", "witness.json"])
def test_it_is_said_what_stands_there(
    tmp_path: Path, name: str, make: Callable[[Path], object], words: str
) -> None:
    filled(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    make(tmp_path / name)
    kind = (tmp_path / name).lstat().st_mode
    for _ in range(2):
        with pytest.raises(Refused, match="cannot read") as caught:
            ledger(tmp_path).load()
        assert caught.value.code is Code.LEDGER
        assert words in caught.value.message
        assert "backup" not in caught.value.message
        assert caught.value.hint
    assert (tmp_path / name).lstat().st_mode == kind
    if name == "ledger.jsonl":
        with pytest.raises(Refused, match="cannot read"):
            ledger(tmp_path).rebuild_witness()
        with pytest.raises(Refused, match="cannot read"):
            ledger(tmp_path).unwitnessed()
    _remove(tmp_path / name)
    (tmp_path / name).write_bytes(whole)
    assert ledger(tmp_path).load().length == 4


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()


def test_a_link_to_the_ledger_will_do(tmp_path: Path) -> None:
    whole = filled(tmp_path)
    (tmp_path / "ledger.jsonl").rename(tmp_path / "elsewhere")
    (tmp_path / "ledger.jsonl").symlink_to("elsewhere")
    assert ledger(tmp_path).load().length == 4
    assert (tmp_path / "elsewhere").read_bytes() == whole


def test_a_witness_on_a_disk_that_is_not_mounted_is_not_made_anew(tmp_path: Path) -> None:
    """Not even where the ledger is empty: it may be the old ledger that went with the disk."""
    (tmp_path / "witness.json").symlink_to(tmp_path / "disk" / "witness.json")
    with pytest.raises(Refused, match="where nothing is"):
        ledger(tmp_path).load()
    assert (tmp_path / "witness.json").is_symlink()


def test_a_pipe_as_ledger_holds_no_one_up(world: VaultWorld) -> None:
    """The vault's lock is free again, and with the ledger back the same reply comes."""
    first = world.open().answer(world.request())
    path = world.config.folder / "ledger.jsonl"
    path.rename(path.with_name("kept"))
    os.mkfifo(path)
    for _ in range(2):
        with pytest.raises(Refused, match="named pipe"):
            world.open().answer(world.request(2))
    path.unlink()
    path.with_name("kept").rename(path)
    assert world.open().answer(world.request()) == first
