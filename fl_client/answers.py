# SPDX-License-Identifier: Apache-2.0
"""The vault's stored replies: the bytes that go out when a round is asked for again.

A reply is staged (written and fsynced) before the ledger entry that pays for it. Whether a stored
reply counts is for the ledger to say: without an entry it was never released and is overwritten;
with one it is the reply, and must be the bytes that the entry names.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dao.durable import fsync_folder
from fl_client.refusals import Code, Refused
from fl_client.wire import TrainAnswer


class AnswerStore:
    """Replies in `folder/<task digest>/<round>.{receipt,update}`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def stage(self, task_digest: str, round_number: int, answer: TrainAnswer) -> None:
        """Make a reply durable. It counts only once the ledger names it.

        Refused(unavailable) where the disk is full or fails."""
        folder = self._folder / task_digest
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_durably(folder / f"{round_number}.update", answer.update)
            write_durably(folder / f"{round_number}.receipt", answer.receipt)

    def load(self, task_digest: str, round_number: int, *, update_sha256: str) -> TrainAnswer:
        """The stored reply that the ledger paid for; Refused(ledger) when it is gone or differs."""
        folder = self._folder / task_digest
        try:
            answer = TrainAnswer(
                receipt=(folder / f"{round_number}.receipt").read_bytes(),
                update=(folder / f"{round_number}.update").read_bytes(),
            )
        except FileNotFoundError as error:
            raise Refused(
                Code.LEDGER,
                f"round {round_number} is in the ledger but its reply is gone: {error.filename}",
                hint="restore the vault's answers/ folder; the round cannot be computed twice",
            ) from error
        if hashlib.sha256(answer.update).hexdigest() != update_sha256:
            raise Refused(
                Code.LEDGER,
                f"the stored reply to round {round_number} is not the one in the ledger",
                hint="restore the vault's answers/ folder from its newest copy",
            )
        return answer


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Refused(unavailable) where the disk does not take what is written within."""
    try:
        yield
    except OSError as error:
        raise Refused(
            Code.UNAVAILABLE,
            f"cannot write {path}: {error.strerror or error}",
            hint="make room on the disk, or repair it; nothing left the vault, and what the ledger "
            "has charged stays charged",
        ) from error


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file so that a crash leaves the old bytes or the new ones (mode 0600). OSError
    leaves the old ones."""
    staged = path.with_name(path.name + ".new")
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        staged.replace(path)
    except OSError:
        staged.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes; OSError where the disk takes only some of them."""
    written = 0
    while written < len(data):
        written += os.write(descriptor, data[written:])
