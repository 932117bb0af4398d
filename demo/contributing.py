# SPDX-License-Identifier: Apache-2.0
"""Contributors of the demo: their vaults on disk, registration with stake, joining, claiming."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dao.deployment import Contracts
from dao.keystore import BlsKey, create_password
from dao.records import Task
from dao.store import Store
from demo.accounts import account_settings, write_account
from demo.cast import COVAL, Behaviour, Player
from demo.devnet import free_port
from demo.folder import DemoFolder
from demo.governing import send
from fl_client.enrol import claim_call, find_claim, join_call, public_keys, register_calls
from fl_client.node_key import create_node_key, node_key_hash, public_pem
from fl_client.opening import ACCOUNT, BLS_KEYSTORE, NODE_KEY, RECORDS

STAKE_WEI = 100 * COVAL


@dataclass(frozen=True)
class SuperLinkPlace:
    """What a contributor must know of the coordinator's SuperLink."""

    address: str
    """host:port."""
    root_certificate: Path


def misbehave(rows: pd.DataFrame, task: Task, behaviour: Behaviour) -> pd.DataFrame:
    """The records that a contributor trains on.

    A label flipper mirrors every price within the target's bounds (on the target's scale). Who
    sends noise keeps one record, so that beside it the update is nothing but noise: what a node
    without data gains by taking part.
    """
    if behaviour == "honest":
        return rows
    if behaviour == "sends noise":
        return rows.head(1)
    target = task.target
    lower, upper = target.lower_micro / 1e6, target.upper_micro / 1e6
    price = pd.to_numeric(rows[target.column])
    mirrored = lower * upper / price if target.scale == "log" else lower + upper - price
    return rows.assign(**{target.column: mirrored.map(lambda value: f"{value:.6f}")})


def make_vault(
    folder: DemoFolder,
    index: int,
    *,
    player: Player,
    rows: pd.DataFrame,
    rpc_url: str,
    store_url: str,
    noise_seed: str | None,
    superlink: SuperLinkPlace | None,
) -> Path:
    """Write a vault folder as `covalue contributor init` does, and the contributor's account;
    returns their settings file.

    With a SuperLink named, `covalue contributor run` can answer for it.
    """
    home = folder.contributor(index)
    vault = home / "vault"
    vault.mkdir(parents=True, mode=0o700)
    password = home / "password"
    create_password(password)
    BlsKey.create(vault / BLS_KEYSTORE, password, light=True)
    create_node_key(vault / NODE_KEY)
    (vault / ACCOUNT).write_text(player.address)
    write_account(home, "account", player)
    rows.to_csv(vault / RECORDS, index=False, lineterminator="\n")
    settings = home / "covalue.toml"
    seed = "" if noise_seed is None else f'noise_seed = "{noise_seed}"\n'
    settings.write_text(
        f"""[chain]
rpc_url = "{rpc_url}"
deployment = "{folder.deployment}"
[store]
path = "store"
peers = ["{store_url}"]
{account_settings("account")}[vault]
path = "vault"
password_file = "password"
witness_path = "witness"
{seed}{"" if superlink is None else _node_settings(superlink)}"""
    )
    return settings


def _node_settings(superlink: SuperLinkPlace) -> str:
    """The last key of [vault], and [coordinator]."""
    return f"""runtime_address = "127.0.0.1:{free_port()}"
[coordinator]
superlink_address = "{superlink.address}"
root_certificates = "{superlink.root_certificate}"
"""


def register_and_join(
    dao: Contracts, folder: DemoFolder, index: int, *, player: Player, task_id: int, store: Store
) -> None:
    """Stake, register the vault's keys (the node's key goes to the store), join the task."""
    home = folder.contributor(index)
    node_key = public_pem(home / "vault" / f"{NODE_KEY}.pub")
    store.put(node_key)
    keys = public_keys(
        dao,
        account=player.address,
        bls_key=BlsKey.open(home / "vault" / BLS_KEYSTORE, home / "password"),
        node_key_hash=node_key_hash(node_key),
    )
    for call in (*register_calls(dao, keys, stake_wei=STAKE_WEI), join_call(dao, task_id)):
        send(dao, player, call)


def claim_all(
    dao: Contracts, store: Store, *, task_id: int, players: tuple[Player, ...]
) -> dict[str, int]:
    """Every paid contributor claims; what the chain then says each has claimed, in wei."""
    for player in players:
        found = find_claim(dao, store, task_id=task_id, account=player.address)
        if found is not None:
            send(dao, player, claim_call(dao, found))
    paid = dao.distributor.events(
        "Claimed", from_block=dao.deployment.block, where={"taskId": task_id}
    )
    claimed = {each.arguments["account"]: int(each.arguments["amount"]) for each in paid}
    return {player.address: claimed.get(player.address, 0) for player in players}
