# SPDX-License-Identifier: Apache-2.0
"""COVAL, the governance token, and any other ERC-20."""

from __future__ import annotations

from dao.chain import Call
from dao.contracts.binding import Linked


class Erc20(Linked):
    """The part of an ERC-20 that Covalue uses. Amounts are in the token's smallest unit."""

    artefact_name = "CovalueToken"

    def symbol(self, *, block: int | None = None) -> str:
        text: str = self._read("symbol", block=block)
        return text

    def decimals(self, *, block: int | None = None) -> int:
        return int(self._read("decimals", block=block))

    def total_supply(self, *, block: int | None = None) -> int:
        return int(self._read("totalSupply", block=block))

    def balance_of(self, account: str, *, block: int | None = None) -> int:
        return int(self._read("balanceOf", account, block=block))

    def allowance(self, owner: str, spender: str, *, block: int | None = None) -> int:
        return int(self._read("allowance", owner, spender, block=block))

    def approve(self, spender: str, amount_wei: int) -> Call:
        return self._call(
            "approve", spender, amount_wei, description=f"let {spender} take {amount_wei} wei"
        )

    def transfer(self, to: str, amount_wei: int) -> Call:
        return self._call("transfer", to, amount_wei, description=f"send {amount_wei} wei to {to}")


class CovalueToken(Erc20):
    """ERC-20 with Permit and Votes at timestamps (ERC-5805, ERC-6372)."""

    def delegates(self, account: str, *, block: int | None = None) -> str:
        """Who votes for an account; the zero address if nobody does."""
        address: str = self._read("delegates", account, block=block)
        return address

    def votes(self, account: str, *, block: int | None = None) -> int:
        """Votes of an account now, in wei."""
        return int(self._read("getVotes", account, block=block))

    def past_votes(self, account: str, timestamp: int, *, block: int | None = None) -> int:
        """Votes of an account at an earlier timestamp, in wei."""
        return int(self._read("getPastVotes", account, timestamp, block=block))

    def minter(self, *, block: int | None = None) -> str:
        address: str = self._read("minter", block=block)
        return address

    def yearly_cap_wei(self, *, block: int | None = None) -> int:
        return int(self._read("yearlyCap", block=block))

    def minted_this_year_wei(self, *, block: int | None = None) -> int:
        return int(self._read("mintedThisYear", block=block))

    def set_minter(self, minter: str) -> Call:
        return self._call("setMinter", minter, description=f"name {minter} the only minter")

    def delegate(self, delegate: str) -> Call:
        return self._call("delegate", delegate, description=f"let {delegate} vote for the account")

    def burn(self, amount_wei: int) -> Call:
        return self._call("burn", amount_wei, description=f"burn {amount_wei} wei")


class DevStablecoin(Erc20):
    """A dollar of no worth for devnets: 6 decimals, anyone may mint."""

    artefact_name = "DevStablecoin"

    def mint(self, to: str, amount: int) -> Call:
        return self._call("mint", to, amount, description=f"mint {amount} units to {to}")
