# SPDX-License-Identifier: Apache-2.0
"""The survey under the vault's own attack, in a kernel task whose rule asks for one. Noise is
seeded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vault_world import BUNDLE, COORDINATOR, VaultWorld, make_world

import rounds.contribution
from dao.records import PrivacyUnit, Task
from dao.store import MemoryStore
from demo.market import TARGET, generate_market
from fl_client.canary_rows import probes, survey_stage
from fl_client.privacy_audit import PrivacyAudit, audit_vault
from privacy import accounting
from privacy.mechanism import Release, private_update
from privacy.noise import NoiseSource
from valuation.build import build_task
from valuation.draft import draft_task
from valuation.rows import parse_csv
from valuation.taskfile import TaskFile
from valuation.unit_counts import survey_histogram

TRIALS = 400
CELLS, MAX_ROWS = 5, 3


def surveyed_task(store: MemoryStore) -> Task:
    """Three rows of a unit count; a survey of five cells, and a calibration."""
    public = generate_market(80, 1).to_csv(index=False).encode()
    draft = draft_task(parse_csv(public, name="public"), target=TARGET)
    taskfile = TaskFile.model_validate(
        {
            "title": "Homes",
            "asset_class": "homes",
            "licence": "CC-BY-4.0",
            "target": draft.target.model_dump(),
            "feature": [feature.model_dump() for feature in draft.features],
            "privacy": {"epsilon": 8.0, "delta": 1e-5, "rounds": 5, "public_n": 1000},
            "model": {"family": "kernel"},
            "aggregation": {"rule": "wiener", "survey_cells": CELLS},
            "calibration": {"share": 0.4, "groups": 1, "edges": [-1.0, 0.0, 1.0]},
            "terms": {"coordinator": COORDINATOR},
            "public_rows": "public.csv",
        }
    )
    task = build_task(taskfile, public, store.put, bundle_sha256=BUNDLE, accounting=accounting)
    unit = PrivacyUnit(kind="row", column=None, max_rows=MAX_ROWS)
    return task.model_copy(update={"unit": unit})


@pytest.fixture(scope="module")
def blueprint() -> tuple[Task, MemoryStore]:
    store = MemoryStore()
    return surveyed_task(store), store


@pytest.fixture
def surveyed(tmp_path: Path, blueprint: tuple[Task, MemoryStore]) -> VaultWorld:
    task, store = blueprint
    world = make_world(tmp_path)
    world.store = store
    world.config.records.write_text(generate_market(80, 4).to_csv(index=False))
    world.adopt(task)
    return world


def attacked(world: VaultWorld) -> PrivacyAudit:
    return audit_vault(world.open(), world.task.digest(), trials=TRIALS)


@pytest.mark.promise(1)
def test_a_survey_spends_what_it_claims_and_not_more(surveyed: VaultWorld) -> None:
    audit = attacked(surveyed)
    assert audit.holds
    kinds = [finding.kind for finding in audit.findings]
    assert kinds == ["train"] * 4 + ["survey"] * 4 + ["calibrate"] * 4
    assert audit.proven_epsilon_micro < audit.claimed_epsilon_micro
    of_survey = [finding for finding in audit.findings if finding.kind == "survey"]
    assert [finding.probe.rows for finding in of_survey] == [1, 1, 3, 7]
    for finding in of_survey:
        assert finding.sigma == surveyed.task.policy.survey_noise_micro / 1e6
        # one unit counts 1, however many rows it has
        shift = finding.present.mean() - finding.without.mean()
        assert shift == pytest.approx(finding.probe.units, abs=0.3 * finding.sigma)
        assert finding.present.std() == pytest.approx(finding.sigma, rel=0.2)
    # groups show it nearly as it is
    assert min(finding.bound.sigma for finding in of_survey) < 1.6 * of_survey[0].sigma


def halved_noise(total: Any, release: Release, *, noise: NoiseSource) -> bytes:
    """Of the survey alone; what half the noise does in training is tried elsewhere."""

    class Quiet:
        seeded = True

        def gaussian(self, n: int) -> Any:
            return 0.5 * noise.gaussian(n)

    return private_update(total, release, noise=Quiet() if release.length == CELLS else noise)


def by_row(cells: Any, units: Any, **others: Any) -> Any:
    return survey_histogram(cells, np.arange(len(units)), **others)


def doubled(*data: Any, **others: Any) -> Any:
    return 2.0 * survey_histogram(*data, **others)


@pytest.mark.promise(1)
@pytest.mark.parametrize(
    ("place", "fault", "rows"),
    [
        ("private_update", halved_noise, {1, 3, 7}),
        ("survey_histogram", by_row, {3, 7}),
        ("survey_histogram", doubled, set()),
    ],
    ids=["noise halved", "rows counted in place of units", "units counted twice"],
)
def test_a_faulty_survey_is_caught(
    surveyed: VaultWorld,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    fault: Callable[..., Any],
    rows: set[int],
) -> None:
    monkeypatch.setattr(rounds.contribution, place, fault)
    audit = attacked(surveyed)
    caught = {(each.kind, each.probe.rows) for each in audit.findings if not each.holds}
    assert caught >= {("survey", count) for count in rows}
    assert {kind for kind, _ in caught} == {"survey"}
    assert not audit.holds


def test_canaries_are_new_units_in_the_cell_of_an_own_row(surveyed: VaultWorld) -> None:
    vault = surveyed.open()
    task, family = vault.task(surveyed.task.digest())
    rows = vault.records.prepared(task, family)
    assert rows.survey is not None
    assert len(np.unique(rows.survey)) > 1
    initial = vault.store.get(task.model.initial.cid)
    stage = survey_stage(task, family, rows, initial=initial)
    assert stage is not None
    assert np.count_nonzero(np.abs(stage.direction) > 1e-9) == 1
    cell = int(np.argmax(stage.direction))
    assert cell in rows.survey
    beside = stage.beside
    assert beside.survey is not None
    assert len(beside.survey) == len(beside.training.units)
    data = stage.with_canaries(probes(task, stage)[-1])
    assert data.survey is not None
    added = slice(len(beside.survey), None)
    assert set(data.survey[added].tolist()) == {cell}
    labels, sizes = np.unique(data.training.units[added], return_counts=True)
    assert set(sizes.tolist()) == {7}
    assert not set(labels.tolist()) & set(beside.training.units.tolist())


def test_a_task_without_a_survey_has_none_to_attack(surveyed: VaultWorld) -> None:
    vault = surveyed.open()
    task, family = vault.task(surveyed.task.digest())
    rows = vault.records.prepared(task, family)
    initial = vault.store.get(task.model.initial.cid)
    policy = task.policy.model_copy(update={"survey_noise_micro": 0})
    bare = task.model_copy(update={"policy": policy})
    assert survey_stage(bare, family, rows, initial=initial) is None
    assert rows.survey is not None
    empty = dataclasses.replace(rows, survey=rows.survey[:0])
    assert survey_stage(task, family, empty, initial=initial) is None
