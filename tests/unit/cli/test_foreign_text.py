# SPDX-License-Identifier: Apache-2.0
"""What strangers wrote cannot redraw the terminal of who reads it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli import output

FOREIGN = "Homes\x1b[2J\x1b]0;evil\x07\x9b31m\r\u202eegnahc"


@pytest.mark.parametrize("stream", [output.out, output.console])
def test_escape_sequences_of_others_are_shown_and_not_obeyed(
    stream: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(stream, "_force_terminal", True)
    monkeypatch.setattr(stream, "_color_system", Console(force_terminal=True)._color_system)
    monkeypatch.setattr(stream, "_file", shown)
    table = Table(title=FOREIGN)
    table.add_column(FOREIGN)
    table.add_row(FOREIGN)
    stream.print(table)
    stream.print(FOREIGN, markup=False)
    stream.print(f"[bold]{escape(FOREIGN)}[/]")
    text = shown.getvalue()
    assert "Homes" in text
    for sequence in ("\x1b[2J", "\x1b]0", "\x07", "\x9b", "\r", "\u202e"):
        assert sequence not in text


def test_plain_text_and_styles_are_left_alone() -> None:
    shown = io.StringIO()
    stream = output.PlainConsole(file=shown, force_terminal=True, highlight=False, width=80)
    stream.print("[bold]Häuser €\t1[/]\nnext")
    text = shown.getvalue()
    assert "Häuser €" in text
    assert "\x1b[1m" in text
    assert "\nnext\n" in text
