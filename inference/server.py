# SPDX-License-Identifier: Apache-2.0
"""The API as a process: from settings to a listening socket."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from dao.deployment import open_dao
from dao.errors import InputError, KeyFileError
from dao.keystore import AccountKey
from dao.open_store import open_store
from dao.settings import Settings
from inference.app import create_app
from inference.limits import Limits
from inference.provider import ChainProvider, ChainReleases
from inference.signing import AccountSigner

SHUTDOWN_SECONDS = 10


def build_app(settings: Settings) -> FastAPI:
    """The API that these settings describe. Raises where chain, deployment or key are wrong."""
    if settings.api.signer_keystore is None:
        raise KeyFileError(
            "the setting api.signer_keystore is missing, and every answer is signed",
            hint="set signer_keystore and password_file under [api] in covalue.toml; on a devnet, "
            '"covalue devnet key 9 api.json" makes them',
        )
    dao = open_dao(settings.chain.rpc_url, settings.chain.deployment)
    source = ChainReleases(dao.chain, registry=dao.models.address, ledger=dao.ledger.address)
    key = AccountKey.open(settings.api.signer_keystore, settings.api.password_file)
    return create_app(
        ChainProvider(source, open_store(settings.store)),
        AccountSigner(key.signer),
        Limits(max_body_bytes=settings.api.max_body_bytes, max_rows=settings.api.max_rows),
    )


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; InputError in words where the port is taken or not ours to take."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else "expected a port of 0 to 65535"
        raise InputError(
            f"cannot listen on {host}:{port}: {reason}",
            hint="choose another port: covalue serve --port 8081",
        ) from error
    return listener


def serve(app: FastAPI, listener: socket.socket, *, ready: Callable[[str], None]) -> None:
    """Answer on a bound socket until the process is asked to end (SIGINT or SIGTERM).

    `ready` is called with the base address once, before the first request is taken.
    """
    host, port = listener.getsockname()[:2]
    ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    with listener:
        uvicorn.Server(config).run(sockets=[listener])
