# SPDX-License-Identifier: Apache-2.0
"""Making checks one after the other: each passes, or ends the audit and is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from audit.report import AuditReport, Check, Fault
from dao.errors import (
    ChainError,
    CovalueError,
    MissingBlobError,
    ReplayMismatch,
    StoreError,
)


@dataclass(frozen=True)
class Progress:
    """How far an audit is: what it looks at, and how many of the committed rounds are checked."""

    place: str
    rounds_done: int
    rounds: int


Tell = Callable[[Progress], object]


class Failed(Exception):
    """A check failed; it stands in the report."""


class Checks:
    """Writes checks into a report; `tell` hears of each one before it is made, and of each round
    once it is checked."""

    def __init__(self, report: AuditReport, *, rounds: int, tell: Tell) -> None:
        self._report = report
        self._rounds = rounds
        self._done = 0
        self._tell = tell

    @contextmanager
    def of(self, place: str) -> Iterator[None]:
        """One check. Whatever Covalue refuses within it is its failure, named in the report, and
        raises Failed; but ChainError, which says nothing of the task, passes through."""
        self._tell(Progress(place, self._done, self._rounds))
        try:
            yield
        except ChainError:
            raise
        except CovalueError as error:
            check = Check(place=place, ok=False, detail=error.message, fault=_fault(error))
            self._report.checks.append(check)
            raise Failed(place) from error
        self._report.checks.append(Check(place=place, ok=True, detail=""))

    def round_done(self, number: int) -> None:
        """Another round is checked."""
        self._done = number
        self._tell(Progress(f"round {number}", number, self._rounds))


def equal(place: str, *, on_chain: object, recomputed: object) -> None:
    """ReplayMismatch unless the chain says what was recomputed."""
    if on_chain != recomputed:
        raise ReplayMismatch(
            place=place, recorded=f"{on_chain} (on chain)", recomputed=str(recomputed)
        )


def _fault(error: CovalueError) -> Fault:
    if isinstance(error, MissingBlobError):
        return "withheld"
    return "unreadable" if isinstance(error, StoreError) else "differs"
