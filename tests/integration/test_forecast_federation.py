# SPDX-License-Identifier: Apache-2.0
"""A forecast against a federation: vaults, ClientApp, coordinator and chain, on the same rows."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dao.cid import blob_ref, of_digest
from dao.records import ScoreReport, Task
from dao.settings import load_settings
from demo.devnet import Devnet
from demo.forecast import TrainedRound, forecast_noise, train_in_process, train_rounds
from demo.forecast_payouts import Payouts, Scoring
from fl_client.opening import RECORDS
from rounds.judge import tolerance_pico
from rounds.state import theta_of
from tests.federation_town import FIRST_CONTRIBUTOR, Town, address
from tests.playing_town import CONTRIBUTORS, Played, small_town
from valuation.encode import encode
from valuation.family import Family, Prepared
from valuation.loading import load_family
from valuation.rows import check_frame, parse_csv

ACCOUNTS = [address(FIRST_CONTRIBUTOR + place) for place in range(CONTRIBUTORS)]
NOISE_SEED = "town"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The task trained and closed by a coordinator and four vaults."""
    with Devnet() as net:
        found = Played(small_town(tmp_path_factory.mktemp("town"), net))
        found.train()
        yield found


def prepared(task: Task, family: Family, data: bytes) -> Prepared:
    frame = parse_csv(data, name="rows")
    accepted = check_frame(task, frame, with_target=True).accepted
    return family.prepare(encode(task, frame[accepted], with_target=True))


def records(town: Town, place: int) -> Path:
    return load_settings(town.vault_settings(place)).vault.path / RECORDS


def apart(town: Town, family: Family) -> list[Prepared]:
    """Each vault's rows, prepared as the vault does."""
    return [
        prepared(town.task, family, records(town, place).read_bytes())
        for place in range(CONTRIBUTORS)
    ]


def together(town: Town, family: Family) -> list[Prepared]:
    """All vaults' rows prepared at once, then cut, as a forecast does."""
    frames = [pd.read_csv(records(town, place), dtype=str) for place in range(CONTRIBUTORS)]
    every = prepared(town.task, family, pd.concat(frames).to_csv(index=False).encode())
    assert every.residual is not None
    ends = np.cumsum([0, *(len(rows.units) for rows in apart(town, family))])
    assert ends[-1] == len(every.units)
    return [
        Prepared(every.inputs[a:b], every.offset[a:b], every.residual[a:b], every.units[a:b])
        for a, b in itertools.pairwise(ends)
    ]


def forecast(town: Town, rows: list[Prepared], family: Family) -> list[TrainedRound]:
    initial = town.store.get(town.task.model.initial.cid)
    noise = forecast_noise(NOISE_SEED, accounts=ACCOUNTS, task_digest=town.task.digest())
    return list(train_rounds(town.task, family, initial, rows, noise))


def test_the_forecast_s_updates_and_models_are_the_federation_s(played: Played) -> None:
    """Every update that a vault signed, and every model that was recorded, byte for byte."""
    town = played.town
    family = load_family(town.task, town.store.get(town.task.model.setup.cid))
    recorded = [signed.record for signed in played.records()]
    assert [len(record.receipts) for record in recorded] == [CONTRIBUTORS] * len(recorded)
    for rows in (apart(town, family), together(town, family)):
        rounds = forecast(town, rows, family)
        assert len(rounds) == town.task.policy.rounds
        for found, record in zip(rounds, recorded, strict=True):
            signed = {each.body.contributor: each.body.update for each in record.receipts}
            assert [blob_ref(update) for update in found.updates] == [
                signed[account] for account in ACCOUNTS
            ]
            assert blob_ref(found.model) == record.model
    committed = town.dao.ledger.task_of(town.task_id).model_digest
    assert blob_ref(rounds[-1].model).sha256 == committed


def test_another_seed_or_account_leads_elsewhere(played: Played) -> None:
    town = played.town
    family = load_family(town.task, town.store.get(town.task.model.setup.cid))
    rows, initial = together(town, family), town.store.get(town.task.model.initial.cid)
    models = {
        train_in_process(town.task, family, initial, rows, seed=seed, accounts=accounts).tobytes()
        for seed, accounts in (
            (NOISE_SEED, ACCOUNTS),
            ("city", ACCOUNTS),
            (NOISE_SEED, ACCOUNTS[::-1]),
            (NOISE_SEED, ()),
        )
    }
    assert len(models) == 4
    assert theta_of(town.task, forecast(town, rows, family)[-1].model).tobytes() in models


def test_the_forecast_s_payouts_are_those_on_chain(played: Played) -> None:
    """With the opened parts as held-out rows: scores within the tolerance of a replay, and money
    within what that tolerance can move."""
    town = played.town
    final = town.dao.ledger.final_of(town.task_id)
    report = ScoreReport.parse(town.store.get(of_digest(final.score_digest)))
    assert report.judged_on == "sealed-rows"
    family = load_family(town.task, town.store.get(town.task.model.setup.cid))
    parts = [pd.read_csv(io.BytesIO(part), dtype=str) for part in town.parts]
    sealed = prepared(town.task, family, pd.concat(parts).to_csv(index=False).encode())
    scoring = Scoring(town.task, family, contributors=CONTRIBUTORS, judging=sealed)
    for each in forecast(town, together(town, family), family):
        scoring.add(each)
    found: Payouts = scoring.settle(np.full(CONTRIBUTORS, 40))
    for score, payout, result in zip(
        found.scores_pico, found.payouts_wei, report.results, strict=True
    ):
        allowed = tolerance_pico(result.score_pico) * len(report.stretches)
        assert abs(score - result.score_pico) <= allowed
        assert payout == pytest.approx(result.payout_wei, rel=1e-5)
    assert abs(found.threshold_pico - report.threshold_pico) <= 10_000
    assert found.total_wei <= found.budget_wei == town.task.terms.budget_wei
