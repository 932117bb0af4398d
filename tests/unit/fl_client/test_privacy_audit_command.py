# SPDX-License-Identifier: Apache-2.0
"""`covalue contributor audit-privacy`: what it prints, its exit codes, and which task it takes."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from vault_world import ACCOUNT, VaultWorld, world

import cli.contributor_audit
from cli.commands import root
from cli.contributor_audit import picture
from dao.contracts.task_types import TaskState
from fl_client.canary_rows import Probe
from fl_client.privacy_audit import Finding
from privacy.trade_off import NoiseBound

__all__ = ["world"]


@pytest.fixture
def joined(world: VaultWorld, monkeypatch: pytest.MonkeyPatch) -> dict[int, VaultWorld]:
    """Tasks by number that the chain of the command knows, all joined; at first the world's, 7."""
    tasks = {7: world}
    (world.folder / "vault").mkdir(exist_ok=True)
    (world.folder / "vault" / "account").write_text(ACCOUNT + "\n")

    def task_of(number: int) -> Any:
        known = tasks.get(number)
        if known is None:
            return SimpleNamespace(state=TaskState.NONE)
        return SimpleNamespace(state=TaskState.RUNNING, task_digest=known.task.digest())

    dao = SimpleNamespace(
        registry=SimpleNamespace(open_tasks_of=lambda account: tuple(tasks)),
        ledger=SimpleNamespace(task_of=task_of),
    )
    settings = SimpleNamespace(vault=SimpleNamespace(path=world.folder / "vault"))
    monkeypatch.setattr(cli.contributor_audit, "open_contracts", lambda _: (settings, dao))
    monkeypatch.setattr(cli.contributor_audit, "open_vault", lambda _: world.open())
    return tasks


def run(*words: str) -> Result:
    return CliRunner().invoke(
        root, ["contributor", "audit-privacy", "--trials", "200", *words], prog_name="covalue"
    )


def test_claimed_and_proven_epsilon_stand_side_by_side(
    joined: dict[int, VaultWorld], world: VaultWorld
) -> None:
    done = run()
    assert done.exit_code == 0, done.output
    line = re.search(
        r"claimed epsilon (\S+), proven at least (\S+) \(95%\) at delta 1e-05", done.stdout
    )
    assert line is not None, done.stdout
    assert float(line[1]) == 8.0
    assert 3.0 < float(line[2]) < 8.0
    assert "nothing was charged" in done.stdout
    assert "seeded" in done.stdout


def test_json_holds_every_probe_and_a_refuted_claim_is_exit_code_3(
    joined: dict[int, VaultWorld], world: VaultWorld
) -> None:
    policy = world.task.policy.model_copy(update={"epsilon_micro": 2_000_000})
    world.adopt(world.task.model_copy(update={"policy": policy}))
    done = run("--json", "--task", "7")
    assert done.exit_code == 3, done.output
    result = json.loads(done.stdout)
    assert result["holds"] is False
    assert result["claimed_epsilon_micro"] == 2_000_000 < result["proven_epsilon_micro"]
    assert result["task_digest"] == world.task.digest()
    assert [probe["rows_per_unit"] for probe in result["probes"]] == [1, 1, 3]
    assert all(probe["trials"] == 200 for probe in result["probes"])
    assert "claim does not hold" in run().stdout


def test_without_a_joined_task_the_ledgers_newest_is_taken_else_one_is_asked_for(
    joined: dict[int, VaultWorld], world: VaultWorld
) -> None:
    joined.clear()
    done = run()
    assert done.exit_code == 2
    assert "--task" in done.output
    world.open().answer(world.request())
    done = run("--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["task_digest"] == world.task.digest()


def test_a_task_that_is_not_there_is_refused(joined: dict[int, VaultWorld]) -> None:
    done = run("--task", "8")
    assert done.exit_code == 2
    assert "no task 8" in done.output


def test_the_picture_shows_where_scores_lie() -> None:
    finding = Finding(
        kind="train",
        probe=Probe("units of one row", 4, 1),
        sigma=1.0,
        bound=NoiseBound(threshold=5.0, false_alarms=0.1, misses=0.1, sigma=1.1),
        without=np.array([0.0] * 8 + [1.0] * 2),
        present=np.array([9.0] * 3 + [10.0] * 3),
    )
    width = len("with 4 units of 1 row")
    lines = picture(finding)
    assert [line[:width].strip() for line in lines] == [
        "without canaries",
        "with 4 units of 1 row",
        "called canaries from",
    ]
    # 48 cells from 0 to 10: 1 falls into cell 4, 5 into cell 24, 9 into cell 43.
    without, present, mark = (line[width + 2 :] for line in lines)
    assert without.rstrip() == "█" + " " * 3 + "▂"
    assert present == " " * 43 + "█" + " " * 3 + "█"
    assert mark == " " * 24 + "^"
