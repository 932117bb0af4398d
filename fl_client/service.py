# SPDX-License-Identifier: Apache-2.0
"""A contributor's running service: SuperNode, executor and vault, until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable

from flwr.app import Context, Message

from dao.deployment import open_dao
from dao.errors import InputError, KeyFileError
from dao.settings import Settings
from fl_client.budget import refuse_unpublished_past
from fl_client.bundle import bundle_sha256
from fl_client.client_app import make_client_app
from fl_client.executor import Executor
from fl_client.flower_runtime import NodeLink
from fl_client.opening import NODE_KEY, open_vault
from fl_client.supernode import SuperNode, SuperNodeConfig
from fl_client.vault import Vault

WATCH_SECONDS = 0.5
RESTART_SECONDS = 3.0

App = Callable[[Message, Context], Message]


def serve(settings: Settings, stop: threading.Event, *, tell: Callable[[str], None]) -> None:
    """Open the vault and answer until `stop` is set; `tell` gets what a person should know.

    A SuperNode that ends (a SuperLink that does not know its key yet refuses it) is started again
    after a while. With `vault.runtime_secret_file` set, the SuperNode is somebody else's to start
    (another container) and only the executor runs here. Refused where another process serves this
    vault already, or where its ledger is older than answers of its own that are committed on chain.
    """
    vault = open_vault(settings)
    with vault.service_lock.held():
        contracts = open_dao(settings.chain.rpc_url, settings.chain.deployment)
        state = vault.ledger_state()
        for unseen in refuse_unpublished_past(
            state, contracts, vault.store, account=vault.config.account
        ):
            tell(f"not held against the ledger: {unseen}")
        _serve_vault(settings, vault, stop, tell=tell)


def _serve_vault(
    settings: Settings, vault: Vault, stop: threading.Event, *, tell: Callable[[str], None]
) -> None:
    app = make_client_app(lambda _context: vault)
    secret_file = settings.vault.runtime_secret_file
    if secret_file is not None:
        try:
            secret = secret_file.read_bytes()
        except OSError as error:
            raise KeyFileError(f"cannot read {secret_file}: {error.strerror}") from error
        link = NodeLink(settings.vault.runtime_address, secret)
        tell(f"the vault answers at {settings.vault.runtime_address}")
        Executor(link, app, bundle_sha256=bundle_sha256()).run(stop)
        return
    config = node_config(settings)
    while not stop.is_set():
        with SuperNode(config) as node:
            tell(f"SuperNode started for {config.superlink}; the vault answers")
            _serve_node(node, app, stop)
            ended = None if node.alive() else node.process.returncode
        if ended is not None and not stop.is_set():
            tell(
                f"the SuperNode ended with status {ended} (see {config.folder}/supernode.log): the "
                f"coordinator may not have let its key in yet; next try in {RESTART_SECONDS:.0f} s"
            )
            stop.wait(RESTART_SECONDS)


def _serve_node(node: SuperNode, app: App, stop: threading.Event) -> None:
    """Run an executor beside one SuperNode for as long as it lives."""
    done = threading.Event()
    link = NodeLink(node.address, node.secret)
    worker = threading.Thread(
        target=Executor(link, app, bundle_sha256=bundle_sha256()).run, args=(done,), name="executor"
    )
    worker.start()
    try:
        while node.alive() and worker.is_alive() and not stop.wait(WATCH_SECONDS):
            pass
    finally:
        done.set()
        worker.join()
        link.close()


def node_config(settings: Settings) -> SuperNodeConfig:
    """The SuperNode of these settings; InputError where the certificate is missing."""
    host, _, port = settings.vault.runtime_address.rpartition(":")
    certificate = settings.coordinator.root_certificates
    if host != "127.0.0.1" or not port.isdigit():
        raise InputError(
            f"vault.runtime_address is {settings.vault.runtime_address!r}, expected 127.0.0.1:port"
        )
    if certificate is None or not certificate.exists():
        raise InputError(
            "coordinator.root_certificates names no file",
            hint="get ca.crt from the coordinator and name it in covalue.toml",
        )
    return SuperNodeConfig(
        folder=settings.vault.path.resolve().parent / "supernode",
        superlink=settings.coordinator.superlink_address,
        root_certificate=certificate.resolve(),
        key=(settings.vault.path / NODE_KEY).resolve(),
        port=int(port),
    )
