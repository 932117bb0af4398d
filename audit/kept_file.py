# SPDX-License-Identifier: Apache-2.0
"""The file in which an audit keeps what it has recomputed, so that an interrupted one goes on.

Whoever can write to it could vouch for rounds that nobody checked. So it lies in a folder of the
auditor alone, never in a store or beside settings, which others may share; and it is not read where
the file or its folder belongs to somebody else, or others may write to it. Who can act as the
auditor's own user could change the program as well.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

DEFAULT_FOLDER = Path("~/.cache/covalue/audits")
MAX_BYTES = 1 << 30
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class KeptFile:
    """One file of one audit, named after what the audit is of."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder.expanduser()
        self._path = self._folder / name

    def read(self) -> bytes | None:
        """What was kept; None where there is nothing, or nothing that only this user can have
        written."""
        try:
            if not _only_mine(self._folder.lstat(), stat.S_IFDIR):
                return None
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        status = os.fstat(descriptor)
        if not _only_mine(status, stat.S_IFREG) or status.st_size > MAX_BYTES:
            os.close(descriptor)
            return None
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    def write(self, data: bytes) -> None:
        """Take the place of what was kept, whole or not at all. An audit does not need it: where
        it cannot be written, nothing is kept."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".part-")
        except OSError:
            return
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            temporary.replace(self._path)
        except OSError:
            temporary.unlink(missing_ok=True)

    def remove(self) -> None:
        """Keep nothing any more."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return


def _only_mine(status: os.stat_result, kind: int) -> bool:
    return (
        stat.S_IFMT(status.st_mode) == kind
        and status.st_uid == os.geteuid()
        and not status.st_mode & _OTHERS_MAY_WRITE
    )
