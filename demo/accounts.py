# SPDX-License-Identifier: Apache-2.0
"""Accounts of the demo's people as files, so that `covalue` can act in anybody's name afterwards
on the chain that the run left behind."""

from __future__ import annotations

from pathlib import Path

from dao.keystore import AccountKey, create_password
from demo.cast import Cast, Player
from demo.folder import DemoFolder


def write_account(home: Path, name: str, player: Player) -> None:
    """The keystore `<name>.json` and its password `<name>-password` in a folder."""
    password = home / f"{name}-password"
    create_password(password)
    secret = bytes(player.account.key)
    AccountKey.create(home / f"{name}.json", password, light=True, secret=secret)


def account_settings(name: str) -> str:
    """The group [account] of a covalue.toml beside those files."""
    return f'[account]\nkeystore = "{name}.json"\npassword_file = "{name}-password"\n'


def write_members(folder: DemoFolder, cast: Cast, *, rpc_url: str) -> None:
    """A folder with settings and account for each member, who reads the run's own store."""
    for member in cast.members:
        home = folder.member(member.name)
        home.mkdir(parents=True)
        write_account(home, "account", member)
        (home / "covalue.toml").write_text(
            f'[chain]\nrpc_url = "{rpc_url}"\ndeployment = "{folder.deployment}"\n'
            f'[store]\npath = "{folder.store}"\n{account_settings("account")}'
        )
