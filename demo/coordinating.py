# SPDX-License-Identifier: Apache-2.0
"""The coordinator's home: the demo folder's root with its settings, keys and certificates."""

from __future__ import annotations

from dao.settings import Settings, load_settings
from demo.accounts import account_settings, write_account
from demo.cast import Cast
from demo.deployment import certificates_of
from demo.devnet import free_port
from demo.folder import DemoFolder
from fl_server.certificates import create_certificates

HOST = "127.0.0.1"
ROUND_TIMEOUT_SECONDS = 1_800
"""Everybody shares this machine: where it is slow or busy, nobody is to be left out for that."""


def make_home(
    folder: DemoFolder, *, rpc_url: str, cast: Cast, deployment: bool, seeded: bool
) -> Settings:
    """Settings of coordinator and API with their keystores, kept so that audit and serve work on
    the run afterwards; with `deployment` a SuperLink's address and certificates too. Noise from a
    seed is taken only where `seeded`."""
    write_account(folder.root, "coordinator", cast.coordinator)
    write_account(folder.root, "api", cast.api)
    superlink = f'superlink_address = "{HOST}:{free_port()}"\n' if deployment else ""
    noise = "allow_seeded_noise = true\n" if seeded else ""
    folder.settings.write_text(
        f"""[chain]
rpc_url = "{rpc_url}"
deployment = "deployment.json"
[store]
path = "store"
{account_settings("coordinator")}[coordinator]
path = "coordinator"
round_timeout_seconds = {ROUND_TIMEOUT_SECONDS}
cosign_timeout_seconds = {ROUND_TIMEOUT_SECONDS}
{noise}{superlink}[api]
signer_keystore = "api.json"
password_file = "api-password"
"""
    )
    settings = load_settings(folder.settings)
    if deployment:
        create_certificates(certificates_of(settings).ca.parent, hosts=[HOST])
    return settings
