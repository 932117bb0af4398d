# SPDX-License-Identifier: Apache-2.0
"""A disk that fails at a chosen step of what a vault writes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest


class Disk:
    """Counts what is written, and fails at one step or from it on."""

    def __init__(self, *, fails_at: int | None = None, stays_full: bool = False) -> None:
        self.fails_at, self.stays_full, self.steps = fails_at, stays_full, 0

    def step(self) -> bool:
        self.steps += 1
        if self.fails_at is None:
            return False
        return self.steps == self.fails_at or (self.stays_full and self.steps > self.fails_at)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        write, sync = os.write, os.fsync

        def failing_write(descriptor: int, data: bytes) -> int:
            if self.step():
                write(descriptor, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(descriptor, data)

        def failing_sync(descriptor: int) -> None:
            if self.step():
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            sync(descriptor)

        def failing(move: Callable[..., None]) -> Callable[..., None]:
            def moved(*args: Any, **kwargs: Any) -> None:
                if self.step():
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                move(*args, **kwargs)

            return moved

        patch.setattr(os, "write", failing_write)
        patch.setattr(os, "fsync", failing_sync)
        patch.setattr(os, "replace", failing(os.replace))
        patch.setattr(os, "rename", failing(os.rename))
