# SPDX-License-Identifier: Apache-2.0
"""Attacks by contributors: what they do to the model, what they earn, and what it costs the others.

    COVALUE_DATA=FOLDER python -m bench.attacks [--only "sign flip" ...] [--seeds 0 1 2]

California, a drafted task at epsilon 8, ten contributors by geography (`bench.attack_world`), of
whom 1 is the largest. In a setting `poison` the 4th and the 7th attack, and the eight others are
compared with a task of those eight alone; an `account` without rows of its own joins ten honest
ones; `member`, `split` and `cartel` are honest contributors who try to earn more than by being
honest, all against a task of ten honest ones. Every case is a whole task.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.attack_cases import CASES, Case, Setting, honest_seats, seats_of
from bench.attack_market import market
from bench.attack_world import Outcome, play

Row = dict[str, Any]
R2_BAR, PAY_BAR, FRESH_BAR, SPLIT_BAR, CARTEL_BAR, STAKE_AIM = 0.98, 0.95, 0.1, 1.01, 1.02, 1.1


@dataclass(frozen=True)
class Found:
    """A case on one seed, beside the task of honest ones that it is held against."""

    case: Case
    seed: int
    outcome: Outcome
    honest: Outcome
    seconds: float

    @property
    def r2(self) -> float:
        """R2, as a part of what it is without the attack."""
        return self.outcome.r2 / self.honest.r2

    @property
    def income(self) -> float:
        """What the attackers, or the parts of a split, are paid, of the budget."""
        names = set(self.outcome.shares) - set(self._others)
        return float(sum(self.outcome.shares[name] for name in names))

    @property
    def fair(self) -> float:
        """What they are paid when they are honest."""
        return float(sum(self.honest.shares.get(name, 0.0) for name in self.case.names))

    @property
    def pay(self) -> float:
        """What the honest ones are paid together, as a part of what it is among themselves."""
        among = sum(self.honest.shares[name] for name in self._others)
        return float(sum(self.outcome.shares[name] for name in self._others) / among)

    @property
    def least_pay(self) -> float:
        """The same of the honest one who loses most, of those with a twentieth or more."""
        return min(
            self.outcome.shares[name] / self.honest.shares[name]
            for name in self._others
            if self.honest.shares[name] >= 0.05
        )

    @property
    def median_parts(self) -> float:
        """The attackers' pay, in median pays of an honest one."""
        return self.income / max(self.median_share, 1e-9)

    @property
    def median_share(self) -> float:
        """What the median honest one is paid, of the budget."""
        return float(np.median([self.outcome.shares[name] for name in self._others]))

    @property
    def gain(self) -> float:
        """What they are paid, as a part of what it is when they are honest."""
        return self.income / self.fair

    @property
    def _others(self) -> list[str]:
        return [name for name in self.honest.shares if name not in self.case.names]


def measure(cases: Sequence[Case], seeds: Sequence[int]) -> list[Found]:
    """Every case on every seed; each is told as soon as it is known."""
    found = []
    for seed in seeds:
        world = market(seed)
        honest: dict[tuple[str, ...], Outcome] = {}
        for case in cases:
            absent = case.names if case.setting == "poison" else ()
            if absent not in honest:
                honest[absent] = play(world, honest_seats(world, without=absent), None)
            began = time.process_time()
            attacking = () if case.setting == "split" or case.rows_twice else case.names
            outcome = play(world, seats_of(case, world), case.attack, *attacking)
            seconds = time.process_time() - began
            each = Found(case, seed, outcome, honest[absent], seconds)
            print(json.dumps(told(each)), file=sys.stderr, flush=True)
            found.append(each)
    return found


def rows(seeds: Sequence[int] = (0, 1, 2), cases: Sequence[Case] = CASES) -> list[Row]:
    """Every case against its bars."""
    return rows_of(measure(cases, seeds))


def rows_of(found: Sequence[Found]) -> list[Row]:
    """What was measured, against the bars of each setting."""
    table: list[Row] = []
    for case in dict.fromkeys(each.case for each in found):
        seeds = [each for each in found if each.case == case]
        for held in HELD[case.setting]:
            table.append(held.row(case, seeds))
    return table


@dataclass(frozen=True)
class Held:
    """A number that is held against a bar, None stating it: at most where `most`, else at least.
    The worst seed counts, or the `mean` of all where noise of one's own decides more than what
    one does."""

    what: str
    value: Callable[[Found], float]
    ours: Callable[[Found], float]
    peer: Callable[[Found], float]
    unit: str
    bar: float | None
    most: bool
    mean: bool = False

    def row(self, case: Case, seeds: Sequence[Found]) -> Row:
        """Of all seeds of a case."""
        worst = (max if self.most else min)(seeds, key=self.value)
        counted = seeds if self.mean else [worst]
        value = _mean(self.value, counted)
        sign = "<=" if self.most else ">="
        holds = self.bar is None or (value <= self.bar if self.most else value >= self.bar)
        return {
            "name": f"{case.name}: {self.what}",
            "ours": _mean(self.ours, counted),
            "peer": _mean(self.peer, counted),
            "value": value,
            "unit": self.unit,
            "bar": "stated" if self.bar is None else f"{sign} {self.bar:g}",
            "holds": holds,
        }


def _mean(number: Callable[[Found], float], of: Sequence[Found]) -> float:
    return float(np.mean([number(each) for each in of]))


def _income(bar: float | None) -> Held:
    return Held(
        "income",
        lambda found: found.income,
        lambda found: found.income,
        lambda found: found.fair,
        "of the budget",
        bar,
        most=True,
    )


def _gain(what: str, bar: float) -> Held:
    return Held(
        what,
        lambda found: found.gain,
        lambda found: found.income,
        lambda found: found.fair,
        "of honest pay",
        bar,
        most=True,
        mean=True,
    )


_R2 = Held(
    "R2 against the honest alone",
    lambda found: found.r2,
    lambda found: found.outcome.r2,
    lambda found: found.honest.r2,
    "of R2",
    R2_BAR,
    most=False,
)
_PAY = Held(
    "pay of the honest together",
    lambda found: found.pay,
    lambda found: found.pay,
    lambda found: 1.0,
    "of that among themselves",
    PAY_BAR,
    most=False,
)
_LEAST_PAY = Held(
    "pay of the honest one who loses most",
    lambda found: found.least_pay,
    lambda found: found.least_pay,
    lambda found: 1.0,
    "of that among themselves",
    None,
    most=False,
)
_FRESH = Held(
    "income in median honest shares",
    lambda found: found.median_parts,
    lambda found: found.income,
    lambda found: found.median_share,
    "medians",
    FRESH_BAR,
    most=True,
)
HELD: dict[Setting, tuple[Held, ...]] = {
    "poison": (_R2, _income(0.0), _PAY, _LEAST_PAY),
    "free": (_income(0.0), _PAY, _LEAST_PAY),
    "fresh": (_FRESH, _PAY, _LEAST_PAY),
    "lone": (_R2, _income(0.0), _PAY, _LEAST_PAY),
    "member": (_gain("gain per stake", STAKE_AIM), _LEAST_PAY),
    "split": (_gain("pay of the parts", SPLIT_BAR),),
    "cartel": (_gain("gain", CARTEL_BAR), _LEAST_PAY),
}
"""What is held against which bar, by setting."""


def told(found: Found) -> dict[str, Any]:
    """One case on one seed, for people."""
    outcome = found.outcome
    return {
        "case": found.case.name,
        "seed": found.seed,
        "r2": round(outcome.r2, 4),
        "r2_part": round(found.r2, 4),
        "income": round(found.income, 4),
        "gain": round(found.gain, 3) if found.fair > 0 else None,
        "median_parts": round(found.median_parts, 3),
        "pay": round(found.pay, 3),
        "least_pay": round(found.least_pay, 3),
        "judged": outcome.judged,
        "excluded": outcome.excluded,
        "shares": {name: round(share, 4) for name, share in outcome.shares.items()},
        "seconds": round(found.seconds, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    names = [case.name for case in CASES]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    cases = [case for case in CASES if not given.only or case.name in given.only]
    found = rows(given.seeds, cases)
    for row in found:
        print(json.dumps(row))
    return int(not all(row["holds"] for row in found))


if __name__ == "__main__":
    sys.exit(main())
