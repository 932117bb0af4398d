# SPDX-License-Identifier: Apache-2.0
"""The coordinator's append-only journal: what must not be decided twice.

One JSON object a line, each fsynced before the coordinator acts on it. A line that a crash cut
short was never acted on and is cut off at the next start. From the journal and the store the
coordinator resumes to the same records: the answers of a round are fixed before they are closed,
and a signature is written down before it leaves (two signed digests for one round cost the bond).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dao.durable import fsync_folder
from dao.errors import InputError


class JournalError(InputError):
    """The journal's file is damaged, or belongs to another task or to a running coordinator."""


class Journal:
    """Append-only file of one task. `entries` are in order of writing; open it once."""

    def __init__(self, path: Path, *, header: dict[str, Any]) -> None:
        """Open or create. `header` (chain, ledger, task) must equal the one that stands there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("a+b")
        fsync_folder(path.parent)
        self._lock()
        self.entries: list[dict[str, Any]] = list(self._read())
        if not self.entries:
            self.append("header", **header)
        elif self.entries[0] != {"kind": "header", **header}:
            self.close()
            raise JournalError(
                f"{path}: this journal belongs to another task",
                hint="give each task its own coordinator.path",
            )

    def append(self, kind: str, **fields: Any) -> None:
        """Write one entry and make it durable before returning."""
        entry = {"kind": kind, **fields}
        line = json.dumps(entry, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.entries.append(json.loads(line))

    def find(self, kind: str, **match: Any) -> dict[str, Any] | None:
        """The last entry of a kind whose fields equal `match`, or None."""
        wanted = {"kind": kind, **match}
        entry: dict[str, Any]
        for entry in reversed(self.entries):
            if all(entry.get(key) == value for key, value in wanted.items()):
                return entry
        return None

    def close(self) -> None:
        """Release the file and its lock."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise JournalError(
                f"{self.path}: another coordinator works on this task",
                hint="stop it first; two coordinators would sign two records for one round",
            ) from error

    def _read(self) -> Iterator[dict[str, Any]]:
        self._file.seek(0)
        data = self._file.read()
        whole, _, torn = data.rpartition(b"\n")
        if torn:
            self._file.truncate(len(data) - len(torn))
            os.fsync(self._file.fileno())
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry = json.loads(line)
                if not isinstance(entry["kind"], str):
                    raise TypeError("kind is not text")
            except (ValueError, KeyError, TypeError) as error:
                raise JournalError(
                    f"{self.path}: line {number} is damaged: {error}",
                    hint="restore the file; the coordinator must not guess what it signed",
                ) from error
            yield entry


def read_entries(path: Path) -> list[dict[str, Any]]:
    """The whole entries of a journal that another process may be writing (for progress)."""
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines()]
