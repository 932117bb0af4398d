# SPDX-License-Identifier: Apache-2.0
"""What was deployed where, and the opened contracts of a deployment."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from dao.artefacts import CONTRACT_NAMES, load_artefact
from dao.canonical import Address, Count, Digest, Hex, Positive
from dao.chain import Chain
from dao.contracts.binding import Binding
from dao.contracts.distributor import RewardDistributor
from dao.contracts.governor import CovalueGovernor
from dao.contracts.model_registry import ModelRegistry
from dao.contracts.registry import ContributorRegistry
from dao.contracts.revenue import RevenueShare
from dao.contracts.task_ledger import TaskLedger
from dao.contracts.timelock import Timelock
from dao.contracts.token import CovalueToken, DevStablecoin, Erc20
from dao.errors import ChainError, InputError


class Placed(BaseModel):
    """A contract: its address, the transaction that created it, the digest of its ABI."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: Address
    transaction: Hex
    abi_sha256: Digest


class Deployment(BaseModel):
    """The file deployment.json: all that a reader of the chain needs to know beforehand.

    `block` is where event readers begin; `challenge_window_seconds` is the longest challenge
    window for which the exit cooldown was chosen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    chain_id: Positive
    block: Count
    deployer: Address
    challenge_window_seconds: Positive
    revenue_asset: Address
    contracts: dict[str, Placed]

    def address_of(self, contract: str) -> str:
        """The address of one of `CONTRACT_NAMES`."""
        return self.contracts[contract].address

    def write(self, path: Path) -> None:
        """Write the file at once or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        text = json.dumps(self.model_dump(mode="json"), indent=2)
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read deployment.json; InputError if it is missing or wrong."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"cannot read the deployment file {path}: {error.strerror}",
                hint='"covalue dao deploy" writes it; a member gets it from the DAO. '
                "Name it as chain.deployment in covalue.toml.",
            ) from error
        try:
            deployment = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or "the file"
            raise InputError(f"{path} is no deployment file: {place}: {first['msg']}") from error
        missing = [name for name in CONTRACT_NAMES if name not in deployment.contracts]
        if missing:
            raise InputError(f"{path} does not name the contract {missing[0]}")
        return deployment


@dataclass(frozen=True)
class Contracts:
    """The contracts of one deployment, ready to read."""

    chain: Chain
    deployment: Deployment
    token: CovalueToken
    governor: CovalueGovernor
    timelock: Timelock
    registry: ContributorRegistry
    ledger: TaskLedger
    distributor: RewardDistributor
    models: ModelRegistry
    revenue: RevenueShare
    asset: Erc20
    """The ERC-20 in which consumers pay."""

    @classmethod
    def open(cls, chain: Chain, deployment: Deployment) -> Self:
        """Bind to the addresses; the chain's id must be the deployment's, and each ABI the one
        that this package was built with."""
        chain.connect(chain_id=deployment.chain_id)
        for name in CONTRACT_NAMES:
            if deployment.contracts[name].abi_sha256 != load_artefact(name).abi_sha256:
                raise ChainError(
                    f"{name} was deployed by another version of covalue: its ABI differs",
                    hint="Install the version of covalue that the DAO was deployed with.",
                )
        at = deployment.address_of
        asset = deployment.revenue_asset
        return cls(
            chain=chain,
            deployment=deployment,
            token=CovalueToken(chain, at("CovalueToken")),
            governor=CovalueGovernor(chain, at("CovalueGovernor")),
            timelock=Timelock(chain, at("TimelockController")),
            registry=ContributorRegistry(chain, at("ContributorRegistry")),
            ledger=TaskLedger(chain, at("TaskLedger")),
            distributor=RewardDistributor(chain, at("RewardDistributor")),
            models=ModelRegistry(chain, at("ModelRegistry")),
            revenue=RevenueShare(chain, at("RevenueShare")),
            asset=DevStablecoin(chain, asset)
            if "DevStablecoin" in deployment.contracts
            else Erc20(chain, asset),
        )

    def all(self) -> tuple[Binding, ...]:
        """Every binding, in the order of `CONTRACT_NAMES`."""
        return (
            self.token,
            self.governor,
            self.timelock,
            self.registry,
            self.ledger,
            self.distributor,
            self.models,
            self.revenue,
        )

    def governance_seconds(self) -> int:
        """The longest time from a proposal to its execution: voting delay, period, late quorum
        extension and timelock delay."""
        return (
            self.governor.voting_delay_seconds()
            + self.governor.voting_period_seconds()
            + self.governor.late_quorum_extension_seconds()
            + self.timelock.min_delay_seconds()
        )


def open_dao(rpc_url: str, deployment_file: Path) -> Contracts:
    """Connect to the chain and bind to the deployment that a file names."""
    return Contracts.open(Chain(rpc_url), Deployment.read(deployment_file))
