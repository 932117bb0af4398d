# SPDX-License-Identifier: Apache-2.0
"""What no number of canaries in one round can show: that rows of other units enter nothing before
the clip, that every round has noise of its own, and that every round is charged."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from vault_world import BUNDLE, COORDINATOR, VaultWorld, world

from dao.records import Task
from dao.store import MemoryStore
from demo.market import TARGET, generate_market
from fl_client.canary_rows import Silence
from fl_client.records_file import RecordsFile
from privacy import accounting
from rounds.contribution import contribution
from rounds.phases import release_of
from rounds.state import decode_update, theta_of, update_to_float
from valuation.build import build_task
from valuation.draft import draft_task
from valuation.encode import encode
from valuation.family import Family
from valuation.holdout import calibrates
from valuation.loading import load_family
from valuation.private_rows import PrivateRows
from valuation.rows import check_frame, parse_csv
from valuation.schema import Floats
from valuation.taskfile import TaskFile

__all__ = ["world"]

OWNERS = 24


def owned_sales(rows: int, seed: int) -> pd.DataFrame:
    """Sales with owners of several rows each, some cells missing."""
    frame = generate_market(rows, seed, missing=0.2)
    frame.insert(0, "owner", [f"owner {i % OWNERS}" for i in range(rows)])
    return frame


def owners_task(store: MemoryStore, family: str) -> Task:
    """A task of which three rows of each owner count; the kernel family has public rows."""
    table = owned_sales(80, 1)
    public = table.to_csv(index=False).encode()
    features = table.drop(columns="owner").to_csv(index=False).encode()
    draft = draft_task(parse_csv(features, name="public"), target=TARGET)
    surveyed = {"rule": "wiener", "survey_cells": 5}
    model = {"family": family} | ({"hidden": [4]} if family == "mlp" else {})
    taskfile = TaskFile.model_validate(
        {
            "title": "Homes",
            "asset_class": "homes",
            "licence": "CC-BY-4.0",
            "target": draft.target.model_dump(),
            "feature": [feature.model_dump() for feature in draft.features],
            "unit": {"kind": "column", "column": "owner", "max_rows": 3},
            "privacy": {"epsilon": 8.0, "delta": 1e-5, "rounds": 5, "public_n": 1000},
            "model": model,
            "calibration": {"share": 0.4, "groups": 1, "edges": [-1.0, 0.0, 1.0]},
            "terms": {"coordinator": COORDINATOR},
        }
        | ({"public_rows": "public.csv", "aggregation": surveyed} if family == "kernel" else {})
    )
    return build_task(
        taskfile,
        public if family == "kernel" else None,
        store.put,
        bundle_sha256=BUNDLE,
        accounting=accounting,
    )


def prepared(folder: Path, task: Task, family: Family, frame: pd.DataFrame) -> PrivateRows:
    """What a vault prepares of these records."""
    folder.mkdir()
    frame.to_csv(folder / "records.csv", index=False)
    return RecordsFile(folder / "records.csv", cache=folder / "prepared").prepared(task, family)


def neighbours() -> tuple[pd.DataFrame, pd.DataFrame, list[int]]:
    """Records, the same without one owner, and the places of the others' rows. The one owner's rows
    are as far out as any, and one of them equals a row of somebody else."""
    whole = owned_sales(120, 4)
    own = whole.index[whole["owner"] == "owner 7"]
    for column in ("living_area_m2", "building_age_years", "rooms", TARGET):
        whole.loc[own, column] = whole[column].max()
    double = [name for name in whole.columns if name != "owner"]
    whole.loc[own[0], double] = whole.loc[0, double].to_numpy()
    others = [place for place in range(len(whole)) if place not in set(own)]
    return whole, whole.iloc[others], others


@pytest.mark.promise(1)
def test_what_a_row_is_encoded_to_does_not_depend_on_other_units() -> None:
    """Bit for bit: no mean, spread, order, or deduplication of private rows enters."""
    task = owners_task(MemoryStore(), "mlp")
    whole, without, others = neighbours()

    def encoded(frame: pd.DataFrame) -> tuple[np.ndarray, ...]:
        table = parse_csv(frame.to_csv(index=False).encode(), name="records")
        check = check_frame(task, table, with_target=True)
        assert check.accepted.all()
        found = encode(task, table[check.accepted], with_target=True)
        assert found.target is not None
        return found.attributes, found.locations, found.target, found.unit_keys

    for one, other in zip(encoded(whole), encoded(without), strict=True):
        assert np.array_equal(one[others], other)


def arrays(rows: Any) -> dict[str, np.ndarray]:
    """All arrays of a nest of dataclasses, by name; which units belong together as a matrix."""
    found: dict[str, np.ndarray] = {}
    for field in dataclasses.fields(rows):
        value = getattr(rows, field.name)
        if dataclasses.is_dataclass(value):
            found |= arrays(value)
        elif field.name == "units":
            found["units"] = value[:, None] == value
        else:
            found[field.name] = value
    return found


@pytest.mark.promise(1)
@pytest.mark.parametrize("family", ["mlp", "kernel"])
def test_what_the_vault_prepares_of_a_row_does_not_depend_on_other_units(
    tmp_path: Path, family: str
) -> None:
    """Nor does it whether the row trains or calibrates. To the rounding of matrix products, which
    may add in another order for other shapes."""
    store = MemoryStore()
    task = owners_task(store, family)
    loaded = load_family(task, store.get(task.model.setup.cid))
    whole, without, others = neighbours()
    table = parse_csv(whole.to_csv(index=False).encode(), name="records")
    calibrating = calibrates(task, encode(task, table, with_target=True).unit_keys)
    assert 0 < calibrating.sum() < len(whole)
    one = prepared(tmp_path / "whole", task, loaded, whole)
    other = prepared(tmp_path / "without", task, loaded, without)
    remains = np.isin(np.arange(len(whole)), others)
    for part, places in (("training", ~calibrating), ("calibration", calibrating)):
        kept = remains[places]
        alone = arrays(getattr(other, part))
        for name, values in arrays(getattr(one, part)).items():
            expected = values[kept][:, kept] if name == "units" else values[kept]
            assert len(values) == places.sum()
            assert np.allclose(expected, alone[name], rtol=1e-9, atol=1e-9), name
    if family == "mlp":
        assert one.survey is None
        return
    assert one.survey is not None
    assert len(np.unique(one.survey)) > 1
    assert np.array_equal(one.survey[remains[~calibrating]], other.survey)


def noises(world: VaultWorld, base: bytes) -> list[Floats]:
    """The noise of every round's update, in standard deviations: update less clipped sum."""
    vault, task = world.open(), world.task
    _, family = vault.task(task.digest())
    rows, silence = vault.records.prepared(task, family), Silence()
    found = []
    for number in range(1, task.policy.rounds + 1):
        release = release_of(task, number)
        exact = contribution(task, family, rows, theta_of(task, base), number=number, noise=silence)
        update = vault.answer(world.request(number, base=base)).update
        difference = decode_update(release, update) - decode_update(release, exact)
        found.append(update_to_float(release, difference) / release.deviation)
    return found


@pytest.mark.promise(1)
@pytest.mark.parametrize("seed", [b"test", None], ids=["seeded", "secure"])
def test_every_round_has_noise_of_its_own(world: VaultWorld, seed: bytes | None) -> None:
    """On the same base model, of which the clipped sum is the same in every round: the difference
    of two updates would show nothing but rows if their noise were the same."""
    world.config = dataclasses.replace(world.config, noise_seed=seed)
    base = world.request(1).base
    drawn = noises(world, base)
    size = len(drawn[0])
    for i, one in enumerate(drawn):
        assert 0.5 < np.sqrt(np.mean(one**2)) < 1.5
        for other in drawn[:i]:
            correlation = float(one @ other) / np.linalg.norm(one) / np.linalg.norm(other)
            # Of independent noise by chance once in 10^9; of reused noise it is 1.
            assert abs(correlation) < 6.1 / np.sqrt(size)


@pytest.mark.promise(1)
def test_every_round_that_leaves_is_in_the_ledger(world: VaultWorld) -> None:
    """The ledger's spent epsilon is that of as many rounds as were answered, by the formula."""
    vault, policy = world.open(), world.task.policy
    for number in range(1, policy.rounds + 1):
        vault.answer(world.request(number))
        state = world.open().ledger_state()
        assert sorted(state.tasks[world.task.digest()].answered) == list(range(1, number + 1))
        sigma = policy.noise_multiplier_micro / 1e6
        exact = accounting.epsilon_of_mu(np.sqrt(number) / sigma, policy.delta_e12 / 1e12)
        spent = state.spent_epsilon_micro(delta_e12=policy.delta_e12) / 1e6
        assert exact <= spent <= exact + 1e-4
