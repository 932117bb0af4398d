# SPDX-License-Identifier: Apache-2.0
"""Where the vault's own mechanism is attacked, and with which rows."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from dao.errors import InputError
from dao.records import Task
from privacy.canaries import Canary, worst_canary
from privacy.mechanism import clip_norm
from privacy.trade_off import Game
from rounds.phases import RoundKind, kind_of
from rounds.state import initial_state, theta_of
from valuation.encode import value_to_target
from valuation.family import Family, Prepared
from valuation.schema import Floats, Ints

SEPARATION = 3.0
"""Standard deviations by which a group of canaries shifts the score: there bounds are sharpest."""
MOST_ROWS = 1024
"""Canary rows in one trial, so that it stays a matter of a millisecond."""
LOOKED_AT = 32
"""Own rows from which the worst is made."""
BESIDE = 16
"""Own rows that are in the data with and without canaries."""
LOUD_LAYER = 64.0
"""A hostile coordinator chooses the base model: one layer so much larger makes gradients large."""


@dataclass(frozen=True)
class Probe:
    """Canaries of one kind: `units` units of `rows` rows each."""

    name: str
    units: int
    rows: int


@dataclass(frozen=True)
class Stage:
    """One kind of round, and how it is attacked.

    Attributes:
        kind, number: the round.
        theta: float64[d], the parameters at which it is tried.
        sigma: its claimed noise multiplier.
        unit: how far one unit may move an update (in a step).
        direction: float64[length of an update], where the canaries point.
        excess: norm of what one canary row would add if nothing held it, in multiples of `unit`.
        row: the canary row.
        beside: rows that are there with and without canaries.
        game: with one canary.
    """

    kind: RoundKind
    number: int
    theta: Floats
    sigma: float
    unit: float
    direction: Floats
    excess: float
    row: Prepared
    beside: Prepared
    game: Game

    def with_canaries(self, probe: Probe) -> Prepared:
        """The rows beside and the canaries; each canary unit is a new one."""
        first = 1 + int(self.beside.units.max(initial=-1))
        units = first + np.repeat(np.arange(probe.units), probe.rows)
        copies = taken(self.row, np.zeros(len(units), dtype=np.int64))
        return _joined(self.beside, dataclasses.replace(copies, units=units))


def training_stage(task: Task, family: Family, rows: Prepared, *, initial: bytes) -> Stage:
    """How the training rounds are attacked. InputError where there is no row.

    The canary is an own row of which the target is at a bound of the task, and the parameters are
    those, of a few that a hostile coordinator could send, at which its gradient is largest.
    `initial` holds the bytes of the task's first model state.
    """
    if len(rows.inputs) == 0:
        raise InputError(
            "no row of the records fits the task, so there is nothing to make a canary of",
            hint="covalue contributor check TASK tells which rows count and why others do not",
        )
    canary, row = _worst_row(
        task, family, taken(rows, spread(len(rows.inputs), LOOKED_AT)), initial
    )
    sampling = task.policy.sampling
    # Local steps follow one another, so what other rows add is not the same with and without
    # canaries: there must be none.
    beside = spread(len(rows.inputs), BESIDE if sampling is None else 0)
    return Stage(
        kind="train",
        number=next(n for n in itertools.count(1) if kind_of(task, n) == "train"),
        theta=canary.theta,
        sigma=task.policy.noise_multiplier_micro / 1e6,
        unit=clip_norm(task.policy),
        direction=canary.direction,
        excess=canary.norm / clip_norm(task.policy),
        row=row,
        beside=taken(rows, beside),
        game=Game(1)
        if sampling is None
        else Game(1, rate=sampling.rate_micro / 1e6, steps=sampling.steps),
    )


def probes(task: Task, stage: Stage) -> tuple[Probe, ...]:
    """One canary alone, and groups of canaries of one row, of all rows that count, and of more."""
    many, most = stage.game.separating_units(stage.sigma, deviations=SEPARATION), task.unit.max_rows
    found = [Probe("one unit", 1, 1), Probe("units of one row", min(many, MOST_ROWS), 1)]
    for name, rows in (
        ("units of all rows that count", most),
        ("units of more rows", 2 * most + 1),
    ):
        if rows > 1:
            found.append(Probe(name, max(1, min(many, MOST_ROWS // rows)), rows))
    return tuple(found)


def taken(rows: Prepared, places: Ints) -> Prepared:
    """The rows at these places, in that order."""
    return Prepared(**{name: np.array(getattr(rows, name)[places]) for name in _ARRAYS})


def spread(n: int, count: int) -> Ints:
    """Up to `count` places of n, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).astype(np.int64))


_ARRAYS = tuple(field.name for field in dataclasses.fields(Prepared))


def _joined(first: Prepared, second: Prepared) -> Prepared:
    return Prepared(
        **{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in _ARRAYS}
    )


def _worst_row(
    task: Task, family: Family, rows: Prepared, initial: bytes
) -> tuple[Canary, Prepared]:
    bounds = np.array([task.target.lower_micro, task.target.upper_micro]) / 1e6
    low, high = value_to_target(task.target, bounds)
    canary = worst_canary(
        _bases(task, family, initial),
        rows.inputs,
        low - rows.offset,
        high - rows.offset,
        huber=task.model.huber_micro / 1e6 or None,
    )
    row = taken(rows, np.array([canary.row]))
    return canary, dataclasses.replace(row, residual=np.array([canary.residual]))


def _bases(task: Task, family: Family, initial: bytes) -> Iterator[tuple[Floats, torch.nn.Module]]:
    """The initial model, and those in which one of its parameter tensors is much larger."""
    theta = theta_of(task, initial)
    sizes = [each.numel() for each in family.module(theta).parameters()]
    ends = np.cumsum(sizes)
    for start, end in [(0, 0), *zip(ends - sizes, ends, strict=True)]:
        louder = theta.copy()
        louder[start:end] *= LOUD_LAYER
        base = theta_of(task, initial_state(task, louder))
        yield base, family.module(base)
