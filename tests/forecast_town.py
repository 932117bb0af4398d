# SPDX-License-Identifier: Apache-2.0
"""A forecast of a town's task with the town's own accounts, rows and noise seed."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from dao.records import Task
from dao.settings import load_settings
from demo.forecast import NoiseOf, TrainedRound, forecast_noise, surveyed_steps, train_rounds
from fl_client.opening import RECORDS
from rounds.contribution import contribution
from rounds.state import theta_of
from rounds.step import Steps
from tests.federation_town import FIRST_CONTRIBUTOR, Town, address
from valuation.encode import Encoded, encode
from valuation.family import Family, Prepared
from valuation.loading import load_family
from valuation.private_rows import PrivateRows, divide_rows
from valuation.rows import check_frame, parse_csv

NOISE_SEED = "town"
"""What the vaults of a seeded town draw their noise from."""


def accounts_of(town: Town) -> list[str]:
    """The contributors' accounts, in roster order."""
    return [address(FIRST_CONTRIBUTOR + place) for place in range(town.contributors)]


def family_of(town: Town) -> Family:
    """The town's model family, from the published set-up."""
    return load_family(town.task, town.store.get(town.task.model.setup.cid))


def encoded(task: Task, data: bytes) -> Encoded:
    """Rows of a CSV that fit the task."""
    frame = parse_csv(data, name="rows")
    accepted = check_frame(task, frame, with_target=True).accepted
    return encode(task, frame[accepted], with_target=True)


def prepared(task: Task, family: Family, data: bytes) -> Prepared:
    """The same, as the family reads them."""
    return family.prepare(encoded(task, data))


def apart(town: Town, family: Family) -> list[PrivateRows]:
    """Each vault's rows, prepared as the vault does."""
    return [
        divide_rows(town.task, family, encoded(town.task, _records(town, place).read_bytes()))
        for place in range(town.contributors)
    ]


def together(town: Town, family: Family) -> list[PrivateRows]:
    """All vaults' rows prepared at once, then cut, as a forecast does."""
    frames = [pd.read_csv(_records(town, place), dtype=str) for place in range(town.contributors)]
    data = pd.concat(frames).to_csv(index=False).encode()
    every = divide_rows(town.task, family, encoded(town.task, data))
    training, cells = every.training, every.survey
    assert training.residual is not None
    ends = np.cumsum([0, *(len(rows.training.units) for rows in apart(town, family))])
    assert ends[-1] == len(training.units)
    return [
        PrivateRows(
            training=Prepared(
                training.inputs[a:b],
                training.offset[a:b],
                training.residual[a:b],
                training.units[a:b],
            ),
            survey=None if cells is None else cells[a:b],
            calibration=None,
        )
        for a, b in itertools.pairwise(ends)
    ]


def noise_of(town: Town) -> NoiseOf:
    """What the town's vaults draw."""
    return forecast_noise(NOISE_SEED, accounts=accounts_of(town), task_digest=town.task.digest())


def steps_of_town(town: Town, family: Family, rows: list[PrivateRows]) -> Steps:
    """How the town's task moves its model."""
    return surveyed_steps(town.task, family, rows, noise_of(town))


def surveys(town: Town, family: Family, rows: list[PrivateRows]) -> list[bytes]:
    """What each contributor sends in the first round of a town that has a survey."""
    theta = theta_of(town.task, town.store.get(town.task.model.initial.cid))
    return [
        contribution(town.task, family, each, theta, number=1, noise=noise_of(town)(place, 1))
        for place, each in enumerate(rows)
    ]


def forecast(town: Town, family: Family, rows: list[PrivateRows]) -> list[TrainedRound]:
    """All training rounds of the town's task."""
    initial = town.store.get(town.task.model.initial.cid)
    steps = steps_of_town(town, family, rows)
    return list(train_rounds(town.task, family, initial, rows, noise_of(town), steps=steps))


def _records(town: Town, place: int) -> Path:
    return load_settings(town.vault_settings(place)).vault.path / RECORDS
