# SPDX-License-Identifier: Apache-2.0
"""The table of commands. A command's module is imported when it is asked for, and not before:
`covalue member vote` loads neither torch nor Flower."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Literal

import click
import typer
from typer.core import TyperGroup
from typer.main import get_command_from_info, get_group

COMMANDS: dict[str, str] = {
    "demo": "The whole loop on this machine, from a CSV to a served valuation.",
    "devnet": "A local chain with its state on disk.",
    "dao": "Deploy the contracts; show what is deployed.",
    "contributor": "Hold private records, train with them, be paid.",
    "task": "Draft, check, forecast and propose a training task.",
    "coordinator": "Run the federation of a task.",
    "member": "Delegate, propose, read proposals, vote, queue, execute.",
    "model": "Released models: list, show, propose, take back, verify an answer.",
    "audit": "Recompute a task from chain and store, and compare every digest.",
    "serve": "Answer valuations from the released model over HTTP.",
}
"""Name and one line of help, in the order of a task's life."""

HELP_MARKUP: Literal["markdown"] = "markdown"
"""Help is wrapped to the terminal, not where the docstring's lines end."""


def load_command(name: str) -> click.Command:
    """Import `cli.<name>` and turn its `app` (a Typer app or a function) into a command."""
    app: typer.Typer | Callable[..., Any] = importlib.import_module(f"cli.{name}").app
    if not isinstance(app, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command()(app)
        app = single
    app.rich_markup_mode = HELP_MARKUP
    if len(app.registered_commands) == 1 and not app.registered_groups:
        command: click.Command = get_command_from_info(
            app.registered_commands[0], pretty_exceptions_short=True, rich_markup_mode=HELP_MARKUP
        )
    else:
        command = get_group(app)
    command.name = name
    return command


class LazyGroup(TyperGroup):
    """A group that knows its commands' names and help, and loads the one that is called."""

    def __init__(self, **attrs: Any) -> None:
        attrs["commands"] = {
            name: click.Command(name, help=line) for name, line in COMMANDS.items()
        }
        super().__init__(**attrs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else load_command(name), rest


root = LazyGroup(
    name="covalue",
    no_args_is_help=True,
    rich_markup_mode=HELP_MARKUP,
    context_settings={"help_option_names": ["--help", "-h"]},
    help=(
        "Covalue: a data DAO that trains one valuation model on records nobody shows. "
        "Start with `covalue demo`."
    ),
)
