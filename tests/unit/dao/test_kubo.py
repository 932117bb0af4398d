# SPDX-License-Identifier: Apache-2.0
"""The Kubo adapter against a small server that answers `/api/v0` as a real daemon was seen to;
tests/integration/test_kubo_live.py runs a real one."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from dao.cid import blocks, cid_of, format_cid, parse_cid
from dao.errors import InputError, MissingBlobError, StoreError
from dao.kubo import KuboStore

BIG = bytes(range(256)) * 4096 * 2 + b"tail"


class Daemon:
    """Blocks by CID, what was pinned, and how each kind of request is spoilt, if at all."""

    def __init__(self) -> None:
        self.blocks: dict[str, bytes] = {}
        self.pinned: list[str] = []
        self.options: list[dict[str, str]] = []
        self.other_key: str | None = None
        daemon = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self._read_chunks()
                parts = urlsplit(self.path)
                options = {key: values[0] for key, values in parse_qs(parts.query).items()}
                status, answer = daemon.answer(parts.path, options, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def _read_chunks(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.api = f"/ip4/127.0.0.1/tcp/{self.server.server_address[1]}"

    def answer(self, path: str, options: dict[str, str], body: bytes) -> tuple[int, bytes]:
        self.options.append(options)
        if path == "/api/v0/block/put":
            head, _, rest = body.partition(b"\r\n\r\n")
            boundary = re.match(rb"--([^\r]+)\r\n", head)
            assert boundary is not None
            block = rest[: rest.rindex(b"\r\n--" + boundary.group(1))]
            codec = {"raw": b"\x55", "dag-pb": b"\x70"}[options["format"]]
            digest = parse_cid(cid_of(block))[4:] if len(block) <= 1 << 20 else b""
            key = format_cid(b"\x01" + codec + b"\x12\x20" + digest)
            self.blocks[key] = block
            return 200, json.dumps({"Key": self.other_key or key, "Size": len(block)}).encode()
        cid = options["arg"]
        if path == "/api/v0/block/get":
            if cid in self.blocks:
                return 200, self.blocks[cid]
            return 500, refusal("Failed to get block: request timed out")
        assert path == "/api/v0/pin/add"
        if cid not in self.blocks:
            return 500, refusal("Failed to add pin: request timed out")
        self.pinned.append(cid)
        return 200, json.dumps({"Pins": [cid]}).encode()


def refusal(message: str) -> bytes:
    return json.dumps({"Message": message, "Code": 0, "Type": "error"}).encode()


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    daemon = Daemon()
    thread = threading.Thread(target=daemon.server.serve_forever, args=(0.02,))
    thread.start()
    yield daemon
    daemon.server.shutdown()
    daemon.server.server_close()
    thread.join()


@pytest.mark.parametrize("data", [b"", b"small\r\n--binary", bytes(1 << 20), BIG])
def test_what_is_put_is_got_and_pinned(daemon: Daemon, data: bytes) -> None:
    store = KuboStore(daemon.api)
    reference = store.put(data)
    assert reference.cid == cid_of(data)
    assert daemon.pinned == [reference.cid]
    assert daemon.blocks == {format_cid(cid): block for cid, block in blocks(data)}
    assert store.get(reference.cid) == data


def test_every_option_that_decides_a_cid_is_sent(daemon: Daemon) -> None:
    KuboStore(daemon.api).put(b"x")
    sent = daemon.options[0]
    assert sent["format"] == "raw"
    assert sent["mhtype"] == "sha2-256"
    assert sent["version"] == "1"


def test_a_daemon_that_computes_another_cid_is_refused(daemon: Daemon) -> None:
    daemon.other_key = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
    with pytest.raises(StoreError, match=f"as {daemon.other_key}, computed here {cid_of(b'x')}"):
        KuboStore(daemon.api).put(b"x")
    assert daemon.pinned == []


def test_damaged_blocks_are_refused(daemon: Daemon) -> None:
    store = KuboStore(daemon.api)
    root = store.put(BIG).cid
    for cid, block in list(daemon.blocks.items()):
        daemon.blocks[cid] = block[:-1] + bytes([block[-1] ^ 1])
        with pytest.raises(StoreError, match=f"{cid} does not hash"):
            store.get(root)
        daemon.blocks[cid] = block
    assert store.get(root) == BIG


def test_missing_content_is_named_and_the_search_bounded(daemon: Daemon) -> None:
    store = KuboStore(daemon.api, find_seconds=3, pin_seconds=4)
    cid = cid_of(b"absent")
    with pytest.raises(MissingBlobError, match=f"{cid}.*timed out"):
        store.get(cid)
    assert daemon.options[-1]["timeout"] == "3s"
    with pytest.raises(MissingBlobError, match=f"{cid}.*timed out"):
        store.pin(cid)
    assert daemon.options[-1]["timeout"] == "4s"


def test_what_is_no_cid_is_not_asked_for(daemon: Daemon) -> None:
    for use in (KuboStore(daemon.api).get, KuboStore(daemon.api).pin):
        with pytest.raises(StoreError, match="not a CID"):
            use("/ipns/somebody")
    assert daemon.options == []


def test_an_absent_daemon_is_a_store_error(daemon: Daemon) -> None:
    closed = Daemon()
    closed.server.server_close()
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        KuboStore(closed.api).get(cid_of(b"x"))
    assert not isinstance(caught.value, MissingBlobError)
    assert "ipfs_api" in (caught.value.hint or "")


@pytest.mark.parametrize("api", ["", "http://127.0.0.1:5001", "127.0.0.1:5001", "/dns4"])
def test_what_is_no_multiaddress(api: str) -> None:
    with pytest.raises(InputError, match="not the address of an IPFS daemon"):
        KuboStore(api)
