# SPDX-License-Identifier: Apache-2.0
"""The one tree of errors.

::

    CovalueError                 anything that Covalue refuses; str() is fit for a person
    ├── InputError               a file, row, flag or setting from the user is wrong
    │   ├── RowError             one row breaks the task's schema (names the field)
    │   └── TaskError            a task file or record is wrong
    ├── RecordError              bytes from another party are not the record they claim to be
    ├── StoreError               content is missing, or does not hash to its CID
    │   ├── MissingBlobError     nobody reachable has the content
    │   └── UnreadableBlobError  a CID that names no file of the store: nobody can ever have it
    ├── ChainError               the chain refused, or is not what was expected
    ├── KeyFileError             a keystore or its password is wrong
    ├── VaultRefusal             the vault will not do what a coordinator asked
    │   └── BudgetError          the privacy ledger cannot afford it
    ├── ReplayMismatch           a recomputed value differs from the recorded one (names the place)
    └── NotServable              the API has no released model to serve (says why)
"""

from __future__ import annotations


class CovalueError(Exception):
    """Base of every refusal. `hint` says what to do next; it is printed below the message."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(CovalueError):
    """A file, row, flag or setting given by the user is wrong."""


class RowError(InputError):
    """One value breaks the task's schema.

    `field` is the column's name, `got` what came (as text), `expected` what is allowed.
    """

    def __init__(self, *, field: str, got: str, expected: str) -> None:
        super().__init__(f"{field}: got {got}, expected {expected}")
        self.field = field
        self.got = got
        self.expected = expected


class TaskError(InputError):
    """A task file or a task record is wrong."""


class RecordError(CovalueError):
    """Bytes from another party are not the record they claim to be."""


class StoreError(CovalueError):
    """Content does not hash to its CID, or the store failed."""


class MissingBlobError(StoreError):
    """No reachable store has the content."""


class UnreadableBlobError(StoreError):
    """A CID names nothing that a store can give: it is malformed, or what it names is no file of
    the store's layout, or too long. The same for everybody, for ever."""


class ChainError(CovalueError):
    """The chain refused a call, or is not the chain that was expected."""


class KeyFileError(CovalueError):
    """A keystore file or its password is wrong."""


class VaultRefusal(CovalueError):
    """The vault will not do what a coordinator asked. Holds no private data, ever."""


class BudgetError(VaultRefusal):
    """The privacy ledger cannot afford the task."""


class ReplayMismatch(CovalueError):
    """A recomputed value differs from the recorded one; `place` names where."""

    def __init__(self, *, place: str, recorded: str, recomputed: str) -> None:
        super().__init__(f"{place}: recorded {recorded}, recomputed {recomputed}")
        self.place = place
        self.recorded = recorded
        self.recomputed = recomputed


class NotServable(CovalueError):
    """There is no released model that may be served; the message says why."""
