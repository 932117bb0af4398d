# SPDX-License-Identifier: Apache-2.0
"""`covalue audit`: what it prints where, its exit code, and how it goes on after Ctrl-C."""

from __future__ import annotations

import functools
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import CliRunner, Result

import audit.asking
import audit.training
from audit.checks import Progress
from cli.audit_progress import shown_progress
from cli.commands import root
from cli.output import PlainConsole
from dao.cid import parse_cid
from dao.peer import BlockServer
from dao.store import LocalStore
from rounds.replay import replay_round
from tests.independent.forging import Forger
from tests.independent.liar_town import Federation

Run = Callable[..., Result]


@pytest.fixture
def store(newton: Federation, tmp_path: Path) -> LocalStore:
    """A copy of what was published."""
    shutil.copytree(newton.played.town.store.path, tmp_path / "store")
    return LocalStore(tmp_path / "store")


@pytest.fixture
def run(
    newton: Federation, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs the command in a home of its own, with peers where they are named."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    town = newton.played.town

    def command(*words: str, path: Path = store.path, peers: tuple[str, ...] = ()) -> Result:
        settings = {
            "chain": {
                "rpc_url": town.net.rpc_url,
                "deployment": str(town.folder / "deployment.json"),
            },
            "store": {"path": str(path), "peers": list(peers)},
        }
        (tmp_path / "covalue.toml").write_text(tomli_w.dumps(settings))
        config = str(tmp_path / "covalue.toml")
        given = ["audit", str(town.task_id), "--allow-seeded", "--config", config, *words]
        return CliRunner().invoke(root, given)

    return command


def update_of_round(newton: Federation, number: int) -> str:
    """CID of an update that counts."""
    cid: str = Forger(newton).document(f"record {number}")["receipts"][0]["body"]["update"]["cid"]
    return cid


def test_it_says_on_stderr_which_rounds_are_checked_and_on_stdout_what_it_found(
    run: Run, newton: Federation
) -> None:
    found = run()
    assert found.exit_code == 0, found.output
    rounds = newton.seen.task.last_round
    assert found.stderr.splitlines() == [
        f"round {number} of {rounds} checked" for number in range(1, rounds + 1)
    ]
    assert found.stdout.startswith(f"passed task {newton.seen.task_id} at block")


def test_with_json_it_prints_one_object_and_no_progress(run: Run) -> None:
    found = run("--json")
    assert (found.exit_code, found.stderr) == (0, "")
    said = json.loads(found.stdout)
    assert (said["ok"], said["first_failure"], said["rounds_kept"]) == (True, None, 0)


@pytest.mark.parametrize("lost", [False, True])
def test_it_names_the_first_difference_and_exits_with_3(
    run: Run, newton: Federation, store: LocalStore, lost: bool
) -> None:
    cid = update_of_round(newton, 3)
    path = store.block_path(parse_cid(cid))
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    if lost:
        path.unlink()
    found = run("--json")
    failure = json.loads(found.stdout)["first_failure"]
    assert found.exit_code == 3
    assert failure["place"] == "round 3"
    assert failure["fault"] == ("withheld" if lost else "unreadable")
    assert cid in failure["detail"]
    told = run()
    assert told.exit_code == 3
    assert f"FAILED at round 3: {failure['fault']}" in told.stdout
    assert cid in told.stdout


@pytest.fixture
def without(store: LocalStore, newton: Federation, tmp_path: Path) -> LocalStore:
    """A store that lacks one update of round 3."""
    shutil.copytree(store.path, tmp_path / "without")
    found = LocalStore(tmp_path / "without")
    found.block_path(parse_cid(update_of_round(newton, 3))).unlink()
    return found


class Liar:
    """Somebody who has an answer to everything."""

    name = "liar"

    def get_block(self, cid: bytes) -> bytes:
        return b"something else"


@pytest.fixture
def peers(store: LocalStore, without: LocalStore) -> Iterator[tuple[str, str, str]]:
    """One that lies, one that lacks a block, one that has all of them."""
    with (
        BlockServer(Liar(), port=0) as liar,
        BlockServer(LocalStore(without.path), port=0) as poor,
        BlockServer(store, port=0) as honest,
    ):
        yield liar.url, poor.url, honest.url


def test_what_is_missing_comes_from_the_peer_that_has_it(
    run: Run, tmp_path: Path, peers: tuple[str, str, str]
) -> None:
    """Even where nothing lies in the own store, and the first that is asked lies."""
    found = run("--json", path=tmp_path / "empty", peers=peers)
    assert found.exit_code == 0, found.stdout


def test_what_nobody_has_is_asked_for_again_and_named_as_withheld(
    run: Run,
    newton: Federation,
    without: LocalStore,
    peers: tuple[str, str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    quick = functools.partial(audit.asking.AskingAgain, wait=waits.append)
    monkeypatch.setattr(audit.asking, "AskingAgain", quick)
    found = run("--json", path=without.path, peers=peers[:2])
    failure: dict[str, Any] = json.loads(found.stdout)["first_failure"]
    assert found.exit_code == 3
    assert (failure["place"], failure["fault"]) == ("round 3", "withheld")
    assert "withheld: asked for 3 times" in failure["detail"]
    assert update_of_round(newton, 3) in failure["detail"]
    assert all(url in failure["detail"] for url in peers[:2])
    assert waits == list(audit.asking.PAUSES_SECONDS)


def test_after_ctrl_c_it_goes_on_and_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(given: Any, point: Any, signed: Any) -> Any:
        if signed.record.position.round == 4:
            raise KeyboardInterrupt
        return replay_round(given, point, signed)

    monkeypatch.setattr(audit.training, "replay_round", pressed)
    assert run("--json").exit_code == 130
    monkeypatch.setattr(audit.training, "replay_round", replay_round)
    fresh = json.loads(run("--json", "--fresh").stdout)
    told = run()
    assert (fresh["ok"], fresh["rounds_kept"]) == (True, 0)
    assert told.exit_code == 0
    assert "rounds 1 to 2 were recomputed by an earlier audit" in told.stdout
    assert json.loads(run("--json").stdout)["rounds_kept"] == 0, "it passed: nothing is kept"


def test_on_a_terminal_there_is_a_bar_of_rounds() -> None:
    screen = io.StringIO()
    console = PlainConsole(file=screen, force_terminal=True, width=100)
    with shown_progress(console, quiet=False) as tell:
        tell(Progress("round 12", rounds_done=12, rounds=34))
    assert "auditing rounds" in screen.getvalue()
    assert "12/34" in screen.getvalue()
