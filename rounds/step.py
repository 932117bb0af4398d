# SPDX-License-Identifier: Apache-2.0
"""One step of the model, and who moved it how far.

`Steps` is what every aggregation rule offers; `rounds.rules` picks a task's. Here is the rule
`sum`. Everything is elementwise float64 in the order written, so every processor gets the same
bits; the result is rounded half to even onto the model's grid. With t the training round from 1,
N = `rounds.phases.gradient_scale` (public_n in full batches), G = the sum of the counted updates
and eta = eta_micro[t-1] / 1e6:

newton   x      = -(G / (N * gain)) - ridge * theta
         theta' = theta + (eta * x) / (1 + ridge)

adam     g      = G / N
         m'     = beta1 * m + (1 - beta1) * g
         v'     = beta2 * v + (1 - beta2) * (g * g), rounded to the grid before it is used
         c1, c2 = 1 - beta1^t, 1 - beta2^t (powers by repeated multiplication)
         theta' = theta - (eta * (m' / c1)) / (sqrt(v' / c2) + stabiliser)

Both are affine in the updates once v' is held. So theta = base + the sum of one displacement per
contributor, and each displacement follows the step's linear part with the contributor's update
alone (`weigh`, then `advance`). It is exact for newton and, with the recorded v', for adam too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dao.errors import TaskError
from dao.records import AdamOptimiser, Task
from rounds.phases import gradient_scale, release_of, training_round
from rounds.state import Floats, Ints, state_from_float, state_to_float, sum_updates

Vectors = Mapping[str, Floats]
"""Of the set-up: `gain` and `ridge`, float64[d], for newton; nothing for adam."""

PUBLIC = -1
"""The voice of the public rows, whose gradient bears no noise."""


@dataclass(frozen=True)
class Displacement:
    """How far one contributor moved theta since some start: phi, and for adam its momentum.

    Both are float64[d], or float64[M, d] for M of them at once.
    """

    phi: Floats
    momentum: Floats | None

    @classmethod
    def zero(cls, task: Task, *, many: int | None = None) -> Displacement:
        """Nothing moved yet."""
        d = task.model.parameters
        shape = (d,) if many is None else (many, d)
        has_momentum = task.optimiser.kind == "adam"
        return cls(phi=np.zeros(shape), momentum=np.zeros(shape) if has_momentum else None)

    @classmethod
    def stacked(cls, several: Sequence[Displacement]) -> Displacement:
        """Displacements of [d], one below the other."""
        momenta = [each.momentum for each in several if each.momentum is not None]
        return cls(
            phi=np.stack([each.phi for each in several]),
            momentum=np.stack(momenta) if momenta else None,
        )

    def row(self, place: int) -> Displacement:
        """One of many."""
        momentum = None if self.momentum is None else self.momentum[place]
        return Displacement(phi=self.phi[place], momentum=momentum)

    def forget(self, place: int) -> None:
        """Start one of many again from 0: what it did is taken back, or belongs to everybody."""
        self.phi[place] = 0.0
        if self.momentum is not None:
            self.momentum[place] = 0.0


class Steps(Protocol):
    """How a task's updates move its model, by the rule that it names. `number` is that of a
    training round among all rounds of the task; a voice is a contributor's place in the roster, or
    PUBLIC."""

    def step(self, state: Ints, counted: Mapping[str, Ints], *, number: int) -> Ints:
        """The next state int64[S, d] from a state int64[S, d] and the counted updates int64[d] by
        address, in steps of the round's grid.

        TaskError where the model leaves its range or the task has no such round.
        """

    def sizes(self) -> Mapping[str, float] | None:
        """Units that each contributor may have, by address; None where nobody tells."""

    def hear(self, counted: Mapping[str, Ints]) -> Mapping[str, Ints]:
        """A round's counted updates int64[d] by address as `step`, `weigh` and `advance` take
        them."""

    def weigh(self, updates: Floats, voices: Sequence[int]) -> Floats:
        """Updates float64[M, d] as the step hears them, each by its voice: with the weight, which
        is symmetric, of whoever sends it. Weights may be large: many at once cost little more than
        one."""

    def alike(self, contributors: int) -> Sequence[int]:
        """For each place in the roster, the first place that is weighed as it is."""

    def advance(
        self, displacement: Displacement, weighed: Floats, *, number: int, state_after: Ints
    ) -> Displacement:
        """The displacements [M, d] after a round in which their owners sent what `weigh` made
        `weighed`, float64[M, d] (0 if it counts not); `state_after` is the state that the real step
        led to (adam reads its v')."""

    def back(self, covectors: Floats, *, number: int) -> tuple[Floats, Floats]:
        """The transpose of `advance`, of rules without momentum: covectors float64[M, d] of the
        displacement after a round make those of the displacement before it, and those of what was
        weighed in it."""


@dataclass(frozen=True)
class SumSteps:
    """The rule `sum`: updates are added up, and weigh the same whoever sent them."""

    task: Task
    vectors: Vectors

    def __post_init__(self) -> None:
        """TaskError where the set-up's vectors or the constants do not fit the optimiser."""
        if isinstance(self.task.optimiser, AdamOptimiser):
            if max(self.task.optimiser.beta1_micro, self.task.optimiser.beta2_micro) >= 10**6:
                raise TaskError("Adam's beta1 and beta2 must be below 1")
            return
        for name in ("gain", "ridge"):
            shape = self.vectors[name].shape if name in self.vectors else None
            if shape != (self.task.model.parameters,):
                raise TaskError(
                    f"set-up: {name} has shape {shape}, expected ({self.task.model.parameters},)"
                )

    def step(self, state: Ints, counted: Mapping[str, Ints], *, number: int) -> Ints:
        """As `Steps.step`."""
        task, release = self.task, release_of(self.task, number)
        exact = sum_updates(list(counted.values()), length=release.length)
        total = np.ldexp(exact, -release.grid_bits)
        theta, *moments = state_to_float(task, state)
        eta, n = eta_of(task, number), gradient_scale(task)
        if isinstance(task.optimiser, AdamOptimiser):
            constants = _AdamConstants.at(task.optimiser, training_round(task, number))
            gradient = total / n
            momentum = constants.beta1 * moments[0] + (1.0 - constants.beta1) * gradient
            square = constants.beta2 * moments[1] + (1.0 - constants.beta2) * (gradient * gradient)
            recorded = state_from_float(task, square)
            move = eta * (momentum / constants.correction1)
            theta = theta - move / constants.denominator(state_to_float(task, recorded))
            return np.stack(
                [state_from_float(task, theta), state_from_float(task, momentum), recorded]
            )
        return state_from_float(task, self._moved(theta, total, eta, n))[None, :]

    def sizes(self) -> None:
        """As `Steps.sizes`: nobody tells."""

    def hear(self, counted: Mapping[str, Ints]) -> Mapping[str, Ints]:
        """As `Steps.hear`: each as it is."""
        return counted

    def weigh(self, updates: Floats, voices: Sequence[int]) -> Floats:
        """As `Steps.weigh`; whose voice it is makes no difference."""
        return updates

    def alike(self, contributors: int) -> Sequence[int]:
        """As `Steps.alike`: everybody is."""
        return (0,) * contributors

    def advance(
        self, displacement: Displacement, weighed: Floats, *, number: int, state_after: Ints
    ) -> Displacement:
        """As `Steps.advance`."""
        task = self.task
        eta, n = eta_of(task, number), gradient_scale(task)
        if isinstance(task.optimiser, AdamOptimiser):
            assert displacement.momentum is not None
            constants = _AdamConstants.at(task.optimiser, training_round(task, number))
            momentum = constants.beta1 * displacement.momentum
            momentum = momentum + (1.0 - constants.beta1) * (weighed / n)
            move = eta * (momentum / constants.correction1)
            scale = constants.denominator(state_to_float(task, state_after[2]))
            return Displacement(phi=displacement.phi - move / scale, momentum=momentum)
        phi = self._moved(displacement.phi, weighed, eta, n)
        return Displacement(phi=phi, momentum=None)

    def back(self, covectors: Floats, *, number: int) -> tuple[Floats, Floats]:
        """As `Steps.back`."""
        assert self.task.optimiser.kind == "newton"
        gain, ridge = self.vectors["gain"], self.vectors["ridge"]
        moved = eta_of(self.task, number) * covectors / (1.0 + ridge)
        return covectors - ridge * moved, -moved / (gradient_scale(self.task) * gain)

    def _moved(self, theta: Floats, total: Floats, eta: float, n: float) -> Floats:
        gain, ridge = self.vectors["gain"], self.vectors["ridge"]
        direction = -(total / (n * gain)) - ridge * theta
        moved: Floats = theta + (eta * direction) / (1.0 + ridge)
        return moved


def take_back(task: Task, state: Ints, displacement: Displacement) -> Ints:
    """The state without what one contributor did to it.

    newton: theta less its displacement, which is the model had it never sent anything. adam: m less
    its momentum; theta stays, since the others' later updates have met what it did, and taking only
    the one side back throws the model further off (measured, see docs/spec/rounds.md). v stays.
    """
    vectors = state_to_float(task, state)
    changed = state.copy()
    if displacement.momentum is None:
        changed[0] = state_from_float(task, vectors[0] - displacement.phi)
    else:
        changed[1] = state_from_float(task, vectors[1] - displacement.momentum)
    return changed


@dataclass(frozen=True)
class _AdamConstants:
    beta1: float
    beta2: float
    correction1: float
    correction2: float
    stabiliser: float

    @classmethod
    def at(cls, optimiser: AdamOptimiser, round_number: int) -> _AdamConstants:
        beta1, beta2 = optimiser.beta1_micro / 1e6, optimiser.beta2_micro / 1e6
        power1 = power2 = 1.0
        for _ in range(round_number):
            power1, power2 = power1 * beta1, power2 * beta2
        return cls(
            beta1=beta1,
            beta2=beta2,
            correction1=1.0 - power1,
            correction2=1.0 - power2,
            stabiliser=optimiser.stabiliser_nano / 1e9,
        )

    def denominator(self, square: Floats) -> Floats:
        root: Floats = np.sqrt(square / self.correction2) + self.stabiliser
        return root


def eta_of(task: Task, number: int) -> float:
    """Step size of round `number`. TaskError where the task has no such training round."""
    etas, training = task.optimiser.eta_micro, training_round(task, number)
    if not 1 <= training <= min(task.policy.rounds, len(etas)):
        raise TaskError(
            f"round {number}: the task has {task.policy.rounds} rounds and {len(etas)} step sizes"
        )
    return etas[training - 1] / 1e6
