# SPDX-License-Identifier: Apache-2.0
"""Asking for content more than once before it is called withheld.

A store asks all its peers each time (`dao.store.ReadThrough`), and a peer that is busy or restarts
may have the content a moment later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from dao.errors import MissingBlobError
from dao.records import BlobRef
from dao.store import Store

PAUSES_SECONDS = (1.0, 4.0)
"""Before the second and the third time."""


class AskingAgain:
    """A store that asks another one, and asks again for what nobody has.

    Damaged content is not asked for again: the block that hashes to its CID is the only one.
    """

    def __init__(
        self,
        store: Store,
        *,
        pauses: Sequence[float] = PAUSES_SECONDS,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._store = store
        self._pauses = tuple(pauses)
        self._wait = wait

    def put(self, data: bytes) -> BlobRef:
        """See `Store.put`."""
        return self._store.put(data)

    def pin(self, cid: str) -> None:
        """See `Store.pin`."""
        self._store.pin(cid)

    def get(self, cid: str) -> bytes:
        """See `Store.get`. MissingBlobError says how often it was asked for."""
        for pause in self._pauses:
            try:
                return self._store.get(cid)
            except MissingBlobError:
                self._wait(pause)
        try:
            return self._store.get(cid)
        except MissingBlobError as error:
            times = len(self._pauses) + 1
            raise MissingBlobError(
                f"withheld: asked for {times} times, nobody who was asked has it: {error.message}",
                hint=error.hint,
            ) from error
