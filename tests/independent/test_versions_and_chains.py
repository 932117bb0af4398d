# SPDX-License-Identifier: Apache-2.0
"""Records of another chain, contract, task or version: both readers refuse them, and say what they
are."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import audit.task
from dao.store import LocalStore
from tests.independent.forging import Forger
from tests.independent.liar_town import Federation

ELSEWHERE: dict[str, Any] = {
    "chain_id": 1,
    "ledger": "0x" + "ab" * 20,
    "task_id": 7,
    "task_digest": "cd" * 32,
}


@pytest.mark.parametrize("document", ["record 2", "checkpoint 0", "report"])
@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_record_of_another_place_is_refused_and_the_place_named(
    newton: Federation, judges: Any, document: str, name: str
) -> None:
    path = ("position", name) if document.startswith("record") else (name,)
    forged = Forger(newton).forge(document, (path, ELSEWHERE[name]))
    product, verifier = judges(newton).say(forged.blocks, forged)
    assert verifier
    assert name in product
    assert str(ELSEWHERE[name]) in product


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_receipt_of_another_place_is_refused_and_the_place_named(
    newton: Federation, judges: Any, name: str
) -> None:
    """Its vault has signed it: there, not here."""
    path = ("receipts", 1, "body", "position", name)
    forged = Forger(newton).forge("record 2", (path, ELSEWHERE[name]))
    product, verifier = judges(newton).say(forged.blocks, forged)
    assert verifier
    assert f"round 2, receipts[1].body.position.{name}: recorded {ELSEWHERE[name]}" in product


def test_a_receipt_that_should_not_count_is_named_before_the_scores_that_follow_from_it(
    newton: Federation, judges: Any
) -> None:
    """Round 2 is judged, and without this update everybody's score is another one."""
    forger = Forger(newton)
    assert forger.document("record 2")["judgements"]
    path = ("receipts", 1, "body", "event", "clip_norm_nano")
    forged = forger.forge("record 2", (path, 12345))
    product, verifier = judges(newton).say(forged.blocks, forged)
    assert verifier
    assert "round 2, receipts[1].body.event: recorded counted" in product


@pytest.mark.parametrize(
    ("document", "version"),
    [
        ("record 2", "covalue.round/2"),
        ("checkpoint 1", "covalue.checkpoint/2"),
        ("report", "covalue.scores/1"),
        ("report", "covalue.scores/3"),
        ("report", "covalue.card/1"),
    ],
)
def test_an_unknown_version_is_refused_and_named(
    newton: Federation, judges: Any, document: str, version: str
) -> None:
    forged = Forger(newton).forge(document, (("kind",), version))
    product, verifier = judges(newton).say(forged.blocks, forged)
    assert verifier
    assert f"a record of version '{version}', expected 'covalue." in product
    kind, _, number = document.partition(" ")
    named = {"record": f"round {number}", "checkpoint": document, "report": "score report"}[kind]
    assert named in product


def test_a_task_of_an_unknown_version_is_refused_and_named(
    newton: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    town, store = newton.played.town, LocalStore(tmp_path / "store")
    newer = store.put(town.task.canonical().replace(b"covalue.task/1", b"covalue.task/2"))
    standing = dataclasses.replace(newton.seen.task, task_digest=newer.sha256)
    seen = dataclasses.replace(newton.seen, task=standing)
    monkeypatch.setattr(audit.task, "read_chain", lambda _dao, _task_id: seen)
    failure = audit.task.audit_task(town.dao, store, town.task_id).first_failure
    assert failure is not None
    assert failure.place == "task record"
    assert "a record of version 'covalue.task/2', expected 'covalue.task/1'" in failure.detail
