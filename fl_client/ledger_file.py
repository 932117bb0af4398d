# SPDX-License-Identifier: Apache-2.0
"""The privacy ledger on disk: one canonical entry a line, appended and fsynced, hash-chained.

A second place, the witness, keeps the ledger's length and head. A ledger that is shorter than its
witness, or has another past, is a restored backup: it does not know what was spent since, so the
vault refuses to work (promise 1). The ledger may be ahead of the witness by what a crash left
unwitnessed; it then holds more than the witness knows, which is harmless.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from dao.durable import fsync_folder
from dao.errors import RecordError
from fl_client.answers import write_durably
from fl_client.refusals import Code, Refused
from privacy.ledger import GENESIS, LedgerEntry, LedgerState

_WAY_OUT = (
    "put the newest ledger.jsonl back; if it is lost, the budget of these records counts as spent: "
    "retire this vault"
)


class LedgerFile:
    """Ledger and witness of one vault. Hold the vault's lock while using it."""

    def __init__(self, path: Path, *, witness: Path) -> None:
        self._path = path
        self._witness = witness
        self._state = LedgerState()
        self._size = 0
        self._heads = [GENESIS]

    def load(self) -> LedgerState:
        """The state as of now: reads what was appended since, and checks all against the witness.

        Refused(ledger) when the file is damaged, shorter than before or not the witness's."""
        data = self._path.read_bytes() if self._path.exists() else b""
        whole = data.rfind(b"\n") + 1
        if whole < self._size:
            self._state, self._size, self._heads = LedgerState(), 0, [GENESIS]
        for line in data[self._size : whole].splitlines():
            try:
                self._state = self._state.apply(LedgerEntry.parse(line))
            except RecordError as error:
                raise Refused(
                    Code.LEDGER, f"{self._path}: {error.message}", hint=_WAY_OUT
                ) from error
            self._heads.append(self._state.head)
        self._size = whole
        self._check_witness()
        if whole < len(data):
            self._cut_torn_line(whole)
        return self._state

    def append(self, entry: LedgerEntry) -> LedgerState:
        """Make an entry durable, then its witness. Only after this may anything leave the vault."""
        state = self._state.apply(entry)
        created = not self._path.exists()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            line = entry.canonical() + b"\n"
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if created:
            fsync_folder(self._path.parent)
        self._state, self._size = state, self._size + len(line)
        self._heads.append(state.head)
        self._write_witness()
        return state

    def rebuild_witness(self) -> LedgerState:
        """Write the witness anew from the ledger as it is. For its owner, who knows that this
        ledger is the newest one; the vault itself never does it."""
        self._witness.unlink(missing_ok=True)
        state = self._load_without_witness()
        self._write_witness()
        return state

    def _load_without_witness(self) -> LedgerState:
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        self._state = LedgerState.replay(LedgerEntry.parse(line) for line in lines)
        return self._state

    def _check_witness(self) -> None:
        if not self._witness.exists():
            if self._state.length:
                raise Refused(
                    Code.LEDGER,
                    f"the witness {self._witness} of the ledger is gone",
                    hint="put it back; or, if you know that ledger.jsonl is the newest one, "
                    "run: covalue contributor check --rebuild-witness",
                )
            self._write_witness()
            return
        try:
            seen = json.loads(self._witness.read_bytes())
            length, head = int(seen["length"]), str(seen["head"])
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(
                Code.LEDGER,
                f"the witness {self._witness} is damaged",
                hint="run: covalue contributor check --rebuild-witness",
            ) from error
        if length > self._state.length:
            raise Refused(
                Code.LEDGER,
                f"{self._path} has {self._state.length} entries, its witness has seen {length}: "
                "it is a restored backup",
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

    def _write_witness(self) -> None:
        self._witness.parent.mkdir(parents=True, exist_ok=True)
        seen = {"length": self._state.length, "head": self._state.head}
        write_durably(self._witness, json.dumps(seen).encode())

    def _cut_torn_line(self, whole: int) -> None:
        """A line without its end was cut short by a crash: nothing left the vault because of it."""
        with self._path.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
