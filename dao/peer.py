# SPDX-License-Identifier: Apache-2.0
"""Blocks over HTTP, in the manner of IPFS trustless gateways: ``GET /ipfs/{cid}?format=raw``.

The client trusts nothing (size cap, deadline, no redirects, hash), so a peer can only refuse.
The server is read only and gives what lies in its own store, never what it would have to fetch.
Source: Trustless Gateway Specification (specs.ipfs.tech/http-gateways/trustless-gateway).
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import httpx

from dao.cid import assemble, check_block, format_cid, parse_cid
from dao.errors import InputError, MissingBlobError, StoreError
from dao.store import BlockSource

MAX_BLOCK_BYTES = 2 << 20
RAW_BLOCK = "application/vnd.ipld.raw"

_log = logging.getLogger(__name__)


class PeerStore:
    """Reads from one peer. `url` like ``http://host:8090``; `timeout_seconds` bounds the wait for
    each step of a request, and four times it the whole of one block."""

    def __init__(self, url: str, *, timeout_seconds: float = 10.0) -> None:
        self.url = _check_address(url).rstrip("/")
        self._deadline_seconds = 4 * timeout_seconds
        self._client = httpx.Client(
            timeout=timeout_seconds,
            follow_redirects=False,
            trust_env=False,
            # each block has a connection of its own, which its deadline can cut
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    @property
    def name(self) -> str:
        """The peer's address."""
        return self.url

    def get_block(self, cid: bytes) -> bytes:
        """One verified block. MissingBlobError if the peer lacks it, StoreError if it cannot be
        reached, sends other bytes, or too many."""
        text = format_cid(cid)
        try:
            block = self._read(text)
        except httpx.HTTPError as error:
            raise StoreError(f"cannot read from {self.url}: {error or type(error)}") from error
        check_block(cid, block)
        return block

    def get(self, cid: str) -> bytes:
        """The verified content of `cid` from this peer alone."""
        return assemble(cid, self.get_block)

    def close(self) -> None:
        """Close what is open."""
        self._client.close()

    def _read(self, cid: str) -> bytes:
        deadline = time.monotonic() + self._deadline_seconds
        url = f"{self.url}/ipfs/{cid}"
        with (
            _cut_after(self._deadline_seconds) as trace,
            self._client.stream(
                "GET",
                url,
                params={"format": "raw"},
                headers={"Accept": RAW_BLOCK},
                extensions={"trace": trace},
            ) as answer,
        ):
            if answer.status_code == HTTPStatus.NOT_FOUND:
                raise MissingBlobError(f"{self.url} has no block {cid}")
            if answer.status_code != HTTPStatus.OK:
                raise StoreError(f"{self.url} answers {answer.status_code} for block {cid}")
            block = bytearray()
            # no chunk size: it would wait for a whole chunk, past any deadline
            for part in answer.iter_raw():
                block += part
                if len(block) > MAX_BLOCK_BYTES:
                    raise StoreError(f"{self.url} sends over {MAX_BLOCK_BYTES} bytes for {cid}")
            if time.monotonic() >= deadline:
                raise StoreError(f"{self.url} is too slow with block {cid}")
        return bytes(block)


@contextmanager
def _cut_after(seconds: float) -> Iterator[Callable[[str, dict[str, Any]], None]]:
    """Ends a request's connection after `seconds`. The timeouts of httpx bound each wait for bytes,
    so a peer that sends one byte of a header now and then would never reach them.

    Gives the `trace` of the request, from which it learns the connection.
    """
    sockets: list[socket.socket] = []

    def trace(event: str, info: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            sockets.append(info["return_value"].get_extra_info("socket"))

    def cut() -> None:
        for each in sockets:
            # a socket that was closed, or that TLS has taken over, is no longer this one's
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield trace
    finally:
        timer.cancel()


class BlockServer:
    """Serves the blocks of `store` over HTTP, in threads, until `stop`; a context manager.

    `port` 0 takes a free one; `url` says which. StoreError if the port is taken.
    """

    def __init__(self, store: BlockSource, *, host: str = "127.0.0.1", port: int = 8090) -> None:
        handler = type("BlockHandler", (_BlockHandler,), {"store": store})
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            raise StoreError(
                f"cannot serve the store at {host}:{port}: {error.strerror}",
                hint="choose another port in covalue.toml: [store] serve_port",
            ) from error
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Address for peers, with the port that was really taken."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> Self:
        """Begin to answer, in a thread of its own."""
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            # how often it looks whether it should stop
            kwargs={"poll_interval": 0.05},
            name="block-server",
            daemon=True,
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Answer no more and free the port."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A peer that hangs up in mid-answer is no event; anything else is logged as a fault."""
        if isinstance(sys.exception(), ConnectionError | TimeoutError):
            _log.debug("the peer at %s hung up", client_address)
        else:
            _log.exception("cannot answer the peer at %s", client_address)


def _check_address(url: str) -> str:
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL()
    if parts.scheme not in ("http", "https") or not parts.host or parts.query or parts.fragment:
        raise InputError(f"not the address of a peer: {url!r}", hint="expected http://host:port")
    return url


class _BlockHandler(BaseHTTPRequestHandler):
    store: BlockSource
    protocol_version = "HTTP/1.1"
    server_version = "covalue"
    sys_version = ""
    # a connection that says nothing is closed after this many seconds
    timeout = 30
    # headers and body go out as two writes: Nagle would hold the second for 40 ms
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """One line a request is of no use to anybody here; failures are answered, not logged."""

    def _answer(self, *, with_body: bool) -> None:
        try:
            status, kind, body = self._look_up()
        except StoreError as error:
            _log.error("a peer asked for a block that cannot be read: %s", error.message)
            status, kind = HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8"
            body = b"this block cannot be read here\n"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        if status == HTTPStatus.OK:
            self.send_header("Cache-Control", "public, max-age=29030400, immutable")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _look_up(self) -> tuple[HTTPStatus, str, bytes]:
        plain = "text/plain; charset=utf-8"
        parts = urlsplit(self.path)
        folder, _, text = parts.path.rpartition("/")
        if folder != "/ipfs":
            return HTTPStatus.NOT_FOUND, plain, b"expected /ipfs/CID?format=raw\n"
        if parse_qs(parts.query).get("format", ["raw"]) != ["raw"]:
            return HTTPStatus.BAD_REQUEST, plain, b"only format=raw is served\n"
        try:
            cid = parse_cid(text)
        except StoreError as error:
            return HTTPStatus.BAD_REQUEST, plain, f"{error.message}\n".encode()
        try:
            return HTTPStatus.OK, RAW_BLOCK, self.store.get_block(cid)
        except MissingBlobError:
            return HTTPStatus.NOT_FOUND, plain, b"this store does not have the block\n"
