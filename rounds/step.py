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
alone (`advance`). It is exact for newton and, with the recorded v', for adam too.
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

Voices = int | Sequence[int]
"""In whose name updates are sent: places in the roster, or PUBLIC. One for float64[d], M for
float64[M, d]."""


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
        """Displacements of [d] or [M, d] one below the other."""
        momenta = [each.momentum for each in several if each.momentum is not None]
        return cls(
            phi=np.vstack([each.phi for each in several]),
            momentum=np.vstack(momenta) if momenta else None,
        )

    def part(self, rows: int | slice) -> Displacement:
        """One or some of many."""
        momentum = None if self.momentum is None else self.momentum[rows]
        return Displacement(phi=self.phi[rows], momentum=momentum)


@dataclass(frozen=True)
class Moving:
    """Displacements [M, d], the updates float64[M, d] that move them in a round (0 where one does
    not count), and in whose name each is sent."""

    displacement: Displacement
    updates: Floats
    voices: Sequence[int]


class Steps(Protocol):
    """How a task's updates move its model, by the rule that it names. `number` is that of a
    training round among all rounds of the task."""

    def step(self, state: Ints, counted: Mapping[str, Ints], *, number: int) -> Ints:
        """The next state int64[S, d] from a state int64[S, d] and the counted updates int64[d] by
        address, in steps of the round's grid.

        TaskError where the model leaves its range or the task has no such round.
        """

    def advance(
        self,
        displacement: Displacement,
        update: Floats,
        *,
        voices: Voices,
        number: int,
        state_after: Ints,
    ) -> Displacement:
        """The displacement after a round in which its owner sent `update` (0 if it counts not).

        `update` is float64 of the displacement's shape; `state_after` is the state that the real
        step led to (adam reads its v').
        """


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

    def advance(
        self,
        displacement: Displacement,
        update: Floats,
        *,
        voices: Voices,
        number: int,
        state_after: Ints,
    ) -> Displacement:
        """As `Steps.advance`; whose voice it is makes no difference."""
        task = self.task
        eta, n = eta_of(task, number), gradient_scale(task)
        if isinstance(task.optimiser, AdamOptimiser):
            assert displacement.momentum is not None
            constants = _AdamConstants.at(task.optimiser, training_round(task, number))
            momentum = constants.beta1 * displacement.momentum
            momentum = momentum + (1.0 - constants.beta1) * (update / n)
            move = eta * (momentum / constants.correction1)
            scale = constants.denominator(state_to_float(task, state_after[2]))
            return Displacement(phi=displacement.phi - move / scale, momentum=momentum)
        phi = self._moved(displacement.phi, update, eta, n)
        return Displacement(phi=phi, momentum=None)

    def _moved(self, theta: Floats, total: Floats, eta: float, n: float) -> Floats:
        gain, ridge = self.vectors["gain"], self.vectors["ridge"]
        direction = -(total / (n * gain)) - ridge * theta
        moved: Floats = theta + (eta * direction) / (1.0 + ridge)
        return moved


def advance_together(
    steps: Steps, groups: Sequence[Moving], *, number: int, state_after: Ints
) -> list[Displacement]:
    """`Steps.advance` of several groups at once: what weighs the updates of one voice is large, and
    so is read once."""
    moved = steps.advance(
        Displacement.stacked([group.displacement for group in groups]),
        np.vstack([group.updates for group in groups]),
        voices=[voice for group in groups for voice in group.voices],
        number=number,
        state_after=state_after,
    )
    ends = np.cumsum([len(group.voices) for group in groups])
    return [
        moved.part(slice(end - len(group.voices), end))
        for group, end in zip(groups, ends, strict=True)
    ]


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
