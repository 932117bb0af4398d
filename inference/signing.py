# SPDX-License-Identifier: Apache-2.0
"""Who signs for the API."""

from __future__ import annotations

from typing import Protocol

from eth_account.signers.local import LocalAccount

from dao.messages import sign_valuation
from dao.records import Valuation, ValuationBody


class AnswerSigner(Protocol):
    """Who signs for the API."""

    @property
    def address(self) -> str:
        """The account whose signature consumers check, lower case."""

    def sign(self, body: ValuationBody) -> Valuation:
        """The body with a signature (EIP-712, 65 bytes)."""


class AccountSigner:
    """Signs with an account's key (`dao.keystore.AccountKey.signer`)."""

    def __init__(self, account: LocalAccount) -> None:
        self._account = account

    @property
    def address(self) -> str:
        """See AnswerSigner."""
        return str(self._account.address).lower()

    def sign(self, body: ValuationBody) -> Valuation:
        """See AnswerSigner."""
        return sign_valuation(self._account, body)
