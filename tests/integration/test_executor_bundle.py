# SPDX-License-Identifier: Apache-2.0
"""The live half of the Flower contract: a SuperLink, authenticated SuperNodes over TLS, and the
vault's executor beside one of them. A coordinator that ships code gets nothing but a refusal."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Message, RecordDict

from fl_client.executor import Executor
from fl_client.flower_runtime import NodeLink, SuperLinkControl
from fl_client.node_key import create_node_key, public_pem
from fl_client.supernode import SuperNode, SuperNodeConfig
from fl_server.certificates import Certificates, create_certificates
from fl_server.superlink import SuperLink, SuperLinkConfig
from tests.probe_bundle import probe_bundle

SECONDS = 90.0


@dataclass(frozen=True)
class Federation:
    """A SuperLink on this machine with its control connection."""

    folder: Path
    address: str
    certificates: Certificates
    control: SuperLinkControl

    def node(self, name: str, *, register: bool = True) -> SuperNodeConfig:
        key = self.folder / name / "node"
        create_node_key(key)
        if register:
            self.control.register_node(public_pem(key.with_name("node.pub")), name=name)
        return SuperNodeConfig(
            folder=self.folder / name,
            superlink=self.address,
            root_certificate=self.certificates.ca,
            key=key,
            port=free_port(),
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], *, seconds: float = SECONDS) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "timed out"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    folder = tmp_path_factory.mktemp("federation")
    certificates = create_certificates(folder / "tls", hosts=["127.0.0.1", "localhost"])
    port = free_port()
    config = SuperLinkConfig(folder / "superlink", folder, "127.0.0.1", port, certificates)
    with SuperLink(config, environment={}) as superlink:
        control = SuperLinkControl(
            f"127.0.0.1:{port}", root_certificate=certificates.ca.read_bytes()
        )
        wait_for(lambda: superlink.alive() and control.ready())
        yield Federation(folder, f"127.0.0.1:{port}", certificates, control)
        control.close()


@pytest.fixture
def serving() -> Iterator[Callable[[SuperNode, Executor], None]]:
    """Runs executors in threads until the test ends."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def start(executor: Executor) -> None:
        threads.append(threading.Thread(target=executor.run, args=(stop,)))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def echo(message: Message, _context: object) -> Message:
    return Message(RecordDict({"covalue": ConfigRecord({"echo": b"1"})}), reply_to=message)


def test_promise_4_a_foreign_bundle_is_refused_and_not_a_line_of_it_runs(
    federation: Federation, serving: Callable[[Executor], None]
) -> None:
    bundle, told, mark = probe_bundle(federation.folder, "hostile")
    asked: list[Message] = []

    def app(message: Message, context: object) -> Message:
        asked.append(message)
        return echo(message, context)

    with SuperNode(federation.node("careful")) as node:
        serving(Executor(NodeLink(node.address, node.secret), app, bundle_sha256="0" * 64))
        run = federation.control.submit(bundle, overrides=[])
        wait_for(told.exists)
        assert json.loads(told.read_text()) == [{"error": "covalue:wrong-bundle"}]
        assert not mark.exists()
        assert asked == []
        wait_for(lambda: federation.control.run_status(run).status == "finished")


def test_the_executor_answers_the_bundle_it_knows(
    federation: Federation, serving: Callable[[Executor], None]
) -> None:
    import hashlib

    bundle, told, mark = probe_bundle(federation.folder, "known")
    with SuperNode(federation.node("answering")) as node:
        link = NodeLink(node.address, node.secret)
        serving(Executor(link, echo, bundle_sha256=hashlib.sha256(bundle).hexdigest()))
        federation.control.submit(bundle, overrides=[])
        wait_for(told.exists)
    assert not mark.exists(), "the bundle must not be unpacked even when it is the right one"


def test_control_a_stock_supernode_runs_the_foreign_code(federation: Federation) -> None:
    import subprocess
    import sysconfig

    from fl_client.supernode import node_environment

    bundle, told, mark = probe_bundle(federation.folder, "stock")
    config = federation.node("careless")
    command = [
        str(Path(sysconfig.get_path("scripts")) / "flower-supernode"),
        *("--superlink", config.superlink),
        *("--root-certificates", str(config.root_certificate)),
        *("--auth-supernode-private-key", str(config.key)),
        *("--port", str(config.port)),
    ]
    with (config.folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=node_environment(config.folder), stdout=log, stderr=log
        )
        try:
            federation.control.submit(bundle, overrides=[])
            wait_for(told.exists)
        finally:
            process.terminate()
            process.wait(20)
    assert mark.read_text() == "the coordinator's code ran here"


def test_an_unregistered_supernode_is_refused(federation: Federation) -> None:
    with SuperNode(federation.node("stranger", register=False)) as node:
        wait_for(lambda: not node.alive())
        assert node.process.returncode != 0
