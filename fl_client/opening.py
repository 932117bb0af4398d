# SPDX-License-Identifier: Apache-2.0
"""From settings to an open vault."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dao.deployment import Contracts, open_dao
from dao.errors import InputError
from dao.keystore import BlsKey
from dao.open_store import open_store
from dao.settings import Settings, VaultSettings
from fl_client.approval import LedgerView
from fl_client.bundle import bundle_sha256
from fl_client.policy import PolicyFloor

if TYPE_CHECKING:
    from fl_client.vault import Vault, VaultConfig

RECORDS = "records.csv"
"""The contributor's records within the vault's folder; a link to another place will do."""
ACCOUNT = "account"
"""Holds the contributor's address; the account's key is not the vault's business."""
BLS_KEYSTORE = "bls.json"
NODE_KEY = "node"


def open_vault(settings: Settings, *, replayed: dict[str, object] | None = None) -> Vault:
    """The vault of these settings: key opened, chain and store connected.

    `replayed` lets the vaults of one simulation share what they recompute from public bytes.
    KeyFileError, ChainError or InputError name what is missing.
    """
    # the vault loads torch, which commands that only name its files need not wait for
    from fl_client.vault import Vault

    contracts = open_dao(settings.chain.rpc_url, settings.chain.deployment)
    return Vault(
        vault_config(settings.vault),
        key=open_bls_key(settings.vault),
        store=open_store(settings.store),
        chain=ledger_view(contracts),
        replayed=replayed,
    )


def open_bls_key(settings: VaultSettings) -> BlsKey:
    """The vault's BLS key; KeyFileError where the file or its password is wrong."""
    return BlsKey.open(settings.path / BLS_KEYSTORE, settings.password_file)


def ledger_view(contracts: Contracts) -> LedgerView:
    """The vault's window on a deployment."""
    return LedgerView(contracts.ledger, from_block=contracts.deployment.block)


def vault_config(settings: VaultSettings) -> VaultConfig:
    """Places and limits of a vault, from its settings."""
    from fl_client.vault import VaultConfig

    seed = settings.noise_seed
    return VaultConfig(
        account=read_account(settings.path),
        folder=settings.path,
        records=settings.path / RECORDS,
        witness=settings.witness_path,
        floor=policy_floor(settings),
        bundle_sha256=bundle_sha256(),
        noise_seed=None if seed is None else seed.encode(),
    )


def policy_floor(settings: VaultSettings) -> PolicyFloor:
    """A vault's own limits, from its settings."""
    return PolicyFloor(
        lifetime_epsilon_micro=settings.max_epsilon_micro,
        delta_e12=settings.delta_e12,
        max_task_epsilon_micro=settings.max_task_epsilon_micro,
        min_noise_multiplier_micro=settings.min_noise_multiplier_micro,
        max_clip_norm_nano=settings.max_clip_norm_nano,
        filter=settings.filter,
        allow_seeded_noise=settings.noise_seed is not None,
    )


def read_account(folder: Path) -> str:
    """The contributor's address that stands in a vault's folder."""
    try:
        return (folder / ACCOUNT).read_text(encoding="ascii").strip()
    except OSError as error:
        raise InputError(
            f"{folder} is not a vault: {error.strerror}: {ACCOUNT}",
            hint="make one: covalue contributor init",
        ) from error
