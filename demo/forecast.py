# SPDX-License-Identifier: Apache-2.0
"""A task's training in one process: the same updates, sums and steps as the federation's.

Only keys, chain and network are absent. With the accounts, rows and noise seed of a federation in
which nobody is excluded, every model comes out with the bytes that the federation recorded; but a
matrix product over rows that were prepared together may differ in its last bits from one over
each contributor's own, and the grid hides that for all but about one run in a billion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dao.records import NormClip, Task
from privacy.engine import Engine
from privacy.noise import NoiseSource
from rounds.contribution import contribution, seeded_noise, training_update
from rounds.estimate import estimates
from rounds.norm_clips import clipped_updates, norm_clips
from rounds.phases import kind_of, release_of
from rounds.rules import steps_of
from rounds.state import (
    decode_state,
    decode_update,
    encode_state,
    state_to_float,
    theta_of,
    update_to_float,
)
from rounds.step import Steps
from valuation.encode import target_to_value
from valuation.family import Family, Prepared
from valuation.metrics import Metrics, measure
from valuation.private_rows import PrivateRows
from valuation.regressivity import UNSTRETCHED, Stretch

Floats = NDArray[np.float64]

NoiseOf = Callable[[int, int], NoiseSource]
"""A contributor's place and a round's number to the noise of its update."""

_ANY_TASK = "forecast"


@dataclass(frozen=True)
class TrainedRound:
    """One training round: its number among all rounds, the updates in the contributors' order, and
    what was kept of whose, and the bytes of the model state before and after."""

    number: int
    base: bytes
    updates: tuple[bytes, ...]
    norm_clips: tuple[NormClip, ...]
    model: bytes


def surveyed_steps(
    task: Task, family: Family, contributors: Sequence[PrivateRows], noise_of: NoiseOf
) -> Steps:
    """How the task's updates move its model: by its rule, after a survey where it asks for one.
    The contributors go by made-up accounts (`made_up_account`)."""
    roster = [made_up_account(place) for place in range(len(contributors))]
    surveys = {}
    if kind_of(task, 1) == "survey":
        release, nothing = release_of(task, 1), np.zeros(task.model.parameters)
        for place, rows in enumerate(contributors):
            sent = contribution(task, family, rows, nothing, number=1, noise=noise_of(place, 1))
            surveys[roster[place]] = update_to_float(release, decode_update(release, sent))
    return steps_of(task, family, roster, surveys)


def train_rounds(
    task: Task,
    family: Family,
    initial: bytes,
    contributors: Sequence[PrivateRows],
    noise_of: NoiseOf,
    *,
    steps: Steps,
) -> Iterator[TrainedRound]:
    """All training rounds of a task, everyone honest, on each contributor's rows.

    Args:
        initial: bytes of the initial model state.
        steps: of `surveyed_steps`.
    """
    model = initial
    inputs = contributors[0].training.inputs
    engine = Engine(family.module(theta_of(task, initial)), inputs.shape[1])
    for number in (n for n in range(1, task.total_rounds + 1) if kind_of(task, n) == "train"):
        base, release = model, release_of(task, number)
        state = decode_state(task, base)
        theta = state_to_float(task, state[0])
        updates = tuple(
            training_update(
                task,
                family,
                rows.training,
                theta,
                number=number,
                noise=noise_of(place, number),
                engine=engine,
            )
            for place, rows in enumerate(contributors)
        )
        counted = {
            made_up_account(place): decode_update(release, update)
            for place, update in enumerate(updates)
        }
        clips = norm_clips(task, number, counted, steps.sizes())
        heard = steps.hear(clipped_updates(counted, clips))
        model = encode_state(steps.step(state, heard, number=number))
        yield TrainedRound(number, base, updates, clips, model)


def forecast_noise(seed: int | str, *, accounts: Sequence[str] = (), task_digest: str) -> NoiseOf:
    """The noise of vaults with `noise_seed` = `seed` (a number stands for its digits).

    Without accounts it is the same in every task: settings that are compared on one seed then meet
    the same draws, and differ by what was set.
    """
    key = str(seed).encode()
    place_of = task_digest if accounts else _ANY_TASK

    def noise_of(place: int, number: int) -> NoiseSource:
        account = accounts[place] if accounts else made_up_account(place)
        return seeded_noise(key, account=account, task_digest=place_of, number=number)

    return noise_of


def made_up_account(place: int) -> str:
    """An address for a contributor that nobody knows yet: 0x and 40 hex digits, place + 1."""
    return f"0x{place + 1:040x}"


def train_in_process(
    task: Task,
    family: Family,
    initial: bytes,
    contributors: Sequence[PrivateRows],
    *,
    seed: int | str,
    accounts: Sequence[str] = (),
    on_round: Callable[[int, Floats], None] | None = None,
) -> Floats:
    """Train to the end; returns theta, float64[d].

    Args:
        initial: bytes of the initial model state.
        contributors: each one's rows.
        seed, accounts: of the noise (see `forecast_noise`), which is not private: it can be drawn
            again by whoever knows them.
        on_round: told the round's number and theta after it.
    """
    noise_of = forecast_noise(seed, accounts=accounts, task_digest=task.digest())
    theta = theta_of(task, initial)
    steps = surveyed_steps(task, family, contributors, noise_of)
    for each in train_rounds(task, family, initial, contributors, noise_of, steps=steps):
        theta = theta_of(task, each.model)
        if on_round is not None:
            on_round(each.number, theta)
    return theta


def judge(
    task: Task, family: Family, theta: Floats, test: Prepared, *, stretch: Stretch = UNSTRETCHED
) -> Metrics:
    """Metrics in price units on prepared rows with residual; of plain predictions, or of the
    estimates that a stretch releases (`rounds.estimate`)."""
    assert test.residual is not None
    prices = target_to_value(task.target, test.offset + test.residual)
    return measure(prices, target_to_value(task.target, estimates(family, test, theta, stretch)))
