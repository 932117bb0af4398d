# SPDX-License-Identifier: Apache-2.0
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from dao.cid import cid_of, parse_cid
from dao.errors import InputError, MissingBlobError, StoreError
from dao.peer import MAX_BLOCK_BYTES, RAW_BLOCK, BlockServer, PeerStore
from dao.store import LocalStore, MemoryStore, ReadThrough

BIG = bytes(range(256)) * 4096 * 3 + b"tail"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[LocalStore, BlockServer]]:
    store = LocalStore(tmp_path / "served")
    with BlockServer(store, port=0) as server:
        yield store, server


def test_content_travels_between_stores(
    served: tuple[LocalStore, BlockServer], tmp_path: Path
) -> None:
    theirs, server = served
    root = theirs.put(BIG).cid
    peer = PeerStore(server.url)
    assert peer.get(root) == BIG
    mine = LocalStore(tmp_path / "mine")
    assert ReadThrough(mine, [peer]).get(root) == BIG
    assert mine.get(root) == BIG
    peer.close()


def test_many_readers_at_once(served: tuple[LocalStore, BlockServer]) -> None:
    theirs, server = served
    roots = [theirs.put(bytes([number]) * 5000).cid for number in range(20)]
    peer = PeerStore(server.url)
    with ThreadPoolExecutor(8) as pool:
        assert [data[0] for data in pool.map(peer.get, roots)] == list(range(20))


def test_server_speaks_as_a_trustless_gateway(served: tuple[LocalStore, BlockServer]) -> None:
    theirs, server = served
    cid = theirs.put(b"block").cid
    url = f"{server.url}/ipfs/{cid}"
    answer = httpx.get(url, params={"format": "raw"})
    assert answer.status_code == 200
    assert answer.content == b"block"
    assert answer.headers["content-type"] == RAW_BLOCK
    assert "immutable" in answer.headers["cache-control"]
    head = httpx.head(url, params={"format": "raw"})
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == "5"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/ipfs/{cid_of(b'not here')}?format=raw", 404),
        ("HEAD", f"/ipfs/{cid_of(b'not here')}?format=raw", 404),
        ("GET", f"/ipfs/{cid_of(b'not here')}?format=car", 400),
        ("GET", "/ipfs/..%2f..%2fetc%2fpasswd", 400),
        ("GET", "/ipfs/../../etc/passwd", 404),
        ("GET", "/ipfs/", 400),
        ("GET", "/", 404),
        ("GET", f"/ipfs/{cid_of(b'not here')}/child", 404),
        ("PUT", f"/ipfs/{cid_of(b'not here')}", 501),
        ("POST", "/api/v0/add", 501),
        ("DELETE", f"/ipfs/{cid_of(b'not here')}", 501),
    ],
)
def test_server_refuses_cleanly(
    served: tuple[LocalStore, BlockServer], method: str, path: str, status: int
) -> None:
    _, server = served
    with socket.create_connection(server.url.removeprefix("http://").split(":")) as connection:
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert int(answer.split()[1]) == status


def test_a_damaged_block_is_not_served(served: tuple[LocalStore, BlockServer]) -> None:
    theirs, server = served
    cid = theirs.put(b"precious").cid
    theirs.block_path(parse_cid(cid)).write_bytes(b"precioux")
    answer = httpx.get(f"{server.url}/ipfs/{cid}")
    assert answer.status_code == 500
    assert str(theirs.path) not in answer.text
    with pytest.raises(StoreError, match="500"):
        PeerStore(server.url).get(cid)


def test_a_missing_block_is_missing(served: tuple[LocalStore, BlockServer]) -> None:
    with pytest.raises(MissingBlobError, match="has no block"):
        PeerStore(served[1].url).get(cid_of(b"absent"))


def test_stopped_server_frees_its_port() -> None:
    first = BlockServer(MemoryStore(), port=0).start()
    port = int(first.url.rsplit(":", 1)[1])
    with pytest.raises(StoreError, match="cannot serve"):
        BlockServer(MemoryStore(), port=port)
    first.stop()
    with BlockServer(MemoryStore(), port=port) as second:
        assert second.url == first.url


def test_a_peer_that_hangs_up_is_no_fault(
    served: tuple[LocalStore, BlockServer],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    theirs, server = served
    cid = theirs.put(bytes(1 << 20)).cid
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port))) as connection:
            # a reset, in place of a polite end
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1] + [0] * 7))
            connection.sendall(f"GET /ipfs/{cid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            connection.recv(10)
    assert PeerStore(server.url).get(cid) == bytes(1 << 20)
    assert capsys.readouterr().err == ""
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_server_that_never_started_stops() -> None:
    BlockServer(MemoryStore(), port=0).stop()


def test_unreachable_peer_is_a_store_error() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(StoreError, match="cannot read from"):
            PeerStore(url, timeout_seconds=2).get(cid_of(b"x"))


@pytest.mark.parametrize(
    "url", ["", "host:80", "ftp://host", "http://", "http://host/?a=b", "http://host:port"]
)
def test_not_an_address(url: str) -> None:
    with pytest.raises(InputError, match="not the address of a peer"):
        PeerStore(url)


@contextlib.contextmanager
def hostile(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A peer that answers as `answer` does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(ConnectionError):
                answer(self)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_wrong_bytes_are_refused() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"other")

    with hostile(answer) as url, pytest.raises(StoreError, match="does not hash"):
        PeerStore(url).get(cid_of(b"wanted"))


def test_endless_bytes_are_cut_off() -> None:
    sent = 0

    def answer(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        while sent < 50 * MAX_BLOCK_BYTES:
            handler.wfile.write(bytes(1 << 16))
            sent += 1 << 16

    with hostile(answer) as url, pytest.raises(StoreError, match="sends over"):
        PeerStore(url).get(cid_of(b"wanted"))
    assert sent < 25 * MAX_BLOCK_BYTES


def test_a_redirect_is_not_followed() -> None:
    asked: list[str] = []

    def elsewhere(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)

    with hostile(elsewhere) as secret:

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("Location", secret)
            handler.end_headers()

        with hostile(answer) as url, pytest.raises(StoreError, match="302"):
            PeerStore(url).get(cid_of(b"wanted"))
    assert asked == []


def test_a_silent_peer_costs_its_timeout_only() -> None:
    release = threading.Event()
    with hostile(lambda _: release.wait(20) and None) as url:
        peer = PeerStore(url, timeout_seconds=0.3)
        with pytest.raises(StoreError, match="cannot read from"):
            peer.get(cid_of(b"wanted"))
        release.set()


def test_a_dripping_peer_meets_the_deadline() -> None:
    stop = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not stop.wait(0.05):
            handler.wfile.write(b"x")

    with hostile(answer) as url:
        peer = PeerStore(url, timeout_seconds=0.2)
        with pytest.raises(StoreError, match="too slow"):
            peer.get(cid_of(b"wanted"))
        stop.set()


def test_a_peer_that_drips_its_headers_is_left_at_the_deadline() -> None:
    """Each byte comes within the timeout of one read; the whole request has its own."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not done.wait(0.05):
                    connection.sendall(b"a")

        thread = threading.Thread(target=drip)
        thread.start()
        peer = PeerStore(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_seconds=0.2)
        giving_up = threading.Timer(5, done.set)
        giving_up.start()
        with pytest.raises(StoreError):
            peer.get(cid_of(b"never"))
        left_by_itself = not done.is_set()
        giving_up.cancel()
        done.set()
        thread.join()
    assert left_by_itself
