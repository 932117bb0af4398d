# SPDX-License-Identifier: Apache-2.0
"""Where the vault's own mechanism is attacked, and with which rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from dao.errors import InputError
from dao.records import Task
from privacy.canaries import Canary, worst_canary
from privacy.mechanism import clip_norm
from privacy.trade_off import Game
from rounds.contribution import contribution
from rounds.phases import RoundKind, kind_of, release_of
from rounds.state import decode_update, initial_state, theta_of, update_to_float
from valuation.encode import value_to_target
from valuation.family import Family, Prepared
from valuation.private_rows import CalibrationRows, PrivateRows
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

Rows = TypeVar("Rows", Prepared, CalibrationRows)


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
    row: Prepared | CalibrationRows
    beside: PrivateRows
    game: Game

    def with_canaries(self, probe: Probe) -> PrivateRows:
        """The rows beside and the canaries; each canary unit is a new one."""
        return _with_units(self.beside, self.row, probe)


class Silence:
    """A source without noise, by which every unit is sampled: shows what the noise would hide."""

    seeded = True

    def gaussian(self, n: int) -> Floats:
        """n zeros."""
        return np.zeros(n)

    def uniform(self, n: int) -> Floats:
        """n zeros."""
        return np.zeros(n)


def training_stage(task: Task, family: Family, rows: PrivateRows, *, initial: bytes) -> Stage:
    """How the training rounds are attacked. InputError where there is no row.

    The canary is an own row of which the target is at a bound of the task, and the parameters are
    those, of a few that a hostile coordinator could send, at which its gradient is largest.
    `initial` holds the bytes of the task's first model state.
    """
    own = rows.training
    if len(own.inputs) == 0:
        raise InputError(
            "no row of the records fits the task, so there is nothing to make a canary of",
            hint="covalue contributor check FILE --task TASK tells which rows count, and why not",
        )
    canary, row = _worst_row(task, family, taken(own, spread(own, LOOKED_AT)), initial)
    sampling = task.policy.sampling
    # Local steps follow one another, so what other rows add is not the same with and without
    # canaries: there must be none.
    beside = taken(own, spread(own, BESIDE if sampling is None else 0))
    return Stage(
        kind="train",
        number=_first_round(task, "train"),
        theta=canary.theta,
        sigma=task.policy.noise_multiplier_micro / 1e6,
        unit=clip_norm(task.policy),
        direction=canary.direction,
        excess=canary.norm / clip_norm(task.policy),
        row=row,
        beside=dataclasses.replace(rows, training=beside),
        game=Game(1)
        if sampling is None
        else Game(1, rate=sampling.rate_micro / 1e6, steps=sampling.steps),
    )


def calibration_stage(
    task: Task, family: Family, rows: PrivateRows, *, initial: bytes
) -> Stage | None:
    """How the calibration is attacked: one more unit in the bins of an own calibration row, at the
    task's first model state. None where the task has none, or no own row calibrates."""
    own = rows.calibration
    if task.policy.calibration_noise_micro == 0 or own is None or not len(_units_of(own)):
        return None
    number, theta = _first_round(task, "calibrate"), theta_of(task, initial)
    release = release_of(task, number)
    beside = dataclasses.replace(rows, calibration=taken(own, spread(own, BESIDE)))
    row = taken(own, spread(own, 1))

    def exact(data: PrivateRows) -> Floats:
        update = contribution(task, family, data, theta, number=number, noise=Silence())
        return update_to_float(release, decode_update(release, update))

    added = exact(_with_units(beside, row, Probe("one unit", 1, 1))) - exact(beside)
    norm = float(np.linalg.norm(added))
    return Stage(
        kind="calibrate",
        number=number,
        theta=theta,
        sigma=task.policy.calibration_noise_micro / 1e6,
        unit=1.0,
        direction=added / norm,
        excess=norm,
        row=row,
        beside=beside,
        game=Game(1),
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


def taken(rows: Rows, places: Ints) -> Rows:
    """The rows at these places, in that order."""
    found: Rows = _mapped(lambda _, array: np.array(array[places]), rows)
    return found


def spread(rows: Prepared | CalibrationRows, count: int) -> Ints:
    """Up to `count` places of rows, evenly spread."""
    n = len(_units_of(rows))
    return np.unique(np.linspace(0, n - 1, min(n, count)).astype(np.int64))


def _first_round(task: Task, kind: RoundKind) -> int:
    return next(n for n in range(1, task.total_rounds + 1) if kind_of(task, n) == kind)


def _with_units(beside: PrivateRows, row: Prepared | CalibrationRows, probe: Probe) -> PrivateRows:
    if isinstance(row, Prepared):
        return dataclasses.replace(beside, training=_joined(beside.training, row, probe))
    assert beside.calibration is not None
    return dataclasses.replace(beside, calibration=_joined(beside.calibration, row, probe))


def _joined(beside: Rows, row: Rows, probe: Probe) -> Rows:
    """Rows, and copies of one row as units of their own."""
    present = _units_of(beside)
    first = 1 + int(present.max(initial=-1))
    units = first + np.repeat(np.arange(probe.units), probe.rows)
    copies = np.zeros(len(units), dtype=np.int64)
    found: Rows = _mapped(
        lambda name, one, other: np.concatenate([one, units if name == "units" else other[copies]]),
        beside,
        row,
    )
    return found


def _mapped(function: Callable[..., Any], *rows: Any, name: str = "") -> Any:
    """Rows of which each array is `function` of its name and of the arrays of that name."""
    first = rows[0]
    if isinstance(first, np.ndarray):
        return function(name, *rows)
    names = [field.name for field in dataclasses.fields(first)]
    parts = {
        each: _mapped(function, *(getattr(one, each) for one in rows), name=each) for each in names
    }
    return type(first)(**parts)


def _units_of(rows: Prepared | CalibrationRows) -> Ints:
    return rows.units if isinstance(rows, Prepared) else rows.prepared.units


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
