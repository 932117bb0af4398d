# SPDX-License-Identifier: Apache-2.0
"""What a task would give at several settings, on the same rows: prepare, train, judge, pay."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dao.cid import blob_ref
from dao.records import ModelCard, Task
from demo.forecast import forecast_noise, judge, train_rounds
from demo.forecast_payouts import Payouts, Scoring
from demo.forecast_rows import Division, divide, hold_out
from demo.forecast_settings import Setting, remarks
from rounds.card import CardInput, SealedRows, make_card
from rounds.state import theta_of
from valuation.encode import Encoded, target_to_value
from valuation.family import Family, Prepared
from valuation.holdout import calibrates
from valuation.metrics import Metrics, r2
from valuation.schema import Ints

OnRound = Callable[[int], object]
"""Told the number of each round that was trained."""

_PROBES = 64


@dataclass(frozen=True)
class BuiltTask:
    """A task at a setting, with its public set-up; `initial` are the initial state's bytes."""

    setting: Setting
    task: Task
    family: Family
    initial: bytes


@dataclass(frozen=True)
class Outcome:
    """What a task would give at one setting.

    Attributes:
        before: on the test rows, of the public rows alone. after: of the trained model.
        card: the model card to which the test rows would lead as opened sealed rows.
        curve: R2 on the test rows before training and after each training round.
        payouts: None where nobody asked for them.
        model_sha256: of the final model state's bytes.
    """

    setting: Setting
    task: Task
    before: Metrics
    after: Metrics
    card: ModelCard
    curve: tuple[float, ...]
    payouts: Payouts | None
    trained_rows: int
    remarks: tuple[str, ...]
    model_sha256: str


class PreparedRows:
    """Rows as model families read them, prepared once for all settings where that is the same.

    The kernel family's features at one setting are the first ones of those at another that plans
    for less noise. Whether they are is tried on a few rows, to the ninth digit.
    """

    def __init__(self, rows: Encoded, *, keep: bool) -> None:
        self._rows = rows
        self._keep = keep
        self._kept: Prepared | None = None

    def of(self, family: Family, rows: Ints) -> Prepared:
        """These rows, in this order, as `family` reads them."""
        if not self._keep:
            return family.prepare(self._rows.take(rows))
        probes = np.linspace(0, len(self._rows.units) - 1, _PROBES).astype(np.int64)
        probed = family.prepare(self._rows.take(probes))
        width = probed.inputs.shape[1]
        if self._kept is None or not _agree(self._kept, probes, probed):
            self._kept = family.prepare(self._rows)
        kept = self._kept
        return Prepared(
            inputs=np.ascontiguousarray(kept.inputs[rows, :width]),
            offset=kept.offset[rows],
            residual=None if kept.residual is None else kept.residual[rows],
            units=kept.units[rows],
        )


def _agree(kept: Prepared, probes: Ints, probed: Prepared) -> bool:
    width = probed.inputs.shape[1]
    return (
        width <= kept.inputs.shape[1]
        and np.allclose(kept.inputs[probes, :width], probed.inputs, rtol=1e-9, atol=1e-12)
        and np.allclose(kept.offset[probes], probed.offset, rtol=1e-9, atol=1e-12)
    )


class Trial:
    """The rows at hand, divided once into those that train and those that test."""

    def __init__(self, rows: Encoded, *, seed: int, division: Division, settings: int) -> None:
        self._train, self._test = hold_out(rows, seed=seed)
        self._prepared = PreparedRows(self._train, keep=settings > 1)
        self._division, self._seed = division, seed

    def outcome(
        self, built: BuiltTask, *, payouts: bool, on_round: OnRound = lambda number: None
    ) -> Outcome:
        """Train a task on the rows, divided among its contributors, and judge what comes of it.

        Raises:
            InputError: fewer units than contributors.
        """
        task, family = built.task, built.family
        contributors = self._contributors(built)
        test = family.prepare(self._test)
        scoring = None
        if payouts:
            scoring = Scoring(task, family, contributors=len(contributors), judging=test)
        noise_of = forecast_noise(self._seed, task_digest=task.digest())
        state, curve = built.initial, [_r2(built, built.initial, test)]
        for each in train_rounds(task, family, built.initial, contributors, noise_of):
            state = each.model
            curve.append(_r2(built, state, test))
            if scoring is not None:
                scoring.add(each)
            on_round(each.number)
        units = np.array([len(np.unique(rows.units)) for rows in contributors], dtype=np.int64)
        return Outcome(
            setting=built.setting,
            task=task,
            before=judge(task, family, theta_of(task, built.initial), test),
            after=judge(task, family, theta_of(task, state), test),
            card=self._card(built, state, test),
            curve=tuple(curve),
            payouts=None if scoring is None else scoring.settle(units),
            trained_rows=sum(len(rows.units) for rows in contributors),
            remarks=remarks(task, built.setting, trained_units=int(units.sum())),
            model_sha256=hashlib.sha256(state).hexdigest(),
        )

    def _contributors(self, built: BuiltTask) -> list[Prepared]:
        """Each one's training rows, in file order."""
        rows = np.flatnonzero(~calibrates(built.task, self._train.unit_keys))
        count = built.setting.contributors
        owner = divide(self._train.take(rows), count, self._division, seed=self._seed)
        order = np.argsort(owner, kind="stable")
        prepared = self._prepared.of(built.family, rows[order])
        ends = np.cumsum(np.bincount(owner, minlength=count))
        return [_part(prepared, slice(a, b)) for a, b in zip([0, *ends[:-1]], ends, strict=True)]

    def _card(self, built: BuiltTask, state: bytes, test: Prepared) -> ModelCard:
        given = CardInput(
            task=built.task,
            task_digest=built.task.digest(),
            contributors=built.setting.contributors,
            family=built.family,
            model=blob_ref(state),
            state=state,
        )
        return make_card(given, sealed=SealedRows(encoded=self._test, prepared=test), rows=None)


def _part(prepared: Prepared, rows: slice) -> Prepared:
    """A view of consecutive rows."""
    return Prepared(
        inputs=prepared.inputs[rows],
        offset=prepared.offset[rows],
        residual=None if prepared.residual is None else prepared.residual[rows],
        units=prepared.units[rows],
    )


def _r2(built: BuiltTask, state: bytes, test: Prepared) -> float:
    assert test.residual is not None
    target, theta = built.task.target, theta_of(built.task, state)
    prices = target_to_value(target, test.offset + test.residual)
    return r2(prices, target_to_value(target, built.family.predict(test, theta)))
