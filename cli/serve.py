# SPDX-License-Identifier: Apache-2.0
"""`covalue serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.output import JsonOption, console, emit, guard
from cli.session import ConfigOption


@guard
def app(
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on; default from settings.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port to listen on; default from settings.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer valuations from the released model over HTTP, until it is stopped.

    Needs an RPC endpoint, the deployment file, a store (or peers) with the task's content, and a
    keystore that signs the answers. It serves only what the chain says is released; without a
    release it runs and says so (503). With --json the object is printed once it listens.
    """
    from dao.settings import load_settings
    from inference.server import build_app, listen, serve

    settings = load_settings(config)
    listener = listen(host or settings.api.host, settings.api.port if port is None else port)
    with listener:
        serve(
            build_app(settings),
            listener,
            ready=lambda url: emit(
                {"url": url, "documentation": f"{url}/docs"},
                as_json=as_json,
                text=lambda _: console.print(
                    f"answering at {url}, documentation at {url}/docs", markup=False
                ),
            ),
        )
