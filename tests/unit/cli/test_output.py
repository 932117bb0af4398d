# SPDX-License-Identifier: Apache-2.0
"""Results on stdout, everything else on stderr, and errors with a way out."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli.main import platform_problem
from cli.output import JsonOption, emit, guard
from cli.stopping import SIGNALS, Stopped, stopped_by_signals
from dao.errors import ChainError, CovalueError
from dao.records import BlobRef

REF = BlobRef(cid="b" + "a" * 30, sha256="00" * 32, size=3)


def run(result: object, *words: str) -> Any:
    """Run a command that emits `result`, or raises it."""
    app = typer.Typer()

    @app.command()
    @guard
    def command(as_json: JsonOption = False) -> None:
        if isinstance(result, BaseException):
            raise result
        assert isinstance(result, dict)
        emit(result, as_json=as_json)

    return CliRunner().invoke(app, list(words))


def test_json_is_one_object_on_stdout_with_bytes_paths_and_records() -> None:
    result = run({"data": b"\x01\xff", "path": Path("a/b"), "ref": REF, "n": [1, 2]}, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "data": "0x01ff",
        "path": "a/b",
        "ref": {"cid": REF.cid, "sha256": REF.sha256, "size": 3},
        "n": [1, 2],
    }
    assert result.stderr == ""


def test_people_get_a_line_a_key() -> None:
    result = run({"name": "homes [bold]x[/]", "payout_wei": 12})
    assert result.stdout.splitlines() == ["name        homes [bold]x[/]", "payout_wei  12"]


def test_what_has_no_json_form_is_a_fault_not_a_guess() -> None:
    assert run({"x": object()}, "--json").exit_code == 1


def test_a_refusal_is_message_hint_and_exit_code_2() -> None:
    error = ChainError("the chain [is] busy", hint="try [again]")
    result = run(error)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "the chain [is] busy" in result.stderr
    assert "try [again]" in result.stderr


def test_a_refusal_with_json_is_an_object_on_stdout() -> None:
    result = run(CovalueError("no"), "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout) == {"error": "no", "hint": None}


def test_a_fault_of_ours_is_one_line_and_its_traceback_is_a_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = run(ZeroDivisionError("oh"))
    assert plain.exit_code == 1
    assert "ZeroDivisionError: oh" in plain.stderr
    assert "Traceback" not in plain.stderr
    monkeypatch.setenv("COVALUE_LOG__TRACEBACKS", "1")
    assert "Traceback" in run(ZeroDivisionError("oh")).stderr


def test_a_missing_extra_is_named() -> None:
    result = run(ModuleNotFoundError("No module named 'sklearn.x'", name="sklearn.x"))
    assert result.exit_code == 2
    assert "covalue[demo]" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "stopped by SIGINT"),
        (Stopped(signal.SIGTERM), 143, "stopped by SIGTERM"),
    ],
)
def test_a_signal_ends_with_one_line_and_the_shell_s_code(
    error: KeyboardInterrupt, code: int, line: str
) -> None:
    result = run(error)
    assert result.exit_code == code
    assert result.output.strip() == line


def test_the_first_signal_unwinds_and_a_second_one_does_not_break_off_the_tidying_up() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    tidied = []

    def stopped_twice() -> None:
        with stopped_by_signals():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGINT)
                tidied.append(True)

    with pytest.raises(Stopped) as caught:
        stopped_twice()
    assert caught.value.number == signal.SIGTERM
    assert tidied
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_wrong_options_are_typer_s_own_errors() -> None:
    assert run({}, "--nonsense").exit_code == 2


def test_the_platform_is_checked_in_words() -> None:
    assert platform_problem("linux", (3, 11)) is None
    assert platform_problem("darwin", (3, 12)) is None
    assert "WSL2" in (platform_problem("win32", (3, 11)) or "")
    for python in ((3, 10), (3, 13)):
        problem = platform_problem("linux", python) or ""
        assert f"this is 3.{python[1]}" in problem
        assert "3.11 or 3.12" in problem
