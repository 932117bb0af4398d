# SPDX-License-Identifier: Apache-2.0
"""A desk from which commands are sent to a real chain, in the name of one account at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chain_world import FOUNDERS, Job, address
from click.testing import CliRunner

from cli.commands import load_command
from dao.keystore import AccountKey, create_password
from dao.store import LocalStore
from demo.devnet import dev_account


class Desk:
    """A folder with settings and a store, in the name of one devnet account at a time."""

    def __init__(self, folder: Path, job: Job) -> None:
        self.folder, self.job = folder, job
        job.dao.deployment.write(folder / "deployment.json")
        create_password(folder / "password")

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.folder / "blocks")

    def ask(self, index: int, *words: str, code: int = 0) -> dict[str, Any]:
        """The JSON object of a command, sent from account `index`."""
        keystore = self.folder / f"{index}.json"
        if not keystore.exists():
            secret = bytes(dev_account(index).key)
            AccountKey.create(keystore, self.folder / "password", light=True, secret=secret)
        (self.folder / "covalue.toml").write_text(
            f'[chain]\nrpc_url = "{self.job.dao.chain.rpc_url}"\n'
            f'[account]\nkeystore = "{index}.json"\npassword_file = "password"\n'
            '[store]\npath = "blocks"\n'
        )
        result = CliRunner().invoke(load_command(words[0]), [*words[1:], "--json"])
        assert result.exit_code == code, result.output + repr(result.exception)
        found: dict[str, Any] = json.loads(result.stdout)
        assert code == 0 or set(found) == {"error", "hint"}
        return found

    def sent_by(self, index: int) -> int:
        count = ("eth_getTransactionCount", address(index), "latest")
        return int(self.job.dao.chain.request(*count), 16)

    def fund(self, index: int, amount_wei: int) -> None:
        self.job.send(FOUNDERS[0], self.job.dao.token.transfer(address(index), amount_wei))
