# SPDX-License-Identifier: Apache-2.0
"""The privacy ledger on disk: one canonical entry a line, appended and fsynced, hash-chained.

A second place, the witness, keeps the ledger's length and head. A ledger that is shorter than its
witness, or has another past, is a restored backup: it does not know what was spent since, so the
vault refuses to work (promise 1). The ledger may be ahead of the witness by what a crash left
unwitnessed; it then holds more than the witness knows, which is harmless.

A file that is refused is left as it is. The only bytes that are ever taken away are those of a last
line without its end, which a crash or a full disk left and for which nothing was released.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from dao.durable import fsync_folder
from dao.errors import RecordError
from dao.strict_json import load_json
from fl_client.answers import write_all, write_durably, writing
from fl_client.refusals import Code, Refused
from fl_client.regular_file import read_regular
from privacy.ledger import LedgerState
from privacy.ledger_entry import GENESIS, BrokenLink, LedgerEntry

_NEWEST = "put the newest ledger.jsonl back"
_IF_LOST = (
    "if it is lost, the budget of these records counts as spent: "
    "use them in no vault again (covalue contributor exit gives the stake back)"
)
_WAY_OUT = f"{_NEWEST}; {_IF_LOST}"
_REBUILD = (
    "put it back; or, if you know that ledger.jsonl is the newest one, nothing is lost: run "
    "covalue contributor check --rebuild-witness. If it may come from a backup, do not, for what "
    "was spent since would be spent again; then " + _WAY_OUT
)


class LedgerFile:
    """Ledger and witness of the vault of `account`. Hold the vault's lock while using it."""

    def __init__(self, path: Path, *, witness: Path, account: str) -> None:
        self._path = path
        self._witness = witness
        self._account = account
        self._forget()

    def load(self) -> LedgerState:
        """The state as of now: reads what was appended since, and checks all against the witness.

        Refused(ledger) when the file is damaged, another vault's, shorter than before or not the
        witness's; the file is then as it was."""
        torn = self._read()
        self._check_witness(torn=torn)
        if torn:
            self._cut_torn_line()
        return self._state

    def unwitnessed(self) -> LedgerState:
        """The state that the file alone tells, for its owner to look at; nothing is changed.
        Refused(ledger) when it is damaged or another vault's."""
        self._read()
        return self._state

    def append(self, entry: LedgerEntry) -> LedgerState:
        """Make an entry durable, then its witness. Only after this may anything leave the vault.

        Refused(unavailable) where the disk is full or fails: the ledger then holds the entry or is
        as before, and `load` says which.
        """
        state = self._state.apply(entry)
        line = entry.canonical() + b"\n"
        if not self._state.length and self._read_witness() is None:
            # Not in `load`: who only looks at a lost ledger must not let an older one pass after.
            self._write_witness()
        with writing(self._path):
            self._append_line(line)
        self._learn(state, line)
        self._write_witness()
        return state

    def rebuild_witness(self) -> LedgerState:
        """Write the witness anew from the ledger as it is. For its owner, who knows that this
        ledger is the newest one; the vault itself never does it. Refused(ledger) when the ledger
        is gone, damaged or another vault's; the witness is then as it was."""
        self._forget()
        torn = self._read()
        if not self._path.exists() and self._known_length():
            raise Refused(
                Code.LEDGER,
                f"{self._path} is gone: there is no ledger to write a witness from",
                hint=_WAY_OUT,
            )
        self._write_witness()
        if torn:
            self._cut_torn_line()
        return self._state

    def _forget(self) -> None:
        self._state = LedgerState(account=self._account)
        self._heads = [GENESIS]
        self._size = 0
        self._seen = hashlib.sha256()

    def _learn(self, state: LedgerState, line: bytes) -> None:
        self._state = state
        self._heads.append(state.head)
        self._size += len(line)
        self._seen.update(line)

    def _read(self) -> bool:
        """Take in the whole lines of the file; true where a last one without its end follows."""
        try:
            data = read_regular(self._path) or b""
        except OSError as error:
            raise Refused(
                Code.LEDGER, f"cannot read {self._path}: {error.strerror}", hint=_WAY_OUT
            ) from error
        whole = data.rfind(b"\n") + 1
        if hashlib.sha256(data[: self._size]).digest() != self._seen.digest():
            self._forget()
        lines = data[self._size : whole].splitlines(keepends=True)
        for place, line in enumerate(lines):
            try:
                state = self._state.apply(_parsed(line))
            except RecordError as error:
                refusal = self._damaged(error, lines[place:])
                self._forget()
                raise refusal from error
            self._learn(state, line)
        return whole < len(data)

    def _damaged(self, error: RecordError, lines: list[bytes]) -> Refused:
        """Why the first of these lines cannot be taken in, naming the one to look at."""
        number = len(self._heads)
        told = f"line {number}: {error.message}"
        if isinstance(error, BrokenLink) and number > 1:
            told = self._changed(number, lines)
        return Refused(
            Code.LEDGER, f"{self._path}, {told}", hint=f"{error.hint or _NEWEST}; {_IF_LOST}"
        )

    def _changed(self, number: int, lines: list[bytes]) -> str:
        """Which of two lines was changed, where the second, the first of `lines`, does not follow.

        What comes after tells: the next line, or the witness, has seen one of the two as it was."""
        before = number - 1
        entry, seen = _parsed(lines[0]), self._head_seen_after(number, lines[1:])
        if seen == entry.digest():
            return (
                f"line {before}: changed after it was written: line {number} names another one"
                " before it"
            )
        if seen == entry.model_copy(update={"previous": self._state.head}).digest():
            return f"line {number}: its `previous` was changed: it does not name line {before}"
        return (
            f"line {before} or {number}: one of the two was changed after it was written:"
            f" line {number} does not follow from line {before}"
        )

    def _head_seen_after(self, number: int, later: list[bytes]) -> str | None:
        """The hash of line `number` by what came after it; None where nothing did."""
        try:
            if later:
                return _parsed(later[0]).previous
            seen = self._read_witness()
        except (RecordError, Refused):
            return None
        return seen[1] if seen is not None and seen[0] == number else None

    def _append_line(self, line: bytes) -> None:
        created = not self._path.exists()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            try:
                write_all(descriptor, line)
                os.fsync(descriptor)
            except OSError:
                # A line whose fsync failed may look whole and yet be gone after a power cut: it
                # must not be taken for a durable one.
                os.ftruncate(descriptor, self._size)
                os.fsync(descriptor)
                raise
        finally:
            os.close(descriptor)
        if created:
            fsync_folder(self._path.parent)

    def _check_witness(self, *, torn: bool) -> None:
        seen = self._read_witness()
        if seen is None:
            if self._state.length:
                raise Refused(
                    Code.LEDGER,
                    f"the witness {self._witness} of {self._path} is gone: nothing tells whether "
                    f"its {self._state.length} entries are all",
                    hint=_REBUILD,
                )
            return
        length, head = seen
        if length > self._state.length:
            what = "it was cut short" if torn else "it is a restored backup, or was cut short"
            raise Refused(
                Code.LEDGER,
                f"{self._path} has {self._state.length} entries, its witness has seen {length}: "
                + what,
                hint=_WAY_OUT,
            )
        if self._heads[length] != head:
            raise Refused(
                Code.LEDGER,
                f"{self._path} is not the ledger that its witness has seen",
                hint=_WAY_OUT,
            )
        if length < self._state.length:
            self._write_witness()

    def _read_witness(self) -> tuple[int, str] | None:
        """Length and head of the ledger that the witness has seen; None where there is none."""
        try:
            data = read_regular(self._witness)
        except OSError as error:
            raise Refused(
                Code.LEDGER,
                f"cannot read the witness {self._witness}: {error.strerror}",
                hint="make it a file that you may read; or " + _REBUILD,
            ) from error
        if data is None:
            return None
        try:
            seen = load_json(data)
            length, head = seen["length"], seen["head"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged_witness() from error
        if type(length) is not int or length < 0 or not isinstance(head, str):
            raise self._damaged_witness()
        return length, head

    def _damaged_witness(self) -> Refused:
        return Refused(
            Code.LEDGER,
            f"the witness {self._witness} of {self._path} is damaged: nothing tells whether its "
            f"{self._state.length} entries are all",
            hint=_REBUILD,
        )

    def _known_length(self) -> int:
        """Entries that the witness has seen; 0 where it cannot tell."""
        try:
            seen = self._read_witness()
        except Refused:
            return 0
        return 0 if seen is None else seen[0]

    def _write_witness(self) -> None:
        seen = {"length": self._state.length, "head": self._state.head}
        with writing(self._witness):
            self._witness.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._witness, json.dumps(seen).encode())

    def _cut_torn_line(self) -> None:
        """A line without its end was cut short by a crash: nothing left the vault because of it."""
        with writing(self._path), self._path.open("r+b") as file:
            file.truncate(self._size)
            os.fsync(file.fileno())


def _parsed(line: bytes) -> LedgerEntry:
    return LedgerEntry.parse(line.rstrip(b"\n"))
