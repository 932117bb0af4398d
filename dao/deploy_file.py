# SPDX-License-Identifier: Apache-2.0
"""The deploy file (TOML): founders and the constants that no vote can change afterwards."""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from dao.errors import InputError

DEV_STABLECOIN = "dev-stablecoin"
"""In place of an asset's address: deploy a worthless dollar. Devnets only."""
WEI = 10**18


def _coval(value: object) -> int:
    """``"1000.5"`` or ``1000`` COVAL -> wei."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError('expected an amount of COVAL such as "1000" or "0.5"')
    if not re.fullmatch(r"\d{1,30}(\.\d{1,18})?", str(value)):
        raise ValueError('expected an amount of COVAL such as "1000" or "0.5"')
    return int(Decimal(str(value)).scaleb(18))


def _address(value: object) -> object:
    """Any case; an all-digit spelling such as ``0x00..01`` is an address too."""
    return value.lower() if isinstance(value, str) else value


Coval = Annotated[int, BeforeValidator(_coval)]
Account = Annotated[str, BeforeValidator(_address), Field(pattern=r"^0x[0-9a-f]{40}$")]
Seconds = Annotated[int, Field(strict=True, ge=0, le=10 * 365 * 86_400)]
SomeSeconds = Annotated[int, Field(strict=True, ge=1, le=10 * 365 * 86_400)]
Bps = Annotated[int, Field(strict=True, ge=0, lt=10_000)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Founder(_Section):
    """Who gets part of the genesis supply. `amount` is in COVAL."""

    address: Account
    amount: Coval = Field(gt=0)

    @property
    def amount_wei(self) -> int:
        return self.amount


class TokenSection(_Section):
    """`yearly_cap`: COVAL that votes can mint for tasks in a year, at most."""

    yearly_cap: Coval

    @property
    def yearly_cap_wei(self) -> int:
        return self.yearly_cap


class GovernanceSection(_Section):
    """Times are seconds; `proposal_threshold` is the COVAL whose votes a proposer needs."""

    voting_delay_seconds: SomeSeconds
    voting_period_seconds: SomeSeconds
    late_quorum_extension_seconds: Seconds
    timelock_delay_seconds: Seconds
    proposal_threshold: Coval
    quorum_percent: Annotated[int, Field(strict=True, ge=1, le=100)]

    @property
    def proposal_threshold_wei(self) -> int:
        return self.proposal_threshold

    def longest_seconds(self) -> int:
        """From a proposal to its execution."""
        return (
            self.voting_delay_seconds
            + self.voting_period_seconds
            + self.late_quorum_extension_seconds
            + self.timelock_delay_seconds
        )


class ContributorsSection(_Section):
    """`min_stake` in COVAL; the cooldown runs from an exit request to the withdrawal."""

    min_stake: Coval
    exit_cooldown_seconds: SomeSeconds

    @property
    def min_stake_wei(self) -> int:
        return self.min_stake


class TasksSection(_Section):
    """The longest challenge window a task may have, and how long the vote has for a challenge."""

    challenge_window_seconds: SomeSeconds
    challenge_timeout_seconds: SomeSeconds


class ModelsSection(_Section):
    """The guardian may suspend a release, and nothing else; without one only the vote may."""

    guardian: Account | None = None


class RevenueSection(_Section):
    """What consumers pay with and how it is split; 100 bps are 1 %. `treasury` may be "timelock",
    so that a vote decides what becomes of it."""

    asset: Annotated[
        str, BeforeValidator(_address), Field(pattern=r"^(0x[0-9a-f]{40}|dev-stablecoin)$")
    ]
    treasury: Annotated[
        str, BeforeValidator(_address), Field(pattern=r"^(0x[0-9a-f]{40}|timelock)$")
    ]
    treasury_bps: Bps
    coordinator_bps: Bps


class DeployFile(_Section):
    """All of the file."""

    founders: tuple[Founder, ...] = Field(min_length=1, max_length=200)
    token: TokenSection
    governance: GovernanceSection
    contributors: ContributorsSection
    tasks: TasksSection
    models: ModelsSection
    revenue: RevenueSection

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [founder.address for founder in self.founders]
        if len(set(names)) != len(names):
            raise ValueError("a founder stands twice in the list")
        needed = self.tasks.challenge_window_seconds + self.governance.longest_seconds()
        if self.contributors.exit_cooldown_seconds < needed:
            raise ValueError(
                "contributors.exit_cooldown_seconds is "
                f"{self.contributors.exit_cooldown_seconds}, expected at least {needed}: challenge "
                "window + voting delay + period + late quorum extension + timelock delay, so that "
                "no stake leaves before a challenge is decided"
            )
        if self.tasks.challenge_timeout_seconds < self.governance.longest_seconds():
            raise ValueError(
                "tasks.challenge_timeout_seconds is "
                f"{self.tasks.challenge_timeout_seconds}, expected at least "
                f"{self.governance.longest_seconds()}: the vote on a challenge takes that long"
            )
        if self.revenue.treasury_bps + self.revenue.coordinator_bps >= 10_000:
            raise ValueError("revenue: the two parts leave nothing for the contributors")
        supply = sum(founder.amount for founder in self.founders)
        if self.governance.proposal_threshold > supply:
            raise ValueError("governance.proposal_threshold is more than all founders hold")
        return self


def parse_deploy_file(text: str, *, name: str) -> DeployFile:
    """Read a deploy file; InputError names the first place that is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name} is not TOML: {error}") from error
    try:
        return DeployFile.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"{name}: {place + ': ' if place else ''}{said}",
            hint='"covalue dao deploy --example" prints a deploy file with every field explained.',
        ) from error


def read_deploy_file(path: Path) -> DeployFile:
    """Read a deploy file from disk."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(
            f"cannot read the deploy file {path}: {reason}",
            hint='"covalue dao deploy --example" prints one',
        ) from error
    return parse_deploy_file(text, name=str(path))


EXAMPLE = """\
# Deploy file of a Covalue DAO. Amounts are COVAL, times are seconds.
# Nothing here can be changed later except by a vote, and what is marked (fixed) not even then.

[[founders]]                    # the genesis supply (fixed)
address = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
amount = "400000"

[[founders]]
address = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
amount = "300000"

[[founders]]
address = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"
amount = "300000"

[token]
yearly_cap = "1000000"          # most that votes can mint for tasks in a year (fixed)

[governance]
voting_delay_seconds = 86400
voting_period_seconds = 259200
late_quorum_extension_seconds = 86400
timelock_delay_seconds = 172800
proposal_threshold = "1000"     # votes that a proposer needs
quorum_percent = 10             # part of the supply that must vote for or abstain

[contributors]
min_stake = "10"                # (fixed)
exit_cooldown_seconds = 1209600 # (fixed) covers challenge window + vote + timelock

[tasks]
challenge_window_seconds = 259200   # longest challenge window of a task
challenge_timeout_seconds = 1209600 # (fixed) how long the vote has for a challenge

[models]
# guardian = "0x..."            # may suspend a release and nothing else; remove the line for none

[revenue]
asset = "dev-stablecoin"        # (fixed) address of an ERC-20; "dev-stablecoin" on devnets only
treasury = "timelock"           # or an address
treasury_bps = 500              # (fixed) 100 = 1 %
coordinator_bps = 500           # (fixed)
"""
"""A complete file; founders are the first accounts of a devnet."""
