# SPDX-License-Identifier: Apache-2.0
"""A task in Flower's deployment runtime, from the coordinator's side: its SuperLink, the roster's
SuperNode keys, one run of the committed bundle, and the journal followed to the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from dao.cid import of_digest
from dao.deployment import Contracts
from dao.errors import CovalueError, InputError, MissingBlobError
from dao.settings import Settings
from dao.store import Store
from fl_client.bundle import bundle_bytes, bundle_sha256
from fl_client.flower_runtime import RunStatus, SuperLinkControl
from fl_client.node_key import node_key_hash, public_pem
from fl_server.certificates import Certificates
from fl_server.journal import read_entries
from fl_server.superlink import SuperLink, SuperLinkConfig

START_SECONDS = 60.0
FOLLOW_SECONDS = 0.5
NODE_KEYS = "nodes"
"""Folder below coordinator.path for SuperNode keys (*.pub) that contributors sent."""


class RunFailedError(CovalueError):
    """The ServerApp ended before the task was closed."""


def certificates_of(settings: Settings) -> Certificates:
    """Where the coordinator's TLS files lie."""
    return Certificates.within(settings.coordinator.path.resolve() / "tls")


def split_address(address: str) -> tuple[str, int]:
    """Host and port of coordinator.superlink_address."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"superlink_address is {address!r}, expected host:port")
    return host, int(port)


@contextmanager
def superlink(
    settings: Settings, *, settings_folder: Path, environment: Mapping[str, str]
) -> Iterator[SuperLinkControl]:
    """A connection to the SuperLink of these settings; starts one where none answers, and then
    stops it at the end. `environment` holds COVALUE_* variables for the ServerApp."""
    certificates = certificates_of(settings)
    ca = settings.coordinator.root_certificates or certificates.ca
    if not ca.exists():
        raise InputError(f"{ca} is missing", hint="make it: covalue coordinator certs --host NAME")
    address = settings.coordinator.superlink_address
    control = SuperLinkControl(address, root_certificate=ca.read_bytes())
    try:
        if control.ready():
            yield control
            return
        host, port = split_address(address)
        config = SuperLinkConfig(
            folder=settings.coordinator.path.resolve() / "superlink",
            settings_folder=settings_folder,
            host=host,
            port=port,
            certificates=certificates,
        )
        with SuperLink(config, environment=environment) as process:
            try:
                until = time.monotonic() + START_SECONDS
                while not control.ready():
                    if not process.alive() or time.monotonic() > until:
                        raise CovalueError(
                            f"the SuperLink does not come up at {address}",
                            hint=f"see {config.folder / 'superlink.log'}; is the port free?",
                        )
                    time.sleep(0.1)
                yield control
            finally:
                control.close()  # before it stops: it waits for open connections
    finally:
        control.close()


def admit_nodes(
    control: SuperLinkControl, contracts: Contracts, store: Store, settings: Settings, task_id: int
) -> tuple[str, ...]:
    """Register the SuperNode keys of the roster with the SuperLink; the accounts whose key could
    not be had.

    Only keys whose hash stands in the registry are let in. They are looked for among the files
    that contributors sent, and in the store: the hash is that of the key's bytes.
    """
    sent = {}
    for path in sorted((settings.coordinator.path / NODE_KEYS).glob("*.pub")):
        pem = public_pem(path)
        sent[node_key_hash(pem)] = pem
    known = {node_key_hash(key) for key in control.registered_keys().values()}
    missing = []
    for account in contracts.ledger.roster_of(task_id):
        digest = contracts.registry.contributor_of(account).super_node_key_hash
        if digest in known:
            continue
        found = sent.get(digest) or _stored_key(store, digest)
        if found is None:
            missing.append(account)
        else:
            control.register_node(found, name=account)
    return tuple(missing)


def run_task(
    control: SuperLinkControl,
    settings: Settings,
    *,
    task_id: int,
    task_bundle_sha256: str,
    on_entry: Callable[[Mapping[str, object]], None],
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Start a run of the bundle for a task and follow its journal until the run ends; `meanwhile`
    is called between two looks. Interrupted, the run is stopped.

    RunFailedError where it ends without completing; run it again to resume.
    """
    if task_bundle_sha256 != bundle_sha256():
        raise InputError(
            f"the task names bundle {task_bundle_sha256}, installed is {bundle_sha256()}",
            hint="install the version of Covalue that the task was made with",
        )
    journal = settings.coordinator.path / f"task-{task_id}.jsonl"
    told = len(read_entries(journal))
    run_id = control.submit(bundle_bytes(), overrides=[f"task-id={task_id}"])
    try:
        status = _follow(control, run_id, journal, told, on_entry, meanwhile)
    except BaseException:
        with suppress(CovalueError):  # a SuperLink that is gone has no run left to stop
            control.stop_run(run_id)
        raise
    if status.sub_status != "completed":
        raise RunFailedError(
            f"the run ended as {status.sub_status}: {status.details}",
            hint=f"see {settings.coordinator.path / 'superlink' / 'superlink.log'}; "
            "the same command resumes where it ended",
        )


def _follow(
    control: SuperLinkControl,
    run_id: int,
    journal: Path,
    told: int,
    on_entry: Callable[[Mapping[str, object]], None],
    meanwhile: Callable[[], None],
) -> RunStatus:
    """The status of a run at its end. Of the journal's entries, `told` are known already."""
    while True:
        status = control.run_status(run_id)
        entries = read_entries(journal)
        for entry in entries[told:]:
            on_entry(entry)
        told = len(entries)
        if status.status == "finished":
            return status
        meanwhile()
        time.sleep(FOLLOW_SECONDS)


def _stored_key(store: Store, digest: bytes) -> bytes | None:
    try:
        return store.get(of_digest(digest.hex()))
    except MissingBlobError:
        return None
