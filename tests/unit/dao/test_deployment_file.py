# SPDX-License-Identifier: Apache-2.0
"""The deploy file and the deployment file: what is wrong with them is said at the right place."""

from __future__ import annotations

from pathlib import Path

import pytest

from dao.artefacts import CONTRACT_NAMES, load_artefact
from dao.deploy_file import EXAMPLE, parse_deploy_file, read_deploy_file
from dao.deployment import Deployment, Placed
from dao.errors import InputError


def test_the_example_says_what_it_says() -> None:
    plan = parse_deploy_file(EXAMPLE, name="deploy.toml")
    assert [founder.amount_wei // 10**18 for founder in plan.founders] == [
        400_000,
        300_000,
        300_000,
    ]
    assert plan.governance.longest_seconds() == (1 + 3 + 1 + 2) * 86_400
    assert plan.models.guardian is None
    assert plan.revenue.asset == "dev-stablecoin"


def test_amounts_are_exact() -> None:
    text = EXAMPLE.replace('"400000"', '"0.000000000000000001"').replace('"1000"', "7")
    plan = parse_deploy_file(text, name="x")
    assert plan.founders[0].amount_wei == 1
    assert plan.governance.proposal_threshold_wei == 7 * 10**18


def test_addresses_of_any_case() -> None:
    mixed = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    plan = parse_deploy_file(EXAMPLE.replace(mixed.lower(), mixed), name="x")
    assert plan.founders[0].address == mixed.lower()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("[token]", "[token", "x is not TOML"),
        ("yearly_cap =", "yearly_cop =", "yearly_cap: Field required"),
        ("[token]", "[token]\nmore = 1", "token.more: Extra inputs"),
        ('"400000"', '"-5"', "founders.0.amount: expected an amount of COVAL"),
        ('"400000"', '"1e3"', "founders.0.amount: expected an amount of COVAL"),
        ('"400000"', '"0"', "founders.0.amount: Input should be greater than 0"),
        ('"400000"', "true", "founders.0.amount: expected an amount of COVAL"),
        ('"400000"', '"0.0000000000000000001"', "founders.0.amount: expected an amount"),
        ('"0xf39fd6e5', '"0xf39fd6', "founders.0.address"),
        (
            "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
            "0x" + "f39fd6e51aad88f6f4ce6ab8827279cfffb92266",
            "twice",
        ),
        ("exit_cooldown_seconds = 1209600", "exit_cooldown_seconds = 863999", "at least 864000"),
        ("timeout_seconds = 1209600", "timeout_seconds = 604799", "at least 604800"),
        ("quorum_percent = 10", "quorum_percent = 0", "governance.quorum_percent"),
        ("quorum_percent = 10", "quorum_percent = 101", "governance.quorum_percent"),
        ("voting_period_seconds = 259200", "voting_period_seconds = 0", "voting_period_seconds"),
        ("treasury_bps = 500 ", "treasury_bps = 9500 ", "leave nothing for the contributors"),
        ('asset = "dev-stablecoin"', 'asset = "usdc"', "revenue.asset"),
        ('threshold = "1000"', 'threshold = "1000001"', "more than all founders hold"),
    ],
)
def test_what_is_wrong_is_named(before: str, after: str, says: str) -> None:
    assert before in EXAMPLE
    with pytest.raises(InputError) as refused:
        parse_deploy_file(EXAMPLE.replace(before, after, 1), name="x")
    assert says in refused.value.message


def test_a_missing_deploy_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the deploy file"):
        read_deploy_file(tmp_path / "nothing.toml")


def deployment() -> Deployment:
    placed = {
        name: Placed(
            address=f"0x{place + 1:040x}",
            transaction="0x" + "ab" * 32,
            abi_sha256=load_artefact(name).abi_sha256,
        )
        for place, name in enumerate(CONTRACT_NAMES)
    }
    return Deployment(
        chain_id=31337,
        block=7,
        deployer="0x" + "11" * 20,
        challenge_window_seconds=3600,
        revenue_asset="0x" + "22" * 20,
        contracts=placed,
    )


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "deployment.json"
    deployment().write(path)
    assert Deployment.read(path) == deployment()
    assert [file.name for file in path.parent.iterdir()] == ["deployment.json"]


def test_wrong_deployment_files(tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    with pytest.raises(InputError, match="cannot read the deployment file") as refused:
        Deployment.read(path)
    assert "covalue dao deploy" in str(refused.value.hint)
    path.write_text("{")
    with pytest.raises(InputError, match="is no deployment file"):
        Deployment.read(path)
    placed = dict(deployment().contracts)
    del placed["TaskLedger"]
    deployment().model_copy(update={"contracts": placed}).write(path)
    with pytest.raises(InputError, match="does not name the contract TaskLedger"):
        Deployment.read(path)
    wrong = deployment().model_dump_json().replace("0x" + "11" * 20, "0xnobody")
    path.write_text(wrong)
    with pytest.raises(InputError, match="deployer"):
        Deployment.read(path)
