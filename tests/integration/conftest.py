# SPDX-License-Identifier: Apache-2.0
"""A real chain (anvil) with a deployed DAO, the same at the start of every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_world import DEPLOY_FILE, DEPLOYER, FOUNDERS, Job, address, send, small_task

from dao.deploy import deploy
from dao.deploy_file import DeployFile, parse_deploy_file
from dao.deployment import Contracts
from demo.devnet import Devnet


@pytest.fixture(scope="session")
def plan() -> DeployFile:
    return parse_deploy_file(DEPLOY_FILE, name="deploy.toml")


@pytest.fixture(scope="session")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    """One anvil per session, with its state in a temporary folder."""
    with Devnet(tmp_path_factory.mktemp("devnet")) as net:
        yield net


@pytest.fixture(scope="session")
def _deployed(devnet: Devnet, plan: DeployFile) -> Contracts:
    return deploy(devnet.chain, devnet.account(DEPLOYER), plan).dao


@pytest.fixture
def dao(devnet: Devnet, _deployed: Contracts) -> Iterator[Contracts]:
    """A DAO as it is right after deployment, founders' votes delegated to themselves."""
    mark = devnet.snapshot()
    for founder in FOUNDERS:
        send(_deployed, founder, _deployed.token.delegate(address(founder)))
    devnet.advance(1)
    yield _deployed
    devnet.revert(mark)


@pytest.fixture
def job(devnet: Devnet, dao: Contracts) -> Job:
    """A task that nobody has proposed yet."""
    return Job(devnet, dao, small_task())


@pytest.fixture
def covalue_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one, for commands."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
