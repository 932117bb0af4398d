# SPDX-License-Identifier: Apache-2.0
"""What an attacker sees and what it may answer: the seam between a task and a strategy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import hadamard

from bench.attack_market import Floats, Market, Silence, update_of
from privacy.mechanism import Release
from privacy.noise import NoiseSource, SeededNoise
from rounds.phases import RoundKind, kind_of, release_of
from rounds.rules import steps_of
from rounds.step import Steps
from valuation.private_rows import PrivateRows


@dataclass(frozen=True)
class Part:
    """One of some accounts of one contributor. Their noise is independent and as loud as it must
    be, yet adds up to a multiple of what the contributor draws as a whole: so it is what they do,
    and not another draw, by which their pay differs from its."""

    of: str
    place: int
    parts: int


@dataclass(frozen=True)
class MixedNoise:
    """A sum of independent sources whose squared weights add up to 1."""

    sources: tuple[NoiseSource, ...]
    weights: Floats
    seeded: bool = True

    def gaussian(self, n: int) -> Floats:
        """n samples of N(0, 1)."""
        drawn = np.stack([source.gaussian(n) for source in self.sources])
        mixed: Floats = self.weights @ drawn
        return mixed


@dataclass(frozen=True)
class Seat:
    """One account of the roster, with rows or without."""

    name: str
    rows: PrivateRows | None
    part: Part | None = None

    def noise(self, market: Market, number: int) -> NoiseSource:
        """Of its own in each round, and the same in every task of a seed."""
        if self.part is None:
            return _noise(market, self.name, number)
        names = [self.part.of, *(f"{self.part.of}/{k}" for k in range(1, self.part.parts))]
        signs = hadamard(self.part.parts)[self.part.place] / np.sqrt(self.part.parts)
        return MixedNoise(tuple(_noise(market, name, number) for name in names), signs)

    @property
    def address(self) -> str:
        """Follows from the name."""
        return "0x" + hashlib.sha256(self.name.encode()).hexdigest()[:40]

    @property
    def key(self) -> bytes:
        """48 bytes."""
        return self.address.encode().ljust(48, b".")


@dataclass(frozen=True)
class View:
    """All that attackers know in a round: what was published before, and (they may have been told)
    what the honest ones send in this one.

    Attributes:
        honest: updates of this round by name, float64[length].
        earlier: counted updates of each earlier round by name, and after it by name "sum" theirs.
        kept: what strategies remember, for the whole task.
    """

    market: Market
    number: int
    theta: Floats
    seats: Mapping[str, Seat]
    attackers: tuple[str, ...]
    honest: Mapping[str, Floats]
    earlier: Sequence[Mapping[str, Floats]]
    surveys: Mapping[str, Floats]
    kept: dict[object, object]

    @property
    def kind(self) -> RoundKind:
        """Of this round."""
        return kind_of(self.market.task, self.number)

    @property
    def release(self) -> Release:
        """Of this round."""
        return release_of(self.market.task, self.number)

    @property
    def before(self) -> Floats:
        """The sum published in the training round before; nothing in the first one."""
        kind = kind_of(self.market.task, self.number - 1)
        return self.earlier[-1]["sum"] if kind == "train" else np.zeros(self.release.length)

    def steps(self) -> Steps:
        """After the surveys."""
        roster = [seat.address for seat in self.seats.values()]
        return steps_of(self.market.task, self.market.family, roster, self.surveys)

    def own(self, name: str) -> Floats:
        """An account's own sum before the noise; zeros without rows."""
        rows = self.seats[name].rows
        return np.zeros(self.release.length) if rows is None else self.sum_of(rows)

    def sum_of(self, rows: PrivateRows) -> Floats:
        """What rows would send without noise."""
        return update_of(self.market, rows, self.theta, self.number, Silence())

    def fresh(self, name: str, vector: Floats) -> Floats:
        """A vector under the noise that the task asks for."""
        noise = self.seats[name].noise(self.market, self.number)
        noisy: Floats = vector + self.release.deviation * noise.gaussian(self.release.length)
        return noisy


Send = Callable[[View, str], Floats | None]
"""What an attacker of that name sends in a round, None for nothing."""


@dataclass(frozen=True)
class Attack:
    """What all attackers of a task do in its survey and in its training rounds; a calibration they
    answer honestly."""

    survey: Send
    train: Send


def _noise(market: Market, name: str, number: int) -> SeededNoise:
    return SeededNoise(f"attacks {market.seed} {name} {number}".encode())
