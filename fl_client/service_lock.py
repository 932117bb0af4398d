# SPDX-License-Identifier: Apache-2.0
"""One answering process a vault: who runs as a service holds the folder for life.

Each answer takes the vault's own lock (`folder_lock`), so that ledgers stay whole whatever happens;
the other lock is for the owner. Two services on one folder would answer the same rounds twice and
spend somebody's night to find out, so the second refuses at once. A simulation opens the folder for
each message: it takes turns with other simulations, and stays away from a running service.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fl_client.answers import writing
from fl_client.refusals import Code, Refused
from fl_client.regular_file import open_regular

LOCK = "service.lock"
"""Within the vault's folder; holds the number of the process that serves."""
_TURNS = "lock"


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Read or write a vault's ledger within this; waits for whoever does so now.
    Refused(unavailable) where the lock's file cannot be made, or is no file."""
    path = folder / _TURNS
    with writing(path):
        descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class ServiceLock:
    """The lifetime lock of one vault folder, of which this object may be the holder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._held = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Serve within this. Refused(unavailable) where another process serves the vault, or
        answers for it just now."""
        with self._taken(fcntl.LOCK_EX) as descriptor:
            with writing(self._path):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
            self._held = True
            try:
                yield
            finally:
                self._held = False
                os.ftruncate(descriptor, 0)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Answer one message within this: at once for the service that holds the lock, together
        with others that answer while there is none. Refused(unavailable) otherwise."""
        if self._held:
            yield
            return
        with self._taken(fcntl.LOCK_SH):
            yield

    @contextmanager
    def _taken(self, kind: int) -> Iterator[int]:
        with writing(self._path):
            descriptor = open_regular(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            self._take(descriptor, kind)
            yield descriptor
        finally:
            os.close(descriptor)

    def _take(self, descriptor: int, kind: int) -> None:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            process = self._path.read_text(encoding="ascii", errors="replace").strip()
            raise Refused(
                Code.UNAVAILABLE,
                f"{self._path.parent} is served by "
                + (
                    f"process {process} already"
                    if process.isdecimal()
                    else "another process just now"
                ),
                hint="one covalue contributor run a vault: stop the other one first",
            ) from error
