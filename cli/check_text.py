# SPDX-License-Identifier: Apache-2.0
"""The result of `covalue contributor check` on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dao.calldata import plain_text

if TYPE_CHECKING:
    from fl_client.check.drift import ColumnDrift, Drift
    from fl_client.check.report import DataReport

QUOTED = 3
"""Cells quoted for one reason; --json and --html have more."""
REASONS = 12
LINES = 5
COLUMNS = 20
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_COLOURS = {"alike": "green", "shifted": "yellow", "far": "red"}
_VERDICTS = {"alike": "alike", "shifted": "shifted", "far": "far apart"}


def tell_check(out: Console, found: Mapping[str, Any], report: DataReport | None) -> None:
    """Ledger, rows, reasons, drift: what counts, what does not and why."""

    def line(text: str, style: str | None = None) -> None:
        out.print(plain_text(text), markup=False, soft_wrap=True, style=style)

    if "ledger_entries" in found:
        line(
            f"ledger: {found['ledger_entries']} entries; epsilon "
            f"{found['epsilon_spent_micro'] / 1e6:g} spent, "
            f"{found['epsilon_charged_micro'] / 1e6:g} charged, "
            f"{found['epsilon_limit_micro'] / 1e6:g} is the lifetime limit"
        )
        for text in found["not_looked_at"]:
            line(f"not held against the ledger: {text}", "yellow")
    if report is not None:
        for text, style in _lines(report, found["rows_that_count"]):
            line(text, style)
        if report.drift is not None:
            _tell_drift(out, report.drift, report.accepted)
        else:
            line(f"drift: not compared: {report.no_drift}")
    if "affordable" in found:
        why = found["refused_because"]
        line("task: the ledger can afford all of it" if why is None else f"task: refused: {why}")
    if report is not None:
        line("This report is for you alone: it quotes your records, and nothing of it was sent.")
    if "html" in found:
        line(f"the whole report: {found['html']}")


def _lines(report: DataReport, counted: int) -> Iterator[tuple[str, str | None]]:
    """One line of text with its style, each."""
    yield f"records: {counted:,} of {report.rows:,} rows count ({report.file})", "bold"
    if not report.accepted:
        yield "  no row counts: updates would be noise alone, and earn nothing", "bold red"
    for note in report.notes:
        yield f"  {'likely cause: ' if note.is_cause else ''}{note.told}", "yellow"
    yield from _rejected(report)
    for words in report.unseen:
        then = "count as other" if words.counted_as_other else "are rejected"
        named = [f"{each.value!r} ({each.rows:,})" for each in words.values]
        yield (
            f"  {_count(words.rows, 'row')} with a {words.column} that the task does not list "
            f"{then}: {_first(named, LINES)}",
            None,
        )
    yield from _units(report)
    if report.duplicates.rows:
        equal = [
            f"{report.place} {each.line} equals {each.first_line}"
            for each in report.duplicates.examples
        ]
        yield (
            f"  {_count(report.duplicates.rows, 'duplicate')} of an earlier row; each counts "
            f"({_first(equal, QUOTED)})",
            None,
        )
    if report.unread:
        yield f"  columns that the task does not read: {_first(report.unread, REASONS)}", "dim"


def _rejected(report: DataReport) -> Iterator[tuple[str, str | None]]:
    for rejection in report.rejections[:REASONS]:
        yield (
            f"  {_count(rejection.rows, 'row')} rejected: {rejection.column} {rejection.broke}",
            None,
        )
        for each in rejection.examples[:QUOTED]:
            yield (
                f"    {report.place} {each.line}, {rejection.column}: got {each.value!r}, "
                f"expected {rejection.expected}",
                "dim",
            )
    if len(report.rejections) > REASONS:
        more = len(report.rejections) - REASONS
        yield f"  and {more} more reasons: see --html or --json", None
    if report.rejections:
        yield "  rows with such a cell stay out; correct them, or leave them out", None


def _units(report: DataReport) -> Iterator[tuple[str, str | None]]:
    units = report.units
    if units.column is not None:
        yield f"  {_count(units.units, 'privacy unit')}, by {units.column}", None
    if units.crowded:
        largest = [
            f"{_count(each.rows, 'row')} from {report.place} {each.first_line} on"
            for each in units.largest
        ]
        yield (
            f"  {_count(units.crowded, 'unit')} with more than {_count(units.max_rows, 'row')}: "
            f"the first {units.max_rows} in file order count, {units.uncounted_rows:,} do not "
            f"(largest: {_first(largest, QUOTED)})",
            None,
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _first(items: Sequence[str], count: int) -> str:
    return ", ".join(items[:count]) + (", ..." if len(items) > count else "")


def _tell_drift(out: Console, drift: Drift, accepted: int) -> None:
    sampled = "" if drift.compared_rows == accepted else " (a random sample)"
    out.print(
        f"drift: {drift.compared_rows:,} accepted rows{sampled} beside {drift.public_rows:,} "
        "public rows; other rows are no fault, another unit or currency is",
        soft_wrap=True,
    )
    for unit in drift.other_units:
        out.print(plain_text(f"  {unit.told}"), markup=False, soft_wrap=True, style="bold red")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("column", overflow="fold")
    table.add_column("")
    table.add_column("index", justify="right")
    table.add_column("rows")
    table.add_column("median", justify="right")
    table.add_column("shares", no_wrap=True)
    for column in drift.columns[:COLUMNS]:
        table.add_row(
            Text(plain_text(column.column)),
            Text(_VERDICTS[column.verdict], style=_COLOURS[column.verdict]),
            f"{column.index:.3f}",
            "public\nyours",
            _medians(column),
            _spark([bar.public for bar in column.bars], column)
            + "\n"
            + _spark([bar.own for bar in column.bars], column),
        )
    out.print(table)
    if len(drift.columns) > COLUMNS:
        out.print(f"  and {len(drift.columns) - COLUMNS} more columns: see --html or --json")
    place = drift.location
    if place is not None:
        out.print(
            f"  location: {place.outside_share:.1%} of your rows outside the public rows' box, "
            f"{place.far_share:.1%} farther than {place.reach_km:.3g} km from every public row",
            soft_wrap=True,
        )


def _medians(column: ColumnDrift) -> str:
    for quantile in column.quantiles:
        if quantile.level == 0.5:
            pair = (quantile.public, quantile.own)
            return "\n".join(each if isinstance(each, str) else f"{each:,.6g}" for each in pair)
    return ""


def _spark(shares: Sequence[float], column: ColumnDrift) -> str:
    """Shares as blocks, a positive one never as a blank; both rows of a column have one scale."""
    top = max(max(bar.public, bar.own) for bar in column.bars) or 1.0
    return "".join(_EIGHTHS[math.ceil(8 * share / top)] for share in shares)
