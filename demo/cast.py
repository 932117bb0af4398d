# SPDX-License-Identifier: Apache-2.0
"""Who plays in the demo, and with which account of the devnet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from eth_account.signers.local import LocalAccount

from demo.devnet import dev_account

COVAL = 10**18
"""One token in wei."""
GENESIS_EACH_WEI = 1_000_000 * COVAL
"""What each founder gets at genesis."""
PURSE_WEI = 10_000 * COVAL
"""What a founder hands to each contributor, so that it can stake."""

Behaviour = Literal["honest", "flips labels", "sends noise"]


@dataclass(frozen=True)
class Player:
    """One account with a role."""

    name: str
    account: LocalAccount

    @property
    def address(self) -> str:
        """Lower case, as records spell it."""
        return str(self.account.address).lower()


@dataclass(frozen=True)
class Cast:
    """Everyone. The first three accounts after the deployer's are the founding members; the second
    and third of them hold the sealed parts."""

    deployer: Player
    members: tuple[Player, Player, Player]
    coordinator: Player
    api: Player
    contributors: tuple[Player, ...]

    @property
    def part_holders(self) -> tuple[Player, Player]:
        """Two members, none of them the coordinator."""
        return self.members[1], self.members[2]


def assemble(contributors: int) -> Cast:
    """The cast of a demo with so many contributors."""

    def player(name: str, index: int) -> Player:
        return Player(name=name, account=dev_account(index))

    return Cast(
        deployer=player("deployer", 0),
        members=(player("Ada", 1), player("Ben", 2), player("Cleo", 3)),
        coordinator=player("coordinator", 4),
        api=player("api", 5),
        contributors=tuple(
            player(f"contributor {index + 1}", 6 + index) for index in range(contributors)
        ),
    )


def behaviours(by_size: list[int], *, attackers: bool) -> tuple[Behaviour, ...]:
    """What each contributor does: the fourth largest flips labels, the seventh sends noise."""
    plan: list[Behaviour] = ["honest"] * len(by_size)
    if attackers:
        if len(by_size) >= 4:
            plan[by_size[3]] = "flips labels"
        if len(by_size) >= 7:
            plan[by_size[6]] = "sends noise"
    return tuple(plan)
