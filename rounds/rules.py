# SPDX-License-Identifier: Apache-2.0
"""The aggregation rule that a task names, ready for its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dao.errors import TaskError
from dao.records import Task
from privacy.mechanism import clip_norm, noise_deviation
from rounds.landscape import Landscape
from rounds.mixing import mixing_weights
from rounds.phases import release_of
from rounds.state import Floats, Ints, state_from_float, state_to_float, update_to_float
from rounds.step import Displacement, Steps, SumSteps, eta_of
from rounds.wiener import WienerRule, wiener_rule
from valuation.family import Family
from valuation.kernel import KernelFamily

Surveys = Mapping[str, Floats]
"""Counts of each contributor's survey that was counted, float64[cells], by address."""


def steps_of(task: Task, family: Family, roster: Sequence[str], surveys: Surveys) -> Steps:
    """The steps of a task.

    Args:
        roster: addresses in the order that the chain froze.
        surveys: of the task's first round; who is missing told nothing. Read for the rule
            `wiener` alone.

    Raises:
        TaskError, RecordError: the set-up does not fit the task.
    """
    if task.aggregation.rule == "sum":
        return SumSteps(task, family.optimiser_vectors())
    if task.aggregation.rule == "nnm-trimmed-mean":
        return MixedSteps(task, family.optimiser_vectors())
    histograms = _stacked(task, roster, surveys)
    return WienerSteps(task, tuple(roster), _LATEST.rule(task, family, histograms))


def noise_voices(task: Task, contributors: int) -> tuple[int, ...]:
    """In whose name each simulated noise player is judged: every contributor gets as many as the
    next, so that the loudest weight is among those that noise is measured at."""
    return tuple(player % contributors for player in range(task.aggregation.noise_players))


@dataclass(frozen=True)
class MixedSteps(SumSteps):
    """The rule `nnm-trimmed-mean`: as `sum`, of what `rounds.mixing` leaves of each update.

    The sum is K times the trimmed mean of the mixed updates, up to the rounding onto their grid,
    and each contributor's part of it is its own: what its neighbours made of it stays in the round.
    """

    def hear(self, counted: Mapping[str, Ints]) -> Mapping[str, Ints]:
        """As `Steps.hear`: all of a round's updates, since they decide about one another. Where few
        count, fewer than half of them are tolerated."""
        if not counted:
            return {}
        tolerated = min(self.task.aggregation.tolerated, (len(counted) - 1) // 2)
        sent = np.stack(list(counted.values())).astype(np.float64)
        heard = np.rint(mixing_weights(sent, tolerated=tolerated) * sent).astype(np.int64)
        return dict(zip(counted, heard, strict=True))


@dataclass(frozen=True)
class WienerSteps:
    """The rule `wiener`: theta' = theta + eta * direction (`rounds.wiener`), then the grid."""

    task: Task
    roster: tuple[str, ...]
    rule: WienerRule

    def step(self, state: Ints, counted: Mapping[str, Ints], *, number: int) -> Ints:
        """As `Steps.step`."""
        release = release_of(self.task, number)
        voices = [place for place, address in enumerate(self.roster) if address in counted]
        updates = np.zeros((len(voices), self.task.model.parameters))
        for row, place in enumerate(voices):
            updates[row] = update_to_float(release, counted[self.roster[place]])
        weighed = np.sum(self.weigh(updates, voices), axis=0)
        theta = state_to_float(self.task, state[0])
        theta = theta + eta_of(self.task, number) * self.rule.direction(theta, weighed)
        return state_from_float(self.task, theta)[None, :]

    def sizes(self) -> Mapping[str, float]:
        """As `Steps.sizes`."""
        return dict(zip(self.roster, self.rule.sizes.tolist(), strict=True))

    def hear(self, counted: Mapping[str, Ints]) -> Mapping[str, Ints]:
        """As `Steps.hear`: each as it is."""
        return counted

    def weigh(self, updates: Floats, voices: Sequence[int]) -> Floats:
        """As `Steps.weigh`."""
        return self.rule.weigh(updates, voices)

    def alike(self, contributors: int) -> Sequence[int]:
        """As `Steps.alike`."""
        first: dict[int, int] = {}
        weights = self.rule.weights[:contributors]
        return [first.setdefault(id(weight), place) for place, weight in enumerate(weights)]

    def advance(
        self, displacement: Displacement, weighed: Floats, *, number: int, state_after: Ints
    ) -> Displacement:
        """As `Steps.advance`."""
        direction = self.rule.direction(displacement.phi, weighed)
        phi = displacement.phi + eta_of(self.task, number) * direction
        return Displacement(phi=phi, momentum=None)

    def back(self, covectors: Floats, *, number: int) -> tuple[Floats, Floats]:
        """As `Steps.back`."""
        solved = eta_of(self.task, number) * self.rule.solve(covectors)
        return covectors - self.rule.precision * solved, -solved


def landscape_of(task: Task, family: Family) -> Landscape:
    """What a task and its set-up say in public.

    Raises:
        TaskError: the rule does not fit the task. RecordError: the set-up has no survey.
    """
    policy = task.policy
    if (
        not isinstance(family, KernelFamily)
        or policy.sampling is not None
        or policy.survey_noise_micro == 0
    ):
        raise TaskError(
            "the rule 'wiener' takes the family 'kernel', full-batch rounds and a survey",
            hint="Leave out privacy.sampling, or use rule = 'sum'.",
        )
    features, cells = family.survey_rows()
    assert family.survey is not None  # survey_rows has refused it
    return Landscape(
        # A unit of m rows moves a sum as one row sqrt(m) times as long would.
        features=features * math.sqrt(family.survey.rows_per_unit),
        cells=cells,
        cell_count=family.survey_cells,
        prior=family.survey.prior,
        spread=family.survey.spread,
        clip_norm=clip_norm(policy),
        deviation=noise_deviation(policy) / math.sqrt(policy.rounds),
        survey_deviation=policy.survey_noise_micro / 1e6,
        units=policy.public_n,
        public=np.bincount(family.public_cells(), minlength=family.survey_cells).astype(np.float64),
    )


def _stacked(task: Task, roster: Sequence[str], surveys: Surveys) -> Floats:
    """float64[K, cells]; zeros for whoever told nothing."""
    nothing = np.zeros(task.aggregation.survey_cells)
    return np.stack([surveys.get(address, nothing) for address in roster])


class _Latest:
    """The last rule that was worked out: it takes seconds, serves every round of a task, and
    follows from public bytes alone."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[str, bytes], WienerRule] | None = None

    def rule(self, task: Task, family: Family, histograms: Floats) -> WienerRule:
        key, kept = (task.digest(), histograms.tobytes()), self._kept
        if kept is not None and kept[0] == key:
            return kept[1]
        self._kept = None  # its matrices go before the next ones come
        found = wiener_rule(landscape_of(task, family), histograms)
        self._kept = (key, found)
        return found


_LATEST = _Latest()
