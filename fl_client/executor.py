# SPDX-License-Identifier: Apache-2.0
"""The vault's long-lived loop beside a SuperNode that runs with `--isolation process`.

It asks the SuperNode for work, compares the bundle's hash with that of the installed bundle,
and hands the message to the installed ClientApp in this process. The bundle is never unpacked,
so no coordinator can run code here (promise 4). The ClientApp compares the same hash with the one
that the approved task names.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from flwr.app import Context, Message

from fl_client.flower_runtime import NodeLink, NodeUnreachableError, Work, error_reply
from fl_client.refusals import Code

Log = logging.getLogger("covalue.executor")

IDLE_SECONDS = 0.05
"""Pause between two looks for work; the SuperNode itself asks its SuperLink each 3 s."""
OUTAGE_SECONDS = 1.0
"""Pause after the SuperNode did not answer."""


class Executor:
    """Serves one SuperNode with one ClientApp until told to stop.

    `app` is the installed ClientApp (a callable on message and context), `bundle_sha256` the hash
    of the installed bundle; every other bundle is refused without a look into it.
    """

    def __init__(
        self, link: NodeLink, app: Callable[[Message, Context], Message], *, bundle_sha256: str
    ) -> None:
        self._link = link
        self._app = app
        self._bundle_sha256 = bundle_sha256

    def answer(self, work: Work) -> Message:
        """The reply to one message; a foreign bundle gets the bare code `wrong-bundle`."""
        if work.bundle_sha256 != self._bundle_sha256:
            Log.warning(
                "refused bundle %s: this vault runs %s only",
                work.bundle_sha256,
                self._bundle_sha256,
            )
            return error_reply(work.message, Code.WRONG_BUNDLE)
        try:
            return self._app(work.message, work.context)
        except Exception:  # noqa: BLE001 - its text could hold data, so only a code leaves
            # a message of a kind that the app does not know; one message must not end the service
            Log.exception("the ClientApp did not take a message")
            return error_reply(work.message, Code.INTERNAL)

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set; an unreachable SuperNode is waited for."""
        reachable = True
        while not stop.is_set():
            try:
                worked = self._link.serve_one(self.answer)
                if not reachable:
                    Log.info("the SuperNode answers again")
                reachable = True
            except NodeUnreachableError as error:
                if reachable:
                    Log.warning("%s", error)
                reachable = False
                stop.wait(OUTAGE_SECONDS)
                continue
            if not worked:
                stop.wait(IDLE_SECONDS)
