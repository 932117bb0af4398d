# SPDX-License-Identifier: Apache-2.0
"""Reading a file of the vault only where it is one.

Reading a named pipe, or some devices, waits for ever, with the vault's lock held; and a link that
leads nowhere is not a file that is gone: perhaps the disk that it leads to is not mounted.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotAFile(OSError):
    """Something else stands where a file is expected; `strerror` says what."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EINVAL, f"it is {what}")


def read_regular(path: Path) -> bytes | None:
    """The bytes of a file, through links; None where nothing is there. Never waits.

    NotAFile where there is something else, OSError where it cannot be read.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        if path.is_symlink():
            raise NotAFile(f"{_link(path)}, where nothing is (a disk not mounted?)") from error
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotAFile(f"{_link(path)}, which leads round in a circle") from error
        raise
    _require_file(path, status)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        _require_file(path, os.fstat(descriptor))
        return file.read()


def open_regular(path: Path, flags: int) -> int:
    """Descriptor of a file, made (mode 0600) where `flags` say so. Never waits; errors as above."""
    descriptor = os.open(path, flags | os.O_NONBLOCK, 0o600)
    try:
        _require_file(path, os.fstat(descriptor))
    except NotAFile:
        os.close(descriptor)
        raise
    return descriptor


def _require_file(path: Path, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    what = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
    linked = f"{_link(path)}, which is " if path.is_symlink() else ""
    raise NotAFile(f"{linked}{what}, not a file")


def _link(path: Path) -> str:
    return f"a link to {path.readlink()}"
