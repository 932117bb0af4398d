# SPDX-License-Identifier: Apache-2.0
"""What a vault says when it refuses: one code of a closed list, and nothing else.

The full reason goes to the contributor's own log. What leaves the vault is `covalue:<code>`, so
that no error text can carry a row, a count or a path (promise 5).
"""

from __future__ import annotations

from enum import StrEnum

from dao.errors import (
    BudgetError,
    ChainError,
    CovalueError,
    InputError,
    RecordError,
    ReplayMismatch,
    StoreError,
    VaultRefusal,
)


class Code(StrEnum):
    """Every refusal that can leave a vault."""

    WRONG_BUNDLE = "wrong-bundle"
    """The app bundle is not the one that is installed here and named by the task."""
    BAD_REQUEST = "bad-request"
    """The message is not a request, or names a record that is not one."""
    NOT_APPROVED = "not-approved"
    """The chain does not say that this task runs with this contributor on its roster."""
    POLICY = "policy"
    """The contributor's own limits forbid the task."""
    BUDGET = "budget"
    """The privacy ledger cannot afford the whole task."""
    OTHER_BASE = "other-base"
    """The round was answered before, on another base model."""
    OTHER_RECEIPTS = "other-receipts"
    """The list of a round's receipts lacks this vault's, or is not the one it was shown first."""
    LEDGER = "ledger"
    """The privacy ledger is damaged or is a restored backup."""
    DATA = "data"
    """The contributor's own file does not fit the task."""
    UNAVAILABLE = "unavailable"
    """The contributor's chain endpoint or store did not answer."""
    MISMATCH = "mismatch"
    """Replaying gave something else than what was to be co-signed."""
    INTERNAL = "internal"
    """Anything else."""


class Refused(VaultRefusal):
    """A refusal with its code; message and hint are for the contributor's own log only."""

    def __init__(self, code: Code, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


def code_of(error: BaseException) -> Code:
    """The code under which an error may leave the vault."""
    match error:
        case Refused():
            return error.code
        case BudgetError():
            return Code.BUDGET
        case ReplayMismatch():
            return Code.MISMATCH
        case ChainError() | StoreError():
            return Code.UNAVAILABLE
        case RecordError():
            return Code.BAD_REQUEST
        case InputError():
            return Code.DATA
        case VaultRefusal():
            return Code.POLICY
        case CovalueError():
            return Code.INTERNAL
        case _:
            return Code.INTERNAL
