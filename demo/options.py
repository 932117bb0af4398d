# SPDX-License-Identifier: Apache-2.0
"""What one can ask of a demo run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dao.errors import InputError

CONTRIBUTORS = 10
CONTRIBUTORS_DEPLOYED = 4
"""Fewer in deployment: each is a process that holds torch."""
LEAST_CONTRIBUTORS, MOST_CONTRIBUTORS = 2, 20


@dataclass(frozen=True)
class DemoOptions:
    """Options of `covalue demo`.

    Attributes:
        data, target: a CSV file and its price column; None for the loader or the generator.
        out: folder of the run; cleared if an earlier demo made it.
        seed: of the split into roles (and of the generator).
        contributors: how many, 2 to 20; None for ten in simulation, four in deployment.
        epsilon: of the whole task, at delta 1e-5.
        attackers: whether the fourth largest flips labels and the seventh sends noise.
        deployment: SuperLink, SuperNodes and vaults as processes over TLS, instead of simulation.
        noise_seed: fixed noise, for tests only; receipts say so.
        rounds: of training; None for the family's default.
    """

    data: Path | None = None
    target: str | None = None
    out: Path = Path("demo-out")
    seed: int = 0
    epsilon: float = 8.0
    family: Literal["kernel", "mlp"] = "kernel"
    contributors: int | None = None
    attackers: bool = True
    deployment: bool = False
    noise_seed: str | None = None
    rounds: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= 100:
            raise InputError(
                f"epsilon is {self.epsilon:g}, expected above 0 and at most 100",
                hint="8 is the demo's own; smaller protects more",
            )

    @property
    def contributor_count(self) -> int:
        """How many contributors play."""
        if self.contributors is not None:
            return self.contributors
        return CONTRIBUTORS_DEPLOYED if self.deployment else CONTRIBUTORS
