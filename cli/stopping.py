# SPDX-License-Identifier: Apache-2.0
"""Being stopped by a signal: an exception that unwinds, so that whatever was started is ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, the polite request to end, and a terminal that was closed."""


class Stopped(KeyboardInterrupt):
    """A signal arrived. `number` is the signal's; a shell expects the exit code 128 + number."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Within the block the first of `SIGNALS` raises Stopped in the main thread; further ones are
    ignored, so that an impatient second Ctrl-C does not break off the tidying up."""
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    for number in SIGNALS:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
