# SPDX-License-Identifier: Apache-2.0
"""Deploying the demo's DAO, and giving everyone the tokens they need."""

from __future__ import annotations

from dao.chain import Chain
from dao.deploy import deploy
from dao.deploy_file import DeployFile, parse_deploy_file
from dao.deployment import Contracts
from demo.cast import COVAL, GENESIS_EACH_WEI, PURSE_WEI, Cast
from demo.governing import send

COORDINATOR_PURSE_WEI = 20_000 * COVAL


def deploy_file(cast: Cast) -> DeployFile:
    """Three equal founders and short times; on a devnet the clock is moved, not waited for."""
    founders = "\n".join(
        f'[[founders]]\naddress = "{member.address}"\namount = "{GENESIS_EACH_WEI // COVAL}"'
        for member in cast.members
    )
    return parse_deploy_file(
        f"""{founders}
[token]
yearly_cap = "1000000"
[governance]
voting_delay_seconds = 60
voting_period_seconds = 3600
late_quorum_extension_seconds = 600
timelock_delay_seconds = 3600
proposal_threshold = "1000"
quorum_percent = 10
[contributors]
min_stake = "100"
exit_cooldown_seconds = 604800
[tasks]
challenge_window_seconds = 86400
challenge_timeout_seconds = 86400
[models]
guardian = "{cast.members[0].address}"
[revenue]
asset = "dev-stablecoin"
treasury = "timelock"
treasury_bps = 1000
coordinator_bps = 1000
""",
        name="the demo's deploy file",
    )


def found(chain: Chain, cast: Cast) -> Contracts:
    """Deploy, delegate the founders' votes to themselves, hand out tokens for stakes and bonds."""
    dao = deploy(chain, cast.deployer.account, deploy_file(cast)).dao
    for member in cast.members:
        send(dao, member, dao.token.delegate(member.address))
    treasurer = cast.members[0]
    send(dao, treasurer, dao.token.transfer(cast.coordinator.address, COORDINATOR_PURSE_WEI))
    for player in cast.contributors:
        send(dao, treasurer, dao.token.transfer(player.address, PURSE_WEI))
    return dao
