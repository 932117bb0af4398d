# SPDX-License-Identifier: Apache-2.0
"""What an audit keeps is read back only where nobody but its own user can have written it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audit import kept_file
from audit.kept_file import KeptFile

NAME, KEPT = "ab" * 32, b"rounds 1 to 40"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of an audit that has kept something."""
    folder = tmp_path / "cache" / "audits"
    KeptFile(folder, NAME).write(KEPT)
    return folder


def test_what_was_kept_last_is_read_until_it_is_removed(folder: Path) -> None:
    file = KeptFile(folder, NAME)
    assert file.read() == KEPT
    file.write(b"rounds 1 to 50")
    assert file.read() == b"rounds 1 to 50"
    assert [path.name for path in folder.iterdir()] == [NAME]
    file.remove()
    file.remove()
    assert file.read() is None
    assert KeptFile(folder.parent / "none", NAME).read() is None


def test_folder_and_file_are_for_the_user_alone(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600


def _linked(path: Path) -> None:
    other = path.with_suffix(".other")
    path.rename(other)
    path.symlink_to(other)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / NAME).chmod(0o620),
        lambda folder: (folder / NAME).chmod(0o602),
        lambda folder: folder.chmod(0o770),
        lambda folder: folder.chmod(0o707),
        lambda folder: _linked(folder / NAME),
        _linked,
        lambda folder: ((folder / NAME).unlink(), os.mkfifo(folder / NAME, 0o600)),
        lambda folder: ((folder / NAME).unlink(), (folder / NAME).mkdir()),
    ],
)
def test_what_others_may_have_written_is_not_read(
    folder: Path, spoil: Callable[[Path], Any]
) -> None:
    spoil(folder)
    assert KeptFile(folder, NAME).read() is None


@pytest.mark.parametrize("place", ["folder", "file"])
def test_what_belongs_to_somebody_else_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    inode = (folder if place == "folder" else folder / NAME).stat().st_ino
    true = kept_file._only_mine

    def of_another(status: os.stat_result, kind: int) -> bool:
        owner = status.st_uid + (status.st_ino == inode)
        found: Any = SimpleNamespace(st_mode=status.st_mode, st_uid=owner)
        return true(found, kind)

    monkeypatch.setattr(kept_file, "_only_mine", of_another)
    assert KeptFile(folder, NAME).read() is None


def test_a_folder_that_cannot_be_written_keeps_nothing_and_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("no folder")
    file = KeptFile(tmp_path / "taken", NAME)
    file.write(KEPT)
    assert file.read() is None
    file.remove()
