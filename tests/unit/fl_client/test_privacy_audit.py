# SPDX-License-Identifier: Apache-2.0
"""The vault's mechanism under its own attack: it holds as it is, and no fault in it goes unseen.

The noise is seeded, so these tests come out the same each time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vault_world import VaultWorld, make_world, world

import rounds.contribution
from dao.errors import InputError
from dao.records import Calibration, PrivacyPolicy, PrivacyUnit, Sampling
from fl_client.privacy_audit import PrivacyAudit, audit_vault
from privacy.accounting import policy_epsilon_micro
from privacy.engine import Engine
from privacy.mechanism import Release, least_grid_bits, noise_deviation, private_update
from privacy.noise import NoiseSource
from privacy.sampling import sampled_update
from valuation.calibration import residual_histogram

__all__ = ["world"]

TRIALS = 300
CLIPPED_SUM = Engine.clipped_sum
MAX_ROWS = 3


@pytest.fixture
def grouped(world: VaultWorld) -> VaultWorld:
    """A task of which three rows of a unit count."""
    unit = PrivacyUnit(kind="row", column=None, max_rows=MAX_ROWS)
    world.adopt(world.task.model_copy(update={"unit": unit}))
    return world


def attacked(world: VaultWorld, trials: int = TRIALS) -> PrivacyAudit:
    return audit_vault(world.open(), world.task.digest(), trials=trials)


@pytest.mark.promise(1)
def test_the_mechanism_spends_what_it_claims_and_not_more(grouped: VaultWorld) -> None:
    audit = attacked(grouped)
    assert audit.holds
    claimed = grouped.task.policy.epsilon_micro
    assert audit.claimed_epsilon_micro == claimed
    assert 0.6 * claimed < audit.proven_epsilon_micro < claimed
    assert [finding.probe.rows for finding in audit.findings] == [1, 1, 3, 7]
    assert audit.excess > 4, "a canary that fits the clip norm could not show a skipped clip"


def halved_noise(total: Any, release: Release, *, noise: NoiseSource) -> bytes:
    deviation = 0.5 * release.deviation
    bits = least_grid_bits(deviation)
    quiet = dataclasses.replace(release, deviation=deviation, grid_bits=bits)
    finer = np.frombuffer(private_update(total, quiet, noise=noise), dtype="<i8")
    return np.rint(np.ldexp(finer.astype(float), release.grid_bits - bits)).astype("<i8").tobytes()


def skipped_clip(engine: Engine, *data: Any, clip_norm: float, **others: Any) -> Any:
    return CLIPPED_SUM(engine, *data, clip_norm=1e6 * clip_norm, **others)


def doubled_clip(engine: Engine, *data: Any, clip_norm: float, **others: Any) -> Any:
    return CLIPPED_SUM(engine, *data, clip_norm=2 * clip_norm, **others)


def clipped_by_the_row(engine: Engine, *data: Any, **others: Any) -> Any:
    *rows, units = data
    return CLIPPED_SUM(engine, *rows, np.arange(len(units)), **others)


def norm_of_parts(engine: Engine, *data: Any, **others: Any) -> Any:
    """As if the norm of a unit's sum were the root of its rows' squared norms: cross terms lost.
    Of equal rows that is too small by the root of their number."""
    units = data[-1]
    counted = np.minimum(np.bincount(units)[units], MAX_ROWS)
    others["clip_norm"] *= float(np.sqrt(counted.max()))
    return CLIPPED_SUM(engine, *data, **others)


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        (rounds.contribution, halved_noise),
        (Engine, skipped_clip),
        (Engine, doubled_clip),
        (Engine, clipped_by_the_row),
        (Engine, norm_of_parts),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_faulty_mechanism_is_caught(
    grouped: VaultWorld, monkeypatch: pytest.MonkeyPatch, place: Any, fault: Callable[..., Any]
) -> None:
    name = "clipped_sum" if place is Engine else "private_update"
    monkeypatch.setattr(place, name, fault)
    audit = attacked(grouped)
    assert not audit.holds
    assert audit.proven_epsilon_micro > audit.claimed_epsilon_micro


@pytest.fixture
def calibrated(grouped: VaultWorld) -> VaultWorld:
    """The same task with half of the units kept out for a calibration of the same cost."""
    task = grouped.task
    mu = np.sqrt(task.policy.rounds) / (task.policy.noise_multiplier_micro / 1e6)
    policy = task.policy.model_copy(update={"calibration_noise_micro": int(1e6 / mu) + 1})
    calibration = Calibration(
        share_micro=500_000, groups=1, edges_micro=(-500_000, 0, 500_000), level_micro=900_000
    )
    grouped.adopt(task.model_copy(update={"policy": policy, "calibration": calibration}))
    return grouped


@pytest.mark.promise(1)
def test_a_calibration_spends_what_it_claims_and_not_more(calibrated: VaultWorld) -> None:
    audit = attacked(calibrated)
    assert audit.holds
    assert [finding.kind for finding in audit.findings] == ["train"] * 4 + ["calibrate"] * 4
    assert 0.6 < audit.proven_epsilon_micro / audit.claimed_epsilon_micro < 1.0
    for finding in audit.findings:
        shift = finding.present.mean() - finding.without.mean()
        assert shift == pytest.approx(finding.probe.units, abs=0.5 * finding.sigma)


def test_a_calibration_that_counts_rows_in_place_of_units_is_caught(
    calibrated: VaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_row(calibration: Any, *, units: Any, **others: Any) -> Any:
        return residual_histogram(calibration, units=np.arange(len(units)), **others)

    monkeypatch.setattr(rounds.contribution, "residual_histogram", by_row)
    audit = attacked(calibrated)
    assert {(each.kind, each.probe.rows) for each in audit.findings if not each.holds} == {
        ("calibrate", 3),
        ("calibrate", 7),
    }
    assert not audit.holds


@pytest.fixture
def sampled(grouped: VaultWorld) -> VaultWorld:
    """The same task in four local steps a round, each of which takes a fifth of the units."""
    sampling = Sampling(rate_micro=200_000, steps=4, eta_micro=100_000, local_units=80)
    policy = grouped.task.policy.model_copy(
        update={
            "mechanism": "gaussian-poisson",
            "sampling": sampling,
            "noise_multiplier_micro": 1_200_000,
        }
    )
    bits = least_grid_bits(noise_deviation(policy) * math.sqrt(sampling.steps))
    policy = policy.model_copy(update={"epsilon_micro": policy_epsilon_micro(policy)})
    model = grouped.task.model.model_copy(update={"update_grid_bits": bits})
    grouped.adopt(grouped.task.model_copy(update={"policy": policy, "model": model}))
    return grouped


@pytest.mark.promise(1)
def test_sampled_steps_spend_what_they_claim_and_not_more(sampled: VaultWorld) -> None:
    audit = attacked(sampled)
    assert audit.holds
    assert 0.5 < audit.proven_epsilon_micro / audit.claimed_epsilon_micro < 1.0
    for finding in audit.findings:
        shift = finding.present.mean() - finding.without.mean()
        assert shift == pytest.approx(0.2 * 4 * finding.probe.units, abs=1.0)


@pytest.mark.parametrize(
    "weaker",
    [
        {"noise_multiplier_micro": 600_000},
        {"clip_norm_nano": 2 * 519_615_243, "noise_multiplier_micro": 600_000},
        {"sampling": {"rate_micro": 600_000}},
    ],
    ids=["noise halved", "clip doubled, noise as it was", "units taken three times as often"],
)
def test_faulty_sampled_steps_are_caught(
    sampled: VaultWorld, monkeypatch: pytest.MonkeyPatch, weaker: dict[str, Any]
) -> None:
    def faulty(*data: Any, policy: PrivacyPolicy, **others: Any) -> Any:
        change = dict(weaker)
        if "sampling" in change and policy.sampling is not None:
            change["sampling"] = policy.sampling.model_copy(update=change["sampling"])
        return sampled_update(*data, policy=policy.model_copy(update=change), **others)

    monkeypatch.setattr(rounds.contribution, "sampled_update", faulty)
    audit = attacked(sampled)
    assert not audit.holds


def test_a_claim_that_is_too_small_is_caught(world: VaultWorld) -> None:
    policy = world.task.policy.model_copy(update={"epsilon_micro": 4_000_000})
    world.adopt(world.task.model_copy(update={"policy": policy}))
    audit = attacked(world)
    assert audit.proven_epsilon_micro > 4_000_000
    assert not audit.holds


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_audit_charges_nothing_and_sends_nothing(world: VaultWorld) -> None:
    """The vault's files are as before; the store is not written, the chain not asked."""
    world.open().answer(world.request(1))
    before, stored = files(world.folder), dict(world.store._blocks)
    vault = world.open()
    vault.chain = object()  # type: ignore[assignment]  # whoever asks it anything fails
    audit_vault(vault, world.task.digest(), trials=50)
    assert files(world.folder) == before
    assert world.store._blocks == stored


def test_seeded_noise_is_told_and_every_trial_has_noise_of_its_own(tmp_path: Path) -> None:
    for seed, name in ((b"test", "a"), (None, "b")):
        (tmp_path / name).mkdir()
        made = make_world(tmp_path / name)
        made.config = dataclasses.replace(made.config, noise_seed=seed)
        audit = attacked(made, trials=50)
        assert audit.seeded is (seed is not None)
        scores = np.concatenate(
            [audit.findings[0].without, *(finding.present for finding in audit.findings)]
        )
        assert len(np.unique(scores)) == len(scores)


def test_how_many_releases_are_done_is_told(world: VaultWorld) -> None:
    told: list[tuple[int, int]] = []
    audit_vault(
        world.open(), world.task.digest(), trials=50, tell=lambda done, of: told.append((done, of))
    )
    assert told == [(done, 200) for done in range(1, 201)]


def test_records_of_which_no_row_counts_make_no_canary(world: VaultWorld) -> None:
    header = world.config.records.read_text().splitlines()[0]
    world.config.records.write_text(header + "\n" + ",".join("x" * (header.count(",") + 1)) + "\n")
    with pytest.raises(InputError, match="no row") as caught:
        attacked(world)
    assert "check" in str(caught.value.hint)
