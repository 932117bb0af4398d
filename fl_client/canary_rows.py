# SPDX-License-Identifier: Apache-2.0
"""Where the vault's own mechanism is attacked, and with which rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from dao.errors import InputError
from dao.records import Task
from fl_client.row_copies import AnyRows, SurveyRows, spread, taken, with_copies
from privacy.canaries import Canary, worst_canary
from privacy.mechanism import clip_norm
from privacy.trade_off import Game
from rounds.contribution import contribution
from rounds.phases import RoundKind, kind_of, release_of
from rounds.state import decode_update, initial_state, theta_of, update_to_float
from valuation.encode import value_to_target
from valuation.family import Family, Prepared
from valuation.private_rows import CalibrationRows, PrivateRows
from valuation.schema import Floats

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
    row: AnyRows
    beside: PrivateRows
    game: Game

    def with_canaries(self, probe: Probe) -> PrivateRows:
        """The rows beside and the canaries; each canary unit is a new one."""
        return with_copies(self.beside, self.row, units=probe.units, rows=probe.rows)


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
        beside=dataclasses.replace(rows, training=beside, survey=None),
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
    if task.policy.calibration_noise_micro == 0 or own is None or not len(own.prepared.units):
        return None
    beside = dataclasses.replace(rows, calibration=taken(own, spread(own, BESIDE)))
    return _histogram_stage(
        task,
        family,
        kind="calibrate",
        noise_micro=task.policy.calibration_noise_micro,
        row=taken(own, spread(own, 1)),
        beside=beside,
        initial=initial,
    )


def survey_stage(task: Task, family: Family, rows: PrivateRows, *, initial: bytes) -> Stage | None:
    """How the survey is attacked: one more unit in the cell of an own training row. None where the
    task has none, or no own row trains."""
    noise_micro = task.policy.survey_noise_micro
    if noise_micro == 0 or rows.survey is None or not len(rows.survey):
        return None
    own = SurveyRows(rows.training, rows.survey)
    some = taken(own, spread(own, BESIDE))
    return _histogram_stage(
        task,
        family,
        kind="survey",
        noise_micro=noise_micro,
        row=taken(own, spread(own, 1)),
        beside=dataclasses.replace(rows, training=some.prepared, survey=some.cells),
        initial=initial,
    )


def _histogram_stage(
    task: Task,
    family: Family,
    *,
    kind: RoundKind,
    noise_micro: int,
    row: CalibrationRows | SurveyRows,
    beside: PrivateRows,
    initial: bytes,
) -> Stage:
    """The canaries point where one more unit of this row does, found without noise."""
    number, theta = _first_round(task, kind), theta_of(task, initial)
    release = release_of(task, number)

    def exact(data: PrivateRows) -> Floats:
        update = contribution(task, family, data, theta, number=number, noise=Silence())
        return update_to_float(release, decode_update(release, update))

    added = exact(with_copies(beside, row, units=1, rows=1)) - exact(beside)
    norm = float(np.linalg.norm(added))
    return Stage(
        kind=kind,
        number=number,
        theta=theta,
        sigma=noise_micro / 1e6,
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


def _first_round(task: Task, kind: RoundKind) -> int:
    return next(n for n in range(1, task.total_rounds + 1) if kind_of(task, n) == kind)


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
