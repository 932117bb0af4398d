# SPDX-License-Identifier: Apache-2.0
"""The attacks that are measured: who sits where, and what the attackers send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.attack_market import CONTRIBUTORS, Market, rows_at
from bench.attack_strategies import (
    blurred_copy,
    claim,
    claim_rivals,
    copy,
    first_sum,
    flipped_labels,
    inner_product,
    little_is_enough,
    mimic,
    mixed_copy,
    noise,
    nothing,
    old_copy,
    old_sum,
    public_gradient,
    times,
    times_at_first,
    unseen,
)
from bench.attack_view import Attack, Part, Seat, Send
from valuation.private_rows import PrivateRows

HONEST = times(1.0)
Setting = Literal["poison", "free", "fresh", "lone", "member", "split", "cartel"]
"""What is held against which bar: see `bench.attacks`."""

POISONERS = ("4", "7")
CARTEL = ("3", "5", "7")
ACCOUNT = "x"


@dataclass(frozen=True)
class Case:
    """One attack. `names` attack; of a split, `parts` say into how many accounts the one is."""

    name: str
    setting: Setting
    names: tuple[str, ...]
    survey: Send = HONEST
    train: Send = HONEST
    parts: int = 1
    rows_twice: bool = False
    first: bool = False

    @property
    def attack(self) -> Attack:
        """What the attackers send."""
        return Attack(survey=self.survey, train=self.train)


def seats_of(case: Case, market: Market) -> list[Seat]:
    """The roster of a case, largest contributor first."""
    seats = honest_seats(market)
    if case.setting in ("free", "fresh", "lone"):
        account = [Seat(ACCOUNT, None)]
        return account + seats if case.first else seats + account
    if case.setting == "split":
        place = int(case.names[0]) - 1
        parts = _parts(seats[place].rows, case.parts, market.seed)
        name = seats[place].name
        split = [
            Seat(f"{name}.{k}", rows, Part(name, k, case.parts)) for k, rows in enumerate(parts)
        ]
        return seats[:place] + split + seats[place + 1 :]
    if case.rows_twice:
        return [
            Seat(seat.name, _twice(seat.rows)) if seat.name in case.names else seat
            for seat in seats
        ]
    return seats


def honest_seats(market: Market, *, without: tuple[str, ...] = ()) -> list[Seat]:
    """Ten contributors, or those of them who do not attack."""
    seats = [Seat(str(k + 1), market.rows[k]) for k in range(CONTRIBUTORS)]
    return [seat for seat in seats if seat.name not in without]


def _parts(rows: PrivateRows | None, parts: int, seed: int) -> list[PrivateRows]:
    """Rows divided at random into parts of equal size; every row of California is a unit."""
    assert rows is not None
    assert rows.calibration is not None
    random = np.random.default_rng(seed)
    training = np.array_split(random.permutation(len(rows.training.units)), parts)
    kept = len(rows.calibration.prepared.units)
    calibration = np.array_split(random.permutation(kept), parts)
    return [rows_at(rows, *each) for each in zip(training, calibration, strict=True)]


def _twice(rows: PrivateRows | None) -> PrivateRows:
    """Every row under a second unit."""
    assert rows is not None
    assert rows.calibration is not None
    training = np.tile(np.arange(len(rows.training.units)), 2)
    return rows_at(rows, training, np.tile(np.arange(len(rows.calibration.prepared.units)), 2))


def _poison(name: str, train: Send, survey: Send = HONEST) -> Case:
    return Case(name, "poison", POISONERS, survey, train)


def _account(
    name: str,
    setting: Setting,
    train: Send,
    survey: Send = nothing,
    *,
    first: bool = False,
) -> Case:
    return Case(name, setting, (ACCOUNT,), survey, train, first=first)


def _bound(length: float, *signs: float, steepest: bool = False) -> Send:
    return unseen(length, of_bound=True, signs=signs or (1.0, -1.0), steepest=steepest)


def _median(length: float, *signs: float) -> Send:
    return unseen(length, of_bound=False, signs=signs or (1.0, -1.0))


CASES = (
    _poison("label flip", flipped_labels),
    _poison("label flip, claims a fifth of all units each", flipped_labels, claim(0.25)),
    _poison("sign flip", times(-1.0)),
    _poison("sign flip, claims a fifth of all units each", times(-1.0), claim(0.25)),
    _poison("scaled by 10", times(10.0)),
    _poison("scaled by -10", times(-10.0)),
    _poison("ALIE, z = 1.5", little_is_enough(1.5)),
    _poison("ALIE, z = 1.5, claims a fifth of all units each", little_is_enough(1.5), claim(0.25)),
    _poison("IPM, epsilon = .5", inner_product(0.5)),
    _poison("IPM, epsilon = 8", inner_product(8.0)),
    _poison("mimic", mimic),
    _poison("pair +v -v, 95 % of the norm bound", _bound(0.95), nothing),
    _poison("pair +v -v, 5 % of the norm bound", _bound(0.05), nothing),
    _poison("pair +v -v, a median update long", _median(1.0), nothing),
    _poison("both +v, steepest, the norm bound", _bound(1.0, 1.0, 1.0, steepest=True), nothing),
    _account("noise", "free", noise, noise),
    _account("noise, no survey", "free", noise),
    _account("noise, claims a tenth", "free", noise, claim(0.1)),
    _account("copy of the largest", "free", copy("1"), copy("1")),
    _account("copy of the largest, earlier in the roster", "free", copy("1"), first=True),
    _account("copy of the largest, halved", "free", copy("1", 0.5)),
    _account("copy of the largest, a third of the noise", "free", blurred_copy("1", 1 / 3)),
    _account("copy of the round before", "free", old_copy("1")),
    _account("copies of the round before, mixed", "free", mixed_copy("1", "2", "3")),
    _account("mimic, fresh noise", "fresh", mimic),
    _account("public gradient", "fresh", public_gradient(1.0)),
    _account("public gradient x 5", "fresh", public_gradient(5.0)),
    _account("public gradient, claims a tenth", "fresh", public_gradient(1.0), claim(0.1)),
    _account("sum of the round before", "fresh", old_sum(1.0)),
    _account("sum of the round before x .3", "fresh", old_sum(0.3)),
    _account("sum of the round before x .3, claims a tenth", "fresh", old_sum(0.3), claim(0.1)),
    _account("sum of the first round x .3", "fresh", first_sum(0.3)),
    _account("sum of the first round x .1", "fresh", first_sum(0.1)),
    _account("lone +v, the norm bound", "lone", _bound(1.0)),
    _account("lone +v, 5 % of the norm bound", "lone", _bound(0.05)),
    _account("lone +v, a median update long", "lone", _median(1.0)),
    _account("lone -v, a median update long", "lone", _median(1.0, -1.0)),
    _account("lone +v, steepest, the norm bound", "lone", _bound(1.0, steepest=True)),
    Case("4th x 2", "member", ("4",), HONEST, times(2.0)),
    Case("4th x 5", "member", ("4",), HONEST, times(5.0)),
    Case("4th x 2, survey too", "member", ("4",), times(2.0), times(2.0)),
    Case("4th x 5, survey too", "member", ("4",), times(5.0), times(5.0)),
    Case("7th x 2", "member", ("7",), HONEST, times(2.0)),
    Case("7th x 5, survey too", "member", ("7",), times(5.0), times(5.0)),
    Case("4th x 2 in 3 rounds", "member", ("4",), HONEST, times_at_first(2.0, 3)),
    Case("rows of the 4th twice", "member", ("4",), rows_twice=True),
    Case("4th in 2", "split", ("4",), parts=2),
    Case("4th in 4", "split", ("4",), parts=4),
    Case("largest in 2", "split", ("1",), parts=2),
    Case("largest in 4", "split", ("1",), parts=4),
    Case("cartel x 2, survey too", "cartel", CARTEL, times(2.0), times(2.0)),
    Case("cartel x 5, survey too", "cartel", CARTEL, times(5.0), times(5.0)),
    Case("cartel claims rivals' units", "cartel", CARTEL, claim_rivals(0.3), HONEST),
)
