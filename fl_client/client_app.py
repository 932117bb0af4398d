# SPDX-License-Identifier: Apache-2.0
"""The installed Flower ClientApp: `train` asks the vault for the receipt of an update,
`query.reveal` for the update itself, `query.cosign` for a co-signature. The same app runs in
Flower's simulation and behind a vault's executor.

What goes back is the answer of `wire.py` or a bare refusal code; the reason is logged here, on the
contributor's own machine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from dao.settings import load_settings
from fl_client.cosign import cosign
from fl_client.opening import open_vault
from fl_client.refusals import Code, code_of
from fl_client.reveal import reveal
from fl_client.vault import Vault
from fl_client.wire import (
    cosign_content,
    read_cosign_request,
    read_reveal_request,
    read_train_request,
    reveal_content,
    train_content,
)

Log = logging.getLogger("covalue.vault")

REFUSAL = 2
"""Flower's code for an error that a ClientApp raised."""


def make_client_app(vault_of: Callable[[Context], Vault]) -> ClientApp:
    """A ClientApp over the vault that `vault_of` opens (or has open) for a message's node."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        def work() -> RecordDict:
            request = read_train_request(message.content)
            return train_content(vault_of(context).answer(request).receipt)

        return _guarded(message, work)

    @app.query("reveal")
    def query_reveal(message: Message, context: Context) -> Message:
        def work() -> RecordDict:
            request = read_reveal_request(message.content)
            vault = vault_of(context)
            return reveal_content(account=vault.config.account, update=reveal(vault, request))

        return _guarded(message, work)

    @app.query("cosign")
    def query_cosign(message: Message, context: Context) -> Message:
        def work() -> RecordDict:
            request = read_cosign_request(message.content)
            vault = vault_of(context)
            return cosign_content(account=vault.config.account, signature=cosign(vault, request))

        return _guarded(message, work)

    return app


def _guarded(message: Message, work: Callable[[], RecordDict]) -> Message:
    """The reply to a message; whatever goes wrong leaves as a code of the closed list only."""
    try:
        return Message(work(), reply_to=message)
    except Exception as error:  # noqa: BLE001 - an unknown error's text could hold data
        code = code_of(error)
        if code is Code.INTERNAL:
            Log.exception("refused: %s", code)
        else:
            hint = getattr(error, "hint", None)
            Log.warning("refused (%s): %s%s", code, error, f" -- {hint}" if hint else "")
        return Message(Error(code=REFUSAL, reason=f"covalue:{code}"), reply_to=message)


def _installed_vault(_context: Context) -> Vault:
    if not _OPEN:
        _OPEN.append(open_vault(load_settings(None)))
    return _OPEN[0]


_OPEN: list[Vault] = []

app = make_client_app(_installed_vault)
"""What the bundle names: the vault of this machine's covalue.toml."""
