# SPDX-License-Identifier: Apache-2.0
"""The API on a real socket: what a client sees that TestClient does not show."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import httpx
import pytest
from eth_account import Account
from released_world import ROW, World, released_world  # noqa: F401 - a fixture

from dao.errors import InputError
from demo.serving import ServedApi
from inference.app import create_app
from inference.provider import ChainProvider
from inference.server import listen
from inference.signing import AccountSigner


@pytest.fixture
def port(world: World) -> Iterator[int]:
    """The port of a running server."""
    app = create_app(
        ChainProvider(world.chain, world.store), AccountSigner(Account.from_key("0x" + "4d" * 32))
    )
    with ServedApi(app) as api:
        yield int(api.url.rsplit(":", 1)[1])


def test_rows_are_answered_over_http(port: int) -> None:
    base = f"http://127.0.0.1:{port}"
    assert httpx.get(f"{base}/healthz").json()["serving"] is True
    answers = httpx.post(f"{base}/v1/valuations", json={"rows": [ROW, ROW]}).json()["valuations"]
    assert len(answers) == 2


def test_a_declared_body_of_50_mb_is_refused_before_a_byte_of_it_is_sent(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(
            b"POST /v1/valuations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 50000000\r\n\r\n"
        )
        answer = b""
        while chunk := client.recv(65_536):
            answer += chunk
    head, body = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in head.lower()
    assert "50000000 bytes" in json.loads(body)["error"]


def test_a_chunked_body_without_end_is_cut_off(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(
            b"POST /v1/valuations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        with pytest.raises(OSError, match=r"reset|pipe"):  # the server hangs up
            pour(client, most_bytes=200_000_000)


def pour(client: socket.socket, *, most_bytes: int) -> None:
    """Send chunks of 64 KiB, up to so many bytes."""
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    for _ in range(most_bytes // 0x10000):
        client.sendall(chunk)


def test_a_busy_port_is_named_with_a_way_out() -> None:
    with listen("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1:{port}") as caught:
            listen("127.0.0.1", port)
        assert "--port" in (caught.value.hint or "")
