# SPDX-License-Identifier: Apache-2.0
"""A forecast of a town's task with the town's own accounts, rows and noise seed."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from dao.records import Task
from dao.settings import load_settings
from demo.forecast import TrainedRound, forecast_noise, train_rounds
from fl_client.opening import RECORDS
from tests.federation_town import FIRST_CONTRIBUTOR, Town, address
from valuation.encode import encode
from valuation.family import Family, Prepared
from valuation.loading import load_family
from valuation.rows import check_frame, parse_csv

NOISE_SEED = "town"
"""What the vaults of a seeded town draw their noise from."""


def accounts_of(town: Town) -> list[str]:
    """The contributors' accounts, in roster order."""
    return [address(FIRST_CONTRIBUTOR + place) for place in range(town.contributors)]


def family_of(town: Town) -> Family:
    """The town's model family, from the published set-up."""
    return load_family(town.task, town.store.get(town.task.model.setup.cid))


def prepared(task: Task, family: Family, data: bytes) -> Prepared:
    """Rows of a CSV that fit the task."""
    frame = parse_csv(data, name="rows")
    accepted = check_frame(task, frame, with_target=True).accepted
    return family.prepare(encode(task, frame[accepted], with_target=True))


def apart(town: Town, family: Family) -> list[Prepared]:
    """Each vault's rows, prepared as the vault does."""
    return [
        prepared(town.task, family, _records(town, place).read_bytes())
        for place in range(town.contributors)
    ]


def together(town: Town, family: Family) -> list[Prepared]:
    """All vaults' rows prepared at once, then cut, as a forecast does."""
    frames = [pd.read_csv(_records(town, place), dtype=str) for place in range(town.contributors)]
    every = prepared(town.task, family, pd.concat(frames).to_csv(index=False).encode())
    assert every.residual is not None
    ends = np.cumsum([0, *(len(rows.units) for rows in apart(town, family))])
    assert ends[-1] == len(every.units)
    return [
        Prepared(every.inputs[a:b], every.offset[a:b], every.residual[a:b], every.units[a:b])
        for a, b in itertools.pairwise(ends)
    ]


def forecast(town: Town, family: Family, rows: list[Prepared]) -> list[TrainedRound]:
    """All rounds of the town's task."""
    initial = town.store.get(town.task.model.initial.cid)
    noise = forecast_noise(NOISE_SEED, accounts=accounts_of(town), task_digest=town.task.digest())
    return list(train_rounds(town.task, family, initial, rows, noise))


def _records(town: Town, place: int) -> Path:
    return load_settings(town.vault_settings(place)).vault.path / RECORDS
