# SPDX-License-Identifier: Apache-2.0
"""Flower's deployment runtime end to end: a SuperLink over TLS, three contributors with
authenticated SuperNodes and vaults, the coordinator's ServerApp, all started by their commands."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from dao.contracts.task_types import TaskState
from dao.keystore import AccountKey, create_password
from dao.peer import BlockServer
from demo.deployment import admit_nodes, superlink
from demo.devnet import Devnet, dev_account, free_port
from demo.simulation import simulate
from fl_client.flower_runtime import SuperLinkControl
from fl_client.node_key import create_node_key, public_pem
from fl_client.supernode import SuperNode, SuperNodeConfig, node_environment
from fl_server.context import Progress
from tests.federation_town import COORDINATOR, Town, build_town
from tests.forecast_town import family_of, forecast, together
from tests.probe_bundle import probe_bundle

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 200.0


def wait_for(condition: Callable[[], bool], *, seconds: float = SECONDS) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "timed out"
        time.sleep(0.2)


def command(*words: str, cwd: Path, log: Path) -> subprocess.Popen[bytes]:
    """A `covalue` command in the background."""
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", *words],
            cwd=cwd,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )


def change_settings(path: Path, **groups: dict[str, Any]) -> None:
    settings = tomllib.loads(path.read_text())
    for name, changes in groups.items():
        settings[name] = settings.get(name, {}) | changes
    path.write_text(tomli_w.dumps(settings))


@dataclass
class Deployment:
    """A running federation and what the simulation of the same task came to."""

    town: Town
    control: SuperLinkControl
    simulated_model: str
    contributors: list[subprocess.Popen[bytes]]

    def log(self, place: int) -> str:
        return (self.town.folder / f"contributor-{place}.log").read_text()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("town")
    with Devnet() as net:
        town = build_town(folder, net, rule="wiener")
        simulated = _simulated(town, tmp_path_factory.mktemp("simulation"))
        home = folder / "coordinator"
        create_password(home / "account.password")
        AccountKey.create(
            home / "account.json",
            home / "account.password",
            light=True,
            secret=bytes(dev_account(COORDINATOR).key),
        )
        store_port, address = free_port(), f"127.0.0.1:{free_port()}"
        change_settings(
            home / "covalue.toml",
            account={"keystore": "account.json", "password_file": "account.password"},
            store={"serve_port": store_port},
            coordinator={"superlink_address": address},
        )
        made = command("coordinator", "certs", "--host", "127.0.0.1", cwd=home, log=home / "log")
        assert made.wait(60) == 0, (home / "log").read_text()
        for place, path in enumerate(town.vaults):
            (folder / "coordinator" / "journal" / "nodes").mkdir(parents=True, exist_ok=True)
            shutil.copy(
                path.parent / "vault" / "node.pub",
                home / "journal" / "nodes" / f"{place}.pub",
            )
            change_settings(
                path,
                store={"peers": [f"http://127.0.0.1:{store_port}"]},
                vault={"runtime_address": f"127.0.0.1:{free_port()}"},
                coordinator={
                    "superlink_address": address,
                    "root_certificates": "../coordinator/journal/tls/ca.crt",
                },
            )
        with superlink(town.coordinator, settings_folder=home, environment={}) as control:
            missing = admit_nodes(control, town.dao, town.store, town.coordinator, town.task_id)
            assert missing == ()
            contributors = [
                command(
                    "contributor",
                    "run",
                    cwd=path.parent,
                    log=folder / f"contributor-{place}.log",
                )
                for place, path in enumerate(town.vaults)
            ]
            try:
                yield Deployment(town, control, simulated, contributors)
            finally:
                for process in contributors:
                    process.send_signal(signal.SIGTERM)
                codes = [process.wait(30) for process in contributors]
            assert codes == [0, 0, 0]


def _simulated(town: Town, copy: Path) -> str:
    """The model's digest after the same task in simulation, on a copy of everything; the chain is
    turned back afterwards."""
    mark = town.net.snapshot()
    shutil.copytree(town.folder, copy, dirs_exist_ok=True, symlinks=True)
    twin = Town(
        copy, town.net, town.dao, town.contributors, town.task, town.parts, task_id=town.task_id
    )
    with BlockServer(twin.store, port=0) as server:
        for path in twin.vaults:
            change_settings(path, store={"peers": [server.url]})

        def progress(each: Progress) -> None:
            assert each.kind != "waiting", each.detail
            if each.kind == "revealing":
                twin.open_parts()

        simulate(
            task_id=twin.task_id,
            vaults=twin.vaults,
            coordinator=twin.coordinator,
            account=dev_account(COORDINATOR),
            progress=progress,
        )
    digest = twin.dao.ledger.task_of(twin.task_id).model_digest
    town.net.revert(mark)
    return digest


def test_promise_4_a_foreign_bundle_is_refused_by_every_vault_unopened(
    deployment: Deployment,
) -> None:
    folder = deployment.town.folder
    bundle, told, mark = probe_bundle(folder, "hostile", nodes=3)
    deployment.control.submit(bundle, overrides=[])
    wait_for(told.exists)
    assert json.loads(told.read_text()) == [{"error": "covalue:wrong-bundle"}] * 3
    assert not mark.exists()
    for place in range(3):
        assert hashlib.sha256(bundle).hexdigest() in deployment.log(place)


def test_the_deployment_comes_to_the_simulations_model(deployment: Deployment) -> None:
    town = deployment.town
    log = town.folder / "run.log"
    process = command(
        "coordinator", "run", str(town.task_id), "--json", cwd=town.folder / "coordinator", log=log
    )
    try:
        ledger = town.dao.ledger

        def revealing() -> bool:
            assert process.poll() is None, log.read_text()
            return ledger.task_of(town.task_id).state is TaskState.REVEALING

        wait_for(revealing)
        town.open_parts()
        assert process.wait(SECONDS) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    task = ledger.task_of(town.task_id)
    assert task.state is TaskState.CLOSED
    assert task.last_round == town.task.total_rounds == town.task.policy.rounds + 1
    assert task.model_digest == deployment.simulated_model
    assert json.loads(log.read_text().splitlines()[-1])["model_sha256"] == task.model_digest


def test_the_forecast_comes_to_the_simulations_model(deployment: Deployment) -> None:
    """Neither Ray nor Flower: the same accounts, rows and seeds in one process."""
    town = deployment.town
    family = family_of(town)
    rounds = forecast(town, family, together(town, family))
    assert hashlib.sha256(rounds[-1].model).hexdigest() == deployment.simulated_model
    # alone, this test would end before the contributors know how to be stopped
    wait_for(lambda: all(deployment.log(place) for place in range(town.contributors)))


def test_control_a_stock_supernode_runs_the_foreign_code(deployment: Deployment) -> None:
    """What the refusal protects from: the same kind of bundle under Flower's own executor."""
    town = deployment.town
    bundle, told, mark = probe_bundle(town.folder, "stock", nodes=4)
    key = town.folder / "stock-node" / "node"
    create_node_key(key)
    deployment.control.register_node(public_pem(key.with_name("node.pub")), name="stock")
    with (town.folder / "stock.log").open("wb") as log:
        process = subprocess.Popen(
            [
                str(Path(sysconfig.get_path("scripts")) / "flower-supernode"),
                *("--superlink", town.coordinator.coordinator.superlink_address),
                *("--root-certificates", str(town.folder / "coordinator/journal/tls/ca.crt")),
                *("--auth-supernode-private-key", str(key)),
                *("--port", str(free_port())),
            ],
            env=node_environment(key.parent),
            stdout=log,
            stderr=log,
        )
        try:
            deployment.control.submit(bundle, overrides=[])
            wait_for(told.exists)
        finally:
            process.terminate()
            process.wait(20)
    assert mark.read_text() == "the coordinator's code ran here"
    replies = json.loads(told.read_text())
    assert sum("error" in reply for reply in replies) == 3, "our vaults still refuse"


def test_an_unregistered_supernode_is_refused(deployment: Deployment) -> None:
    town = deployment.town
    key = town.folder / "stranger" / "node"
    create_node_key(key)
    config = SuperNodeConfig(
        folder=key.parent,
        superlink=town.coordinator.coordinator.superlink_address,
        root_certificate=town.folder / "coordinator" / "journal" / "tls" / "ca.crt",
        key=key,
        port=free_port(),
    )
    with SuperNode(config) as node:
        wait_for(lambda: not node.alive())
        assert node.process.returncode != 0
