# SPDX-License-Identifier: Apache-2.0
"""JSON-RPC requests to a chain's node, and what can go wrong with them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from requests import Session
from requests.exceptions import ConnectionError as RequestConnectionError
from requests.exceptions import RequestException, Timeout
from web3 import HTTPProvider
from web3.providers.rpc.utils import REQUEST_RETRY_ALLOWLIST, ExceptionRetryConfiguration
from web3.types import RPCEndpoint

from dao.errors import ChainError

RPC_TIMEOUT_SECONDS = 30.0
RPC_RETRIES = 3
REPEATED = tuple(
    method
    for method in REQUEST_RETRY_ALLOWLIST
    if method.startswith("eth_") and method != "eth_sendRawTransaction"
)
"""Reads that are tried again where nobody answers. A transaction is not: the first try may have
arrived, and the second would be refused; nor is `evm_increaseTime`, which would count twice."""


class RpcRefusal(ChainError):
    """The node answered with an error; `data` are the revert data, where there are any, `code` is
    that of JSON-RPC, where it gave one."""

    def __init__(
        self,
        message: str,
        *,
        data: bytes | None,
        code: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.data = data
        self.code = code


class RpcEndpoint:
    """One HTTP endpoint. `shown_url` is fit for messages: a hosted endpoint often holds its API
    key in the path or the user part."""

    def __init__(self, rpc_url: str) -> None:
        parts = urlsplit(rpc_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ChainError(
                "chain.rpc_url is not the address of a JSON-RPC endpoint",
                hint="Expected something like http://127.0.0.1:8545",
            )
        port = f":{parts.port}" if parts.port else ""
        self.rpc_url = rpc_url
        self.shown_url = f"{parts.scheme}://{parts.hostname}{port}"
        self._local = parts.hostname in ("127.0.0.1", "::1", "localhost")
        self._of_thread = threading.local()

    @property
    def _provider(self) -> HTTPProvider:
        """One provider and session per thread: sessions are not made for several."""
        provider: HTTPProvider | None = getattr(self._of_thread, "provider", None)
        if provider is None:
            session = Session()
            # a proxy of the environment is for the world outside, not for this machine
            session.trust_env = not self._local
            provider = HTTPProvider(
                self.rpc_url,
                request_kwargs={"timeout": RPC_TIMEOUT_SECONDS},
                session=session,
                exception_retry_configuration=ExceptionRetryConfiguration(
                    errors=(RequestConnectionError, Timeout),
                    retries=RPC_RETRIES,
                    method_allowlist=REPEATED,
                ),
            )
            self._of_thread.provider = provider
        return provider

    def request(self, method: str, *parameters: Any) -> Any:
        """The result of one request; RpcRefusal if the node answers with an error, ChainError if
        nobody answers."""
        try:
            answer: Any = self._provider.make_request(RPCEndpoint(method), list(parameters))
        except (RequestException, OSError, ValueError) as error:
            raise ChainError(
                f"no answer from the chain at {self.shown_url} ({type(error).__name__})",
                hint='Is it running? "covalue devnet up" starts a local one.',
            ) from error
        refusal = answer.get("error")
        if refusal is None:
            return answer.get("result")
        code = None
        if isinstance(refusal, Mapping):
            message, data = str(refusal.get("message", refusal)), refusal.get("data")
            code = refusal.get("code")
        else:
            message, data = str(refusal), None
        hint = None
        if "insufficient funds" in message.lower():
            hint = "The sending account needs ether for gas."
        raw = bytes.fromhex(data[2:]) if isinstance(data, str) and data.startswith("0x") else None
        raise RpcRefusal(f"{method}: {message}", data=raw, code=code, hint=hint)
