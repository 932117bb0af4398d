# SPDX-License-Identifier: Apache-2.0
"""The vault's stored replies: the bytes that go out when a round is asked for again.

A reply is staged (written and fsynced) before the ledger entry that pays for it. Whether a stored
reply counts is for the ledger to say: without an entry it was never released and is overwritten;
with one it is the reply, and must be the bytes that the entry names, under this vault's signature.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dao import bls
from dao.cid import blob_ref
from dao.durable import fsync_folder
from dao.errors import RecordError
from dao.records import Receipt
from fl_client.refusals import Code, Refused
from fl_client.regular_file import NotAFile, read_regular
from fl_client.wire import TrainAnswer

_RESTORE = (
    "restore the vault's answers/ folder from its newest copy; the round cannot be computed twice"
)

_TAKEN = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.ENXIO}
"""What the system says where a file stands in the place of a folder, or the reverse."""


class AnswerStore:
    """Replies of one account in `folder/<task digest>/<round>.{receipt,update}`, signed with the
    key whose public half (48 bytes) is given."""

    def __init__(self, folder: Path, *, account: str, public_key: bytes) -> None:
        self._folder = folder
        self._account = account
        self._public_key = public_key

    def stage(self, task_digest: str, round_number: int, answer: TrainAnswer) -> None:
        """Make a reply durable. It counts only once the ledger names it.

        Refused(unavailable) where the disk is full or fails."""
        folder = self._folder / task_digest
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_durably(folder / f"{round_number}.update", answer.update)
            write_durably(folder / f"{round_number}.receipt", answer.receipt)

    def load(
        self, task_digest: str, round_number: int, *, base_sha256: str, update_sha256: str
    ) -> TrainAnswer:
        """The stored reply that the ledger paid for, to this round on this base.

        Refused(ledger) when it is gone, damaged or another one; the files are left as they are."""
        folder = self._folder / task_digest
        answer = TrainAnswer(
            receipt=_read(folder / f"{round_number}.receipt", round_number),
            update=_read(folder / f"{round_number}.update", round_number),
        )
        if hashlib.sha256(answer.update).hexdigest() != update_sha256:
            raise Refused(
                Code.LEDGER,
                f"the stored reply to round {round_number} is not the one in the ledger",
                hint=_RESTORE,
            )
        wrong = self._wrong(answer, task_digest, round_number, base_sha256)
        if wrong is not None:
            raise Refused(
                Code.LEDGER,
                f"the stored receipt {folder / f'{round_number}.receipt'} {wrong}",
                hint=_RESTORE,
            )
        return answer

    def _wrong(
        self, answer: TrainAnswer, task_digest: str, round_number: int, base_sha256: str
    ) -> str | None:
        """What is wrong with a stored receipt, in words; None where it is whole."""
        try:
            receipt = Receipt.parse(answer.receipt)
        except RecordError as error:
            return f"is damaged: {error.message}"
        body = receipt.body
        stated = {
            "task": (body.position.task_digest, task_digest),
            "round": (body.position.round, round_number),
            "contributor": (body.contributor, self._account),
            "base model": (body.base_model_sha256, base_sha256),
            "update": (body.update, blob_ref(answer.update)),
        }
        for name, (found, expected) in stated.items():
            if found != expected:
                return f"states another {name}: {found}, expected {expected}"
        signature = bytes.fromhex(receipt.signature.removeprefix("0x"))
        if not bls.verify(self._public_key, body.signing_digest(), signature):
            return "does not bear the signature of this vault's key"
        return None


def _read(path: Path, round_number: int) -> bytes:
    try:
        data = read_regular(path)
    except OSError as error:
        raise Refused(
            Code.LEDGER,
            f"round {round_number} is in the ledger but its reply cannot be read: {path}: "
            f"{error.strerror}",
            hint=_RESTORE,
        ) from error
    if data is None:
        raise Refused(
            Code.LEDGER,
            f"round {round_number} is in the ledger but its reply is gone: {path}",
            hint=_RESTORE,
        )
    return data


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Refused(unavailable) where the disk does not take what is written within."""
    try:
        yield
    except OSError as error:
        taken = error.errno in _TAKEN or isinstance(error, NotAFile)
        raise Refused(
            Code.UNAVAILABLE,
            f"cannot write {path}: {error.strerror or error}",
            hint=(
                "something else stands in its place, or in that of a folder above it: move it away"
                if taken
                else "make room on the disk, or repair it"
            )
            + "; nothing left the vault, and what the ledger has charged stays charged",
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
