# SPDX-License-Identifier: Apache-2.0
"""The coordinator's home: the demo folder's root with its settings, keys and certificates."""

from __future__ import annotations

from dao.keystore import AccountKey, create_password
from dao.settings import Settings, load_settings
from demo.cast import Cast, Player
from demo.deployment import certificates_of
from demo.devnet import free_port
from demo.folder import DemoFolder
from fl_server.certificates import create_certificates

HOST = "127.0.0.1"


def make_home(
    folder: DemoFolder, *, rpc_url: str, cast: Cast, deployment: bool, seeded: bool
) -> Settings:
    """Settings of coordinator and API with their keystores, kept so that audit and serve work on
    the run afterwards; with `deployment` a SuperLink's address and certificates too. Noise from a
    seed is taken only where `seeded`."""
    _make_account(folder, "coordinator", cast.coordinator)
    _make_account(folder, "api", cast.api)
    superlink = f'superlink_address = "{HOST}:{free_port()}"\n' if deployment else ""
    noise = "allow_seeded_noise = true\n" if seeded else ""
    folder.settings.write_text(
        f"""[chain]
rpc_url = "{rpc_url}"
deployment = "deployment.json"
[store]
path = "store"
[account]
keystore = "coordinator.json"
password_file = "coordinator-password"
[coordinator]
path = "coordinator"
{noise}{superlink}[api]
signer_keystore = "api.json"
password_file = "api-password"
"""
    )
    settings = load_settings(folder.settings)
    if deployment:
        create_certificates(certificates_of(settings).ca.parent, hosts=[HOST])
    return settings


def _make_account(folder: DemoFolder, name: str, player: Player) -> None:
    password = folder.root / f"{name}-password"
    create_password(password)
    secret = bytes(player.account.key)
    AccountKey.create(folder.root / f"{name}.json", password, light=True, secret=secret)
