# SPDX-License-Identifier: Apache-2.0
"""The API over a real chain: nothing before a release, answers after it, none once suspended."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chain_world import CONTRIBUTORS, GUARDIAN, STRANGER, Job, address, run_vote, small_task
from fastapi.testclient import TestClient
from safetensors.numpy import save
from settled_task import report
from typer.testing import CliRunner

from cli.model import app as model_app
from dao.contracts.task_types import ChainCheckpoint, FinalReport
from dao.errors import KeyFileError
from dao.governance import propose_release
from dao.keystore import AccountKey, create_password
from dao.open_store import open_store
from dao.records import BlobRef, ContributorResult, ModelCard, ScoreReport, Task
from dao.settings import load_settings
from dao.store import Store
from demo.devnet import dev_account
from inference.app import create_app
from inference.provider import ChainProvider, ChainReleases
from inference.server import build_app
from inference.signing import AccountSigner
from valuation.mlp import OUTPUT_SCALE
from valuation.ratio_study import ratio_studies

SLOPE, BIAS = 0.8, 0.1
ROW = {"area": 120.5}
_PRICES = np.linspace(100_000.0, 900_000.0, 200)
STUDIES = ratio_studies(_PRICES, 200_000.0 + 0.6 * _PRICES, None)
"""Of a model that estimates dear homes far too low."""


def linear_task(store: Store) -> tuple[Task, BlobRef]:
    """A task whose model is a straight line in log(area), and that model."""
    setup = store.put(save({"frequencies": np.zeros((2, 0)), "phases": np.zeros(0)}))
    theta = np.rint(np.array([SLOPE, BIAS]) / OUTPUT_SCALE * 2.0**40).astype("<i8")
    model = store.put(theta.tobytes() + bytes(2 * theta.nbytes))
    task = small_task()
    spec = task.model.model_copy(
        update={"hidden": (), "parameters": 2, "setup": setup, "initial": model}
    )
    task = task.model_copy(update={"model": spec})
    store.put(task.canonical())
    return task, model


def score_report(job: Job, model: BlobRef) -> ScoreReport:
    """A report about this model; its amounts are those of settled_task."""
    given = report(job)
    card = ModelCard(
        kind="covalue.card/1",
        task_digest=job.task.digest(),
        title=job.task.title,
        asset_class=job.task.asset_class,
        target=job.task.target,
        family="mlp",
        model=model,
        rounds=5,
        epsilon_micro=given.epsilon_micro,
        delta_e12=10**7,
        contributors=len(CONTRIBUTORS),
        rows_judged=100,
        studies=STUDIES,
        interval_level_micro=900_000,
        stretch_center_micro=0,
        stretch_slope_micro=1_000_000,
        calibrated=None,
        interval_halfwidth_micro=200_000,
        licence=job.task.licence,
    )
    return ScoreReport(
        kind="covalue.scores/2",
        chain_id=job.dao.chain.chain_id,
        ledger=job.dao.ledger.address,
        task_id=job.task_id,
        task_digest=job.task.digest(),
        model=model,
        judged_on="sealed-rows",
        parts=(),
        stretches=(),
        results=tuple(
            ContributorResult(
                contributor=address(index),
                score_pico=0,
                standard_error_pico=0,
                threshold_pico=0,
                payout_wei=0,
                share_wad=0,
                epsilon_micro=given.epsilon_micro,
                rounds_answered=5,
            )
            for index in CONTRIBUTORS
        ),
        payout_total_wei=given.payout_total_wei,
        payout_root=given.payout_root,
        share_root=given.share_root,
        card=card,
    )


def finalise(job: Job, store: Store, model: BlobRef) -> None:
    """Train, close and finalise the task with this model."""
    job.start()
    for index, (first, last) in enumerate(((1, 2), (3, 4), (5, 5))):
        plain: ChainCheckpoint = job.checkpoint(index, first, last)
        job.commit(replace(plain, model_digest=model.sha256))
    job.open_parts()
    scores = store.put(score_report(job, model).canonical())
    final: FinalReport = replace(report(job), score_digest=scores.sha256, score_cid=scores.cid)
    job.close(final)
    job.devnet.advance_to(job.dao.ledger.task_of(job.task_id).challenge_deadline + 1)
    job.send(STRANGER, job.dao.ledger.finalise(job.task_id))


@pytest.fixture
def folder(job: Job, covalue_folder: Path) -> Path:
    """A server's folder: settings, deployment, the signer's keystore."""
    job.dao.deployment.write(covalue_folder / "deployment.json")
    create_password(covalue_folder / "signer.password")
    AccountKey.create(
        covalue_folder / "signer.json",
        covalue_folder / "signer.password",
        light=True,
        secret=bytes(dev_account(STRANGER).key),
    )
    (covalue_folder / "covalue.toml").write_text(
        f'[chain]\nrpc_url = "{job.dao.chain.rpc_url}"\n'
        '[api]\nsigner_keystore = "signer.json"\npassword_file = "signer.password"\n'
    )
    return covalue_folder


def ask(*words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(model_app, [*words, "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.mark.promise(10)
def test_promise_10_from_no_release_to_answers_to_suspension(job: Job, folder: Path) -> None:
    store = open_store(load_settings().store)
    job.task, model = linear_task(store)
    dao = job.dao
    source = ChainReleases(dao.chain, registry=dao.models.address, ledger=dao.ledger.address)
    app = create_app(
        ChainProvider(source, store, refresh_seconds=0.0), AccountSigner(dev_account(STRANGER))
    )
    client = TestClient(app)
    assert ask("list")["releases"] == []
    assert "no model" in ask("show", code=2)["error"]

    finalise(job, store, model)
    before = client.post("/v1/valuations", json=ROW)
    assert before.status_code == 503
    assert before.json()["error"] == "no model has been released yet"

    run_vote(job.devnet, dao, propose_release(dao, job.task_id))
    answer = client.post("/v1/valuations", json=ROW)
    assert answer.status_code == 200, answer.text
    [body] = [item["body"] for item in answer.json()["valuations"]]
    expected = math.exp(12.0 + 0.5 * (SLOPE * (math.log(120.5) - 4.0) / 0.4 + BIAS))
    assert int(body["value_micro"]) / 1e6 == pytest.approx(expected, rel=1e-9)
    assert body["model_sha256"] == model.sha256
    shown = client.get("/v1/models/current").json()
    assert shown["contributors"] == [address(index) for index in CONTRIBUTORS]
    assert shown["block"] == dao.chain.block().number

    (folder / "answer.json").write_text(answer.text)
    (folder / "row.json").write_text(json.dumps(ROW))
    assert ask("verify", "answer.json", "--row", "row.json", "--signer", address(STRANGER))["ok"]
    assert [item["status"] for item in ask("list")["releases"]] == ["released"]
    card = ask("show")
    assert card["card"]["title"] == "Homes of a town"
    assert card["card"]["studies"][0]["prd_micro"] == STUDIES[0].prd_micro
    assert card["verdicts"][0]["prd"] == card["verdicts"][0]["mki"] == "outside"
    table = CliRunner().invoke(model_app, ["show"]).output
    [whole] = [line for line in table.splitlines() if line.startswith("all ")]
    assert f"{STUDIES[0].prd_micro / 1e6:.3f}!" in whole
    assert shown["studies"][0]["prd_micro"] == STUDIES[0].prd_micro

    job.send(GUARDIAN, dao.models.suspend(1))
    after = client.post("/v1/valuations", json=ROW)
    assert after.status_code == 503
    assert after.json()["error"] == "release 1 is suspended"
    late = ask("verify", "answer.json", code=3)
    assert "is suspended now" in late["checks"][-1]["detail"]


def test_the_server_starts_from_its_folder_and_says_what_is_missing(job: Job, folder: Path) -> None:
    client = TestClient(build_app(load_settings()))
    assert client.get("/healthz").json()["reason"] == "no model has been released yet"
    (folder / "signer.password").unlink()
    with pytest.raises(KeyFileError):
        build_app(load_settings())


def test_an_unfinished_task_cannot_be_proposed_for_release(job: Job, folder: Path) -> None:
    job.open()
    refused = ask("propose", str(job.task_id), "--dry-run", code=2)
    assert "only a finalised task can be released" in refused["error"]
