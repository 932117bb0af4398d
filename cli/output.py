# SPDX-License-Identifier: Apache-2.0
"""How every command speaks: results on stdout, logs and errors on stderr.

With `--json` a command prints one JSON object on stdout and nothing else there, also when it
fails: `{"error": ..., "hint": ...}`. Exit codes: 0 done, 1 a fault of ours, 2 refused.
"""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import click
import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

from cli.stopping import Stopped
from dao.errors import CovalueError

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class PlainConsole(Console):
    """A console on which foreign text stays text.

    Titles, proposals and error messages come from strangers: an escape sequence in them could
    redraw what a voter reads, and a change of writing direction could turn it round. Each such
    character is shown as U+FFFD. Rich adds its own styles after this.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """See rich."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(_UNPRINTABLE.sub("\ufffd", segment.text), segment.style)


console = PlainConsole(stderr=True, highlight=False)
"""Logs, progress and errors. Never results."""
out = PlainConsole(highlight=False)
"""Results for people."""

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout; logs go to stderr.")
]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Show the transaction (to, data, meaning) without sending it."),
]

EXTRAS = {
    "sklearn": "demo",
    "lightgbm": "demo",
    "matplotlib": "demo",
    "ray": "simulation",
}
"""Modules that the base install lacks, and the extra that brings them."""

P = ParamSpec("P")
R = TypeVar("R")


def emit(
    result: Mapping[str, object],
    *,
    as_json: bool,
    text: Callable[[Console], object] | None = None,
) -> None:
    """Print a command's result.

    `text` draws it for people on the console it is given; without it, one line a key is
    printed. Bytes become 0x hex; pydantic records their JSON form.
    """
    if as_json:
        sys.stdout.write(json.dumps(result, default=_plain, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    elif text is not None:
        text(out)
    else:
        width = max((len(key) for key in result), default=0)
        for key, value in result.items():
            out.print(f"{key:<{width}}  {_line(value)}", markup=False, soft_wrap=True)


def _line(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: object) -> object:
    """JSON form of what `json` does not know; TypeError for anything unforeseen."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, frozenset | set):
        return sorted(value)
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def guard(command: Callable[P, R]) -> Callable[P, R]:
    """Turn errors of a command into a message, a hint and an exit code.

    A CovalueError is a refusal: message and hint, exit code 2. Ctrl-C exits with 130, another
    signal that unwinds (`cli.stopping`) with 128 and its number. Any other exception is a fault of
    ours: one line and exit code 1; its traceback is printed where the setting `log.tracebacks` is
    on. Whether the command was called with --json is read from its own `as_json` argument.
    """

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        as_json = bool(kwargs.get("as_json", False))
        try:
            return command(*args, **kwargs)
        except CovalueError as error:
            _fail(error.message, hint=error.hint, as_json=as_json, code=2)
        except (click.exceptions.Exit, click.exceptions.Abort, click.ClickException):
            raise
        except KeyboardInterrupt as stop:
            number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
            console.print(f"stopped by {signal.Signals(number).name}")
            raise typer.Exit(128 + number) from None
        except Exception as error:  # noqa: BLE001 - the last place that can still explain itself
            extra = _missing_extra(error)
            if extra is not None:
                _fail(
                    f"this command needs more than the base install: {error}",
                    hint=f"pip install 'covalue[{extra}]'",
                    as_json=as_json,
                    code=2,
                )
            if _tracebacks():
                console.print_exception()
            _fail(
                f"{type(error).__name__}: {error}",
                hint="this is a fault of covalue; COVALUE_LOG__TRACEBACKS=1 shows where",
                as_json=as_json,
                code=1,
            )

    return guarded


def _missing_extra(error: Exception) -> str | None:
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        return EXTRAS.get(error.name.split(".")[0])
    return None


def _tracebacks() -> bool:
    from dao.settings import load_settings

    try:
        return load_settings(None).log.tracebacks
    except CovalueError:
        return True  # the settings themselves are broken: show everything


def _fail(message: str, *, hint: str | None, as_json: bool, code: int) -> NoReturn:
    if as_json:
        sys.stdout.write(json.dumps({"error": message, "hint": hint}, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    else:
        console.print(f"[bold red]refused[/] {escape(message)}" if code == 2 else escape(message))
        if hint:
            console.print(f"[dim]  → {escape(hint)}[/]")
    raise typer.Exit(code)


def call_to_result(call: Any) -> dict[str, object]:
    """An unsent transaction (`dao.contracts` Call) as a result for `--dry-run`."""
    return {
        "to": call.to,
        "data": call.data,
        "value": call.value,
        "description": call.description,
        "sent": False,
    }
