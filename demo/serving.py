# SPDX-License-Identifier: Apache-2.0
"""The inference API on a free port of this machine, for as long as a `with` block runs."""

from __future__ import annotations

import json
import threading
import time
from types import TracebackType
from typing import Any, Self

import httpx
import uvicorn
from fastapi import FastAPI

from dao.errors import CovalueError
from inference.server import listen

START_SECONDS = 20.0
ANSWER_SECONDS = 60.0


class ServedApi:
    """`with ServedApi(app) as api:` answers at `api.url`."""

    def __init__(self, app: FastAPI, *, port: int = 0) -> None:
        self._listener = listen("127.0.0.1", port)
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", access_log=False, server_header=False)
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True
        )
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        until = time.monotonic() + START_SECONDS
        while not self._server.started:
            if time.monotonic() > until or not self._thread.is_alive():
                raise CovalueError("the API did not start")
            time.sleep(0.02)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def wait(self) -> None:
        """Until the thread ends; a KeyboardInterrupt of the caller ends it."""
        self._thread.join()

    def value(self, row: dict[str, Any]) -> dict[str, Any]:
        """The signed valuation of one row; CovalueError with what the API said otherwise."""
        answer = httpx.post(f"{self.url}/v1/valuations", json=row, timeout=ANSWER_SECONDS)
        if answer.status_code != 200:
            raise CovalueError(f"the API answered {answer.status_code}: {answer.text}")
        valuations: dict[str, Any] = answer.json()
        return valuations


def curl_line(url: str, row: dict[str, Any]) -> str:
    """A command that asks the API for one row."""
    body = json.dumps(row).replace("'", "'\\''")
    return f"curl -s {url}/v1/valuations -H 'content-type: application/json' -d '{body}'"
