# SPDX-License-Identifier: Apache-2.0
"""The demo's claims, checked from outside on a finished run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from played_world import Played

from dao.messages import check_valuation
from dao.records import Valuation
from demo.devnet import dev_account


def test_poisoner_and_free_rider_are_paid_nothing(played: Played, housing: Any) -> None:
    paid = {each.behaviour: each.payout_wei for each in played.result.standings}
    assert paid["flips labels"] == 0
    assert paid["sends noise"] == 0
    honest = [each for each in played.result.standings if each.behaviour == "honest"]
    # Who has some hundred rows may not be told from noise in its own name.
    assert sum(each.payout_wei > 0 for each in honest) >= (4 if housing.real else 3)
    if housing.real:
        largest = sorted(honest, key=lambda each: each.rows)[-3:]
        assert all(each.payout_wei > 0 for each in largest)


def test_poisoner_is_excluded_and_no_honest_contributor_is(played: Played) -> None:
    excluded = {each.behaviour: each.excluded for each in played.result.standings if each.excluded}
    assert set(excluded) <= {"flips labels", "sends noise"}
    assert "judged" in excluded["flips labels"]


def test_model_beats_public_rows_despite_attackers(played: Played, housing: Any) -> None:
    ours, public, alone, _ = played.result.qualities
    assert ours.r2 > public.r2 > alone.r2
    if housing.real:
        assert ours.r2 >= 0.81


def test_promise_8_payouts_within_budget_and_claimed_once(played: Played) -> None:
    task_id = played.result.provenance.task_id
    terms = played.dao.ledger.terms_of(task_id)
    standings = played.result.standings
    funded, claimed = played.dao.distributor.funded_of(task_id)
    assert sum(each.payout_wei for each in standings) == funded <= terms.budget_wei
    assert [each.claimed_wei for each in standings] == [each.payout_wei for each in standings]
    assert claimed == funded


def test_promise_9_release_is_the_digest_of_a_finalised_task(played: Played) -> None:
    release = played.dao.models.current()
    task = played.dao.ledger.task_of(release.task_id)
    assert task.state.name == "FINALISED"
    assert release.model_digest == task.model_digest == played.result.provenance.model_sha256


def test_answers_are_signed_and_name_their_release(played: Played) -> None:
    told = dict(played.result.valuation)
    told.pop("told")
    valuation = Valuation.model_validate(told)
    check_valuation(valuation)
    assert valuation.signer == dev_account(5).address.lower()
    assert valuation.body.model_sha256 == played.result.provenance.model_sha256
    assert valuation.body.lower_micro <= valuation.body.value_micro <= valuation.body.upper_micro
    provenance = httpx.get(f"{played.api.url}/v1/models/current").json()
    assert provenance["task_digest"] == played.result.provenance.task_digest
    assert len(provenance["contributors"]) == 10
    assert provenance["epsilon_micro"] <= 8_000_000


def test_curl_line_answers(played: Played) -> None:
    done = subprocess.run(
        ["bash", "-c", played.result.curl], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout)["valuations"][0]["body"]["release"] == 1


def test_audit_command_passes_on_the_demo(played: Played) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "cli.main",
            "audit",
            "1",
            "--json",
            "--config",
            str(Path(played.result.folder) / "covalue.toml"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ok"]
    places = [check["place"] for check in found["checks"]]
    assert {"round 1", "round 32", "score report", "release 1", "claims"} <= set(places)
    studies = found["card"]["studies"]
    assert studies[0]["group"] == "all"
    assert studies[0]["rows"] == sum(
        study["rows"] for study in studies if study["group"].startswith("region ")
    )
    assert [each["group"] for each in found["verdicts"]] == [study["group"] for study in studies]


def test_run_leaves_picture_task_file_and_progress(played: Played) -> None:
    folder = Path(played.result.folder)
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert "[target]" in (folder / "task.toml").read_text()
    assert played.events.count("round") == 32
    assert played.events.count("checkpoint") == 6


def test_nothing_but_updates_receipts_and_cosignatures_is_published(played: Played) -> None:
    """No private row's price stands in the public store (promise 5, seen from outside)."""
    folder = Path(played.result.folder)
    published = b"".join(
        path.read_bytes() for path in sorted((folder / "store").rglob("*")) if path.is_file()
    )
    rows = (folder / "contributors/01/vault/records.csv").read_text().splitlines()[1:50]
    assert rows
    assert not [row for row in rows if row.encode() in published]
