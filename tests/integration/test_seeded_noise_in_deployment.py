# SPDX-License-Identifier: Apache-2.0
"""A coordinator that asks authenticated SuperNodes on any chain but the development chain takes no
noise from a seed, whatever its settings say."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from dao.deployment import open_dao
from dao.settings import Settings
from demo.devnet import CHAIN_ID, Devnet, dev_account
from fl_server.opening import DEVNET_CHAIN_ID, open_context
from tests.federation_town import COORDINATOR, Town, build_town

EARNEST_CHAIN_ID = 42_161


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A started task whose coordinator's settings allow noise from a seed."""
    with Devnet() as net:
        yield build_town(tmp_path_factory.mktemp("town"), net, contributors=2, rows_each=60)


@pytest.fixture
def elsewhere(town: Town) -> Iterator[Settings]:
    """The coordinator's settings for the same contracts on a chain that is not the development
    chain."""
    file = town.folder / "deployment.json"
    before = file.read_text()
    town.net.chain.request("anvil_setChainId", EARNEST_CHAIN_ID)
    file.write_text(json.dumps(json.loads(before) | {"chain_id": EARNEST_CHAIN_ID}))
    yield changed(town.coordinator, path=town.folder / "elsewhere")
    town.net.chain.request("anvil_setChainId", CHAIN_ID)
    file.write_text(before)


def changed(settings: Settings, **changes: object) -> Settings:
    """The settings with others in the coordinator's group."""
    group = settings.coordinator.model_copy(update=changes)
    return settings.model_copy(update={"coordinator": group})


def takes_seeded_noise(town: Town, settings: Settings, *, authenticated: bool) -> bool:
    context = open_context(
        settings,
        task_id=town.task_id,
        progress=lambda _: None,
        authenticated=authenticated,
        account=dev_account(COORDINATOR),
    )
    context.journal.close()
    assert bool(context.node_owners) is authenticated
    return context.allow_seeded


def test_a_deployment_takes_none_whatever_its_settings_say(town: Town, elsewhere: Settings) -> None:
    assert elsewhere.coordinator.allow_seeded_noise
    assert open_dao(town.net.rpc_url, elsewhere.chain.deployment).chain.chain_id != CHAIN_ID
    assert not takes_seeded_noise(town, elsewhere, authenticated=True)
    assert takes_seeded_noise(town, elsewhere, authenticated=False), "a simulation may"


def test_on_the_development_chain_the_settings_decide(town: Town) -> None:
    assert DEVNET_CHAIN_ID == CHAIN_ID
    assert takes_seeded_noise(town, town.coordinator, authenticated=True)
    without = changed(town.coordinator, allow_seeded_noise=False)
    for authenticated in (False, True):
        assert not takes_seeded_noise(town, without, authenticated=authenticated)
