# SPDX-License-Identifier: Apache-2.0
"""A forecast against a federation: vaults, ClientApp, coordinator and chain, on the same rows.

tests/e2e/test_deployment.py holds it against Flower's simulation and deployment runtimes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from dao.cid import blob_ref, of_digest
from dao.records import ScoreReport
from demo.devnet import Devnet
from demo.forecast import train_in_process
from demo.forecast_payouts import Scoring
from rounds.judge import tolerance_pico
from rounds.state import theta_of
from tests.forecast_town import (
    NOISE_SEED,
    accounts_of,
    apart,
    family_of,
    forecast,
    prepared,
    steps_of_town,
    surveys,
    together,
)
from tests.playing_town import CONTRIBUTORS, Played, small_town


@pytest.fixture(scope="module", params=["sum", "wiener"])
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    """The task trained and closed by a coordinator and four vaults, by either rule."""
    with Devnet() as net:
        found = Played(small_town(tmp_path_factory.mktemp("town"), net, rule=request.param))
        found.train()
        yield found


def test_the_forecast_s_updates_and_models_are_the_federation_s(played: Played) -> None:
    """Every update that a vault signed, and every model that was recorded, byte for byte."""
    town = played.town
    family, accounts = family_of(town), accounts_of(town)
    recorded = [signed.record for signed in played.records()]
    assert [len(record.receipts) for record in recorded] == [CONTRIBUTORS] * len(recorded)
    for rows in (apart(town, family), together(town, family)):
        rounds = forecast(town, family, rows)
        assert len(rounds) == town.task.policy.rounds
        sent = [list(found.updates) for found in rounds]
        models = [blob_ref(found.model) for found in rounds]
        if town.task.aggregation.rule == "wiener":
            sent.insert(0, surveys(town, family, rows))
            models.insert(0, town.task.model.initial)
        assert len(recorded) == len(sent) == town.task.total_rounds
        for updates, model, record in zip(sent, models, recorded, strict=True):
            signed = {each.body.contributor: each.body.update for each in record.receipts}
            assert [blob_ref(update) for update in updates] == [
                signed[account] for account in accounts
            ]
            assert model == record.model
    committed = town.dao.ledger.task_of(town.task_id).model_digest
    assert blob_ref(rounds[-1].model).sha256 == committed


def test_another_seed_or_account_leads_elsewhere(played: Played) -> None:
    town = played.town
    family, accounts = family_of(town), accounts_of(town)
    rows, initial = together(town, family), town.store.get(town.task.model.initial.cid)
    models = {
        train_in_process(town.task, family, initial, rows, seed=seed, accounts=drawn_for).tobytes()
        for seed, drawn_for in (
            (NOISE_SEED, accounts),
            ("city", accounts),
            (NOISE_SEED, accounts[::-1]),
            (NOISE_SEED, ()),
        )
    }
    assert len(models) == 4
    assert theta_of(town.task, forecast(town, family, rows)[-1].model).tobytes() in models


def test_the_forecast_s_payouts_are_those_on_chain(played: Played) -> None:
    """With the opened parts as held-out rows: scores within the tolerance of a replay, and money
    within what that tolerance can move."""
    town = played.town
    family = family_of(town)
    final = town.dao.ledger.final_of(town.task_id)
    report = ScoreReport.parse(town.store.get(of_digest(final.score_digest)))
    assert report.judged_on == "sealed-rows"
    parts = [pd.read_csv(io.BytesIO(part), dtype=str) for part in town.parts]
    sealed = prepared(town.task, family, pd.concat(parts).to_csv(index=False).encode())
    rows = together(town, family)
    steps = steps_of_town(town, family, rows)
    scoring = Scoring(
        town.task,
        family,
        steps,
        contributors=CONTRIBUTORS,
        judging=sealed,
        block_of=lambda index: report.stretches[index].seed,
    )
    for each in forecast(town, family, rows):
        scoring.add(each)
    found = scoring.settle(np.full(CONTRIBUTORS, 40))
    for score, threshold, payout, result in zip(
        found.scores_pico, found.thresholds_pico, found.payouts_wei, report.results, strict=True
    ):
        assert abs(threshold - result.threshold_pico) <= 10_000
        allowed = tolerance_pico(result.score_pico) * len(report.stretches)
        assert abs(score - result.score_pico) <= allowed
        assert payout == pytest.approx(result.payout_wei, rel=1e-5)
    assert found.total_wei <= found.budget_wei == town.task.terms.budget_wei
