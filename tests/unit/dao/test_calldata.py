# SPDX-License-Identifier: Apache-2.0
"""Proposals in words: units, names, and what is not known. No chain is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dao.artefacts import CONTRACT_NAMES, load_artefact
from dao.calldata import (
    UNKNOWN,
    decode_action,
    plain_text,
    show_coval,
    show_duration,
    show_time,
)
from dao.chain import Call, Chain
from dao.contracts.distributor import RewardDistributor
from dao.contracts.governor import CovalueGovernor
from dao.contracts.model_registry import ModelRegistry
from dao.contracts.registry import ContributorRegistry
from dao.contracts.revenue import RevenueShare
from dao.contracts.task_ledger import TaskLedger
from dao.contracts.timelock import Timelock
from dao.contracts.token import CovalueToken, DevStablecoin
from dao.deployment import Contracts, Deployment, Placed


def contracts() -> Contracts:
    """Bindings at made-up addresses; nobody listens behind them."""
    chain = Chain("http://127.0.0.1:1")
    at = {name: f"0x{place + 1:040x}" for place, name in enumerate(CONTRACT_NAMES)}
    asset = "0x" + "ee" * 20
    return Contracts(
        chain=chain,
        deployment=Deployment(
            chain_id=31337,
            block=0,
            deployer="0x" + "11" * 20,
            challenge_window_seconds=1,
            revenue_asset=asset,
            contracts={
                name: Placed(
                    address=address,
                    transaction="0x",
                    abi_sha256=load_artefact(name).abi_sha256,
                )
                for name, address in at.items()
            },
        ),
        token=CovalueToken(chain, at["CovalueToken"]),
        governor=CovalueGovernor(chain, at["CovalueGovernor"]),
        timelock=Timelock(chain, at["TimelockController"]),
        registry=ContributorRegistry(chain, at["ContributorRegistry"]),
        ledger=TaskLedger(chain, at["TaskLedger"]),
        distributor=RewardDistributor(chain, at["RewardDistributor"]),
        models=ModelRegistry(chain, at["ModelRegistry"]),
        revenue=RevenueShare(chain, at["RevenueShare"]),
        asset=DevStablecoin(chain, asset),
    )


SHARED = contracts()


@pytest.fixture
def dao() -> Contracts:
    return SHARED


def meanings(dao: Contracts, call: Call) -> dict[str, str]:
    return {item.name: item.meaning for item in decode_action(dao, call).arguments}


def test_amounts_and_names(dao: Contracts) -> None:
    said = meanings(dao, dao.token.transfer(dao.timelock.address, 15 * 10**17))
    assert said["to"] == f"{dao.timelock.address} (TimelockController)"
    assert said["value"] == "1500000000000000000 (1.5 COVAL)"
    slash = dao.registry.slash(
        "0x" + "77" * 20, 10**18, evidence_digest="00" * 32, evidence_cid="x"
    )
    assert meanings(dao, slash)["amount"] == "1000000000000000000 (1 COVAL)"


def test_the_assets_amounts_are_not_coval(dao: Contracts) -> None:
    assert meanings(dao, dao.revenue.pay(1, 10**18))["amount"] == str(10**18)


def test_power_is_pointed_out(dao: Contracts) -> None:
    action = decode_action(dao, dao.models.set_guardian("0x" + "77" * 20))
    assert action.warnings == ("changes who may suspend releases",)
    assert decode_action(dao, dao.models.revoke(1)).warnings == ()


def test_only_standard_functions_of_the_asset_are_known(dao: Contracts) -> None:
    known = decode_action(dao, dao.asset.transfer("0x" + "77" * 20, 5))
    assert (known.contract, known.function) == ("the revenue asset", "transfer")
    assert known.warnings
    assert isinstance(dao.asset, DevStablecoin)
    minted = decode_action(dao, dao.asset.mint("0x" + "77" * 20, 5))
    assert minted.function == UNKNOWN
    assert "UNKNOWN FUNCTION" in minted.warnings[0]


def test_ether_is_pointed_out(dao: Contracts) -> None:
    action = decode_action(dao, Call(dao.ledger.address, b"", 15 * 10**17, ""))
    assert "sends 1.5 ether" in action.warnings[0]
    assert "UNKNOWN FUNCTION 0x" in action.warnings[1]


@given(data=st.binary(max_size=200), target=st.integers(0, 10))
def test_no_bytes_break_the_reader(data: bytes, target: int) -> None:
    """Whatever a proposer sends, the voter gets an answer; known code keeps its contract's name."""
    dao = SHARED
    selectors = [
        entry.selector
        for overloads in load_artefact("TaskLedger").functions.values()
        for entry in overloads
    ]
    for prefix in (b"", selectors[len(data) % len(selectors)]):
        action = decode_action(dao, Call(f"0x{target:040x}", prefix + data, 0, ""))
        assert action.lines()
        assert action.function != UNKNOWN or action.warnings


def test_text_of_strangers_cannot_move_the_cursor() -> None:
    assert plain_text("a\x1b[2Jb\rc\u202ed\ne") == "a?[2Jb?c?d\ne"


@pytest.mark.parametrize(
    ("wei", "said"),
    [
        (0, "0 COVAL"),
        (1, "0.000000000000000001 COVAL"),
        (10**24, "1,000,000 COVAL"),
        (1_234_500_000_000_000_000_000, "1,234.5 COVAL"),
    ],
)
def test_coval(wei: int, said: str) -> None:
    assert show_coval(wei) == said


def test_times() -> None:
    assert show_time(0) == "1970-01-01 00:00:00 UTC"
    assert show_time(2**64 - 1) == "after the year 9999"
    assert [show_duration(s) for s in (0, 59, 3_600, 90_061)] == ["0 s", "59 s", "1 h", "1 d 1 h"]


def test_a_release_in_words(dao: Contracts) -> None:
    action = decode_action(dao, dao.models.release(3, release_number=2))
    assert action.lines() == [
        f"ModelRegistry.release at {dao.models.address}",
        "  taskId = 3",
        "  releaseNumber = 2",
    ]
