# SPDX-License-Identifier: Apache-2.0
"""Files of a contributor's vault: made once, checked, and replaced when keys are rotated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.session import require_account
from dao.deployment import Contracts
from dao.errors import InputError
from dao.keystore import BlsKey, create_password
from dao.settings import Settings
from dao.strict_json import load_json
from fl_client.enrol import PublicKeys, public_keys
from fl_client.node_key import create_node_key, node_key_hash, public_pem
from fl_client.opening import ACCOUNT, BLS_KEYSTORE, NODE_KEY, RECORDS, open_bls_key, read_account
from valuation.table import read_table


def create_vault(settings: Settings, *, records: Path, account: str | None) -> dict[str, object]:
    """The vault's folder with its keys; what was made, for printing.

    InputError where the records are no table, the account is not one, or a vault is there."""
    folder = settings.vault.path
    if not records.is_file():
        raise InputError(
            f"{records} is not a file", hint="name the CSV or Parquet file with your records"
        )
    try:
        read_table(records.read_bytes(), name=str(records))
    except OSError as error:
        raise InputError(
            f"cannot read {records}: {error.strerror}",
            hint="name the CSV or Parquet file with your records",
        ) from error
    if (folder / ACCOUNT).exists():
        raise InputError(
            f"{folder} is a vault already",
            hint="a second vault would not know what the first one spent; to renew its keys: "
            "covalue contributor rotate-keys",
        )
    password_file = settings.vault.password_file
    if password_file is None:
        raise InputError(
            "the setting vault.password_file is missing",
            hint='add password_file = "vault.password" under [vault] in covalue.toml',
        )
    address = require_account(account) if account is not None else _keystore_address(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InputError(
            f"cannot make the vault's folder {folder}: {error.strerror}",
            hint="vault.path in covalue.toml names the folder; move away what stands in its place",
        ) from error
    if not password_file.exists():
        create_password(password_file)
    key = BlsKey.create(folder / BLS_KEYSTORE, password_file)
    create_node_key(folder / NODE_KEY)
    (folder / RECORDS).symlink_to(records.resolve())
    (folder / ACCOUNT).write_text(address + "\n", encoding="ascii")
    return {
        "vault": folder,
        "account": address,
        "records": records.resolve(),
        "bls_public_key": key.public_key,
        "node_public_key": folder / f"{NODE_KEY}.pub",
        "password_file": password_file,
        "next": "covalue contributor register --stake COVAL",
    }


def keys_of(settings: Settings, dao: Contracts) -> PublicKeys:
    """The keys in the vault's folder, as the registry wants them."""
    folder = settings.vault.path
    return public_keys(
        dao,
        account=read_account(folder),
        bls_key=open_bls_key(settings.vault),
        node_key_hash=node_key_hash(public_pem(folder / f"{NODE_KEY}.pub")),
    )


@contextmanager
def replace_keys(settings: Settings, *, keep: bool) -> Iterator[None]:
    """New key files in place of the old ones, which move aside; undone where the block fails, or
    with `keep` false (a dry run)."""
    folder = settings.vault.path
    names = (BLS_KEYSTORE, NODE_KEY, f"{NODE_KEY}.pub")
    number = 1
    while any((folder / f"{name}.old-{number}").exists() for name in names):
        number += 1
    for name in names:
        (folder / name).rename(folder / f"{name}.old-{number}")
    kept = False
    try:
        password_file = settings.vault.password_file
        assert password_file is not None
        BlsKey.create(folder / BLS_KEYSTORE, password_file)
        create_node_key(folder / NODE_KEY)
        yield
        kept = keep
    finally:
        if not kept:
            for name in names:
                (folder / name).unlink(missing_ok=True)
                (folder / f"{name}.old-{number}").rename(folder / name)


def _keystore_address(settings: Settings) -> str:
    keystore = settings.account.keystore
    if keystore is None:
        raise InputError(
            "no account named",
            hint="give --account ADDRESS, or set account.keystore in covalue.toml",
        )
    try:
        stated = load_json(keystore.read_bytes())["address"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{keystore} does not state its address", hint="give --account ADDRESS"
        ) from error
    return require_account("0x" + str(stated).removeprefix("0x"))
