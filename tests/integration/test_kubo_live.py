# SPDX-License-Identifier: Apache-2.0
"""The Kubo adapter against a real IPFS daemon (js-ipfs, from tests/ipfs)."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import ipfshttpclient
import pytest

from dao.cid import blocks, cid_of, format_cid
from dao.errors import MissingBlobError, StoreError
from dao.kubo import KuboStore
from dao.store import LocalStore, ReadThrough

# the first test may have to install the daemon
pytestmark = pytest.mark.timeout(1200)

TOOL = Path(__file__).parents[1] / "ipfs"
MIB = 1 << 20


def install() -> Path:
    """The daemon's script, installed by the lock where that has not been done (290 MB)."""
    done = TOOL / "node_modules" / ".package-lock.json"
    with (TOOL / "package-lock.json").open("rb") as lock:
        # tests may run in several processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            subprocess.run(
                [
                    *("npm", "ci", "--ignore-scripts", "--omit=dev", "--omit=optional"),
                    *("--no-audit", "--no-fund"),
                ],
                cwd=TOOL,
                check=True,
                timeout=800,
            )
    return TOOL / "node_modules" / "ipfs" / "src" / "cli.js"


class Daemon:
    """One js-ipfs without network, on ports of its own choice."""

    def __init__(self, folder: Path) -> None:
        self.repo = folder / "repo"
        # js-ipfs opens its keys in HOME, and preload nodes only if told to
        environment = {**os.environ, "IPFS_PATH": str(self.repo), "HOME": str(folder)}
        self.process = subprocess.Popen(
            [
                *("node", "-r", str(TOOL / "polyfill.cjs"), str(install()), "daemon"),
                *("--offline", "--enable-preload=false"),
                *("--init-config", str(TOOL / "offline.json")),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if "Daemon is ready" in line:
                break
        else:
            raise AssertionError("the daemon did not start:\n" + "".join(said))
        self.api = (self.repo / "api").read_text().strip()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    assert shutil.which("node"), "Node 20 is needed; see README.md"
    daemon = Daemon(tmp_path_factory.mktemp("ipfs"))
    yield daemon
    daemon.stop()


@pytest.mark.parametrize("size", [0, 1, 1000, MIB, MIB + 1, 5 * MIB + 3])
def test_a_real_daemon_keeps_our_cids(daemon: Daemon, size: int) -> None:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    store = KuboStore(daemon.api)
    reference = store.put(data)
    assert reference.cid == cid_of(data)
    assert store.get(reference.cid) == data
    store.pin(reference.cid)


def test_its_own_importer_gives_the_same_cid(daemon: Daemon) -> None:
    """Independent of us: the daemon cuts the content itself."""
    data = bytes(range(251)) * 12_000
    answer = ipfshttpclient.Client(daemon.api).add_bytes(
        data,
        opts={
            "raw-leaves": "true",
            "cid-version": "1",
            "chunker": "size-1048576",
            "cid-base": "base32",
        },
    )
    assert answer == cid_of(data)


def test_content_that_nobody_has_is_missing_soon(daemon: Daemon) -> None:
    store = KuboStore(daemon.api, find_seconds=1, pin_seconds=1)
    for use in (store.get, store.pin):
        with pytest.raises(MissingBlobError):
            use(cid_of(b"nobody has this"))


def test_a_local_store_reads_through_to_the_daemon(daemon: Daemon, tmp_path: Path) -> None:
    data = b"kept by the daemon" * 100_000
    kubo = KuboStore(daemon.api)
    root = kubo.put(data).cid
    local = LocalStore(tmp_path)
    assert ReadThrough(local, [kubo]).get(root) == data
    assert local.get(root) == data


def test_a_block_damaged_on_the_daemons_disk_is_refused(daemon: Daemon) -> None:
    """js-ipfs serves what lies there without hashing it."""
    data = b"a block that will be damaged on disk" * 1000
    store = KuboStore(daemon.api)
    root = store.put(data).cid
    files = [
        path
        for path in (daemon.repo / "blocks").rglob("*.data")
        if path.stat().st_size == len(data) and path.read_bytes() == data
    ]
    assert len(files) == 1
    files[0].write_bytes(data[:-1] + b"X")
    (cid, _), *_ = blocks(data)
    with pytest.raises(StoreError, match=f"{format_cid(cid)} does not hash"):
        store.get(root)
