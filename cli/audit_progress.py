# SPDX-License-Identifier: Apache-2.0
"""How far an audit is, on stderr: a bar on a terminal, else one line a round."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from audit.checks import Progress


@contextmanager
def shown_progress(console: Console, *, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """What an audit tells, shown while the block runs; nothing where `quiet`."""
    if quiet:
        yield lambda each: None
    elif console.is_terminal:
        with _bar(console) as tell:
            yield tell
    else:
        yield _lines(console)


@contextmanager
def _bar(console: Console) -> Iterator[Callable[[Progress], None]]:
    columns = (
        TextColumn("auditing rounds"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        rounds = bar.add_task("", total=None)

        def tell(each: Progress) -> None:
            bar.update(
                rounds,
                description=escape(each.place),
                total=each.rounds,
                completed=each.rounds_done,
            )

        yield tell


def _lines(console: Console) -> Callable[[Progress], None]:
    told = 0

    def tell(each: Progress) -> None:
        nonlocal told
        if each.rounds_done > told:
            told = each.rounds_done
            console.print(f"round {told} of {each.rounds} checked", soft_wrap=True)

    return tell
