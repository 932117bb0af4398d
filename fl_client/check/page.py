# SPDX-License-Identifier: Apache-2.0
"""A data report as one HTML file: no script, nothing loaded, every foreign text escaped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from dao.errors import InputError
from fl_client.check.drift import ColumnDrift, Drift, LocationDrift
from fl_client.check.pictures import OWN, PUBLIC, histogram, place_map, share, text, word_bars
from fl_client.check.report import STAYS_HERE, DataReport, Rejection, UnseenWords

_MARK = "<!-- covalue data check -->"
_LISTED = 20
VERDICTS = {"alike": "alike", "shifted": "shifted", "far": "far apart"}


def render_page(report: DataReport, *, task: str) -> str:
    """The whole page. `task` says in words what the file was checked against."""
    template = files("fl_client").joinpath("templates/data_check.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        file=text(report.file),
        task=text(task),
        stays_here=text(STAYS_HERE),
        figures=_figures(report),
        findings=_findings(report),
        drift=_drift(report),
    )


def write_page(path: Path, page: str) -> None:
    """Write the page for its owner's eyes (mode 0600). An earlier report is replaced, any other
    file is not.

    Raises:
        InputError: there is another file, or the place cannot be written.
    """
    try:
        if path.exists() and _MARK not in path.read_bytes()[:200].decode("utf-8", "replace"):
            raise InputError(
                f"{path} exists and is no earlier report", hint="give another name after --html"
            )
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(page)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}", hint="name a file in a folder of yours"
        ) from error


def _figures(report: DataReport) -> str:
    counted = report.accepted - report.units.uncounted_rows
    pairs = [
        (f"{report.rows:,}", "rows"),
        (f"{counted:,}", "count"),
        (f"{report.rows - report.accepted:,}", "rejected"),
        (f"{report.units.uncounted_rows:,}", "beyond their unit's limit"),
        (f"{report.duplicates.rows:,}", "equal an earlier row"),
        (f"{report.units.units:,}", "privacy units"),
    ]
    return "".join(f'<div class="figure"><b>{value}</b>{name}</div>' for value, name in pairs)


def _findings(report: DataReport) -> str:
    parts: list[str] = []
    causes = [note for note in report.notes if note.is_cause]
    silent = [note for note in report.notes if not note.is_cause]
    for title, notes in (("Likely causes", causes), ("Columns that tell nothing", silent)):
        if notes:
            items = "".join(f"<li>{text(note.told)}</li>" for note in notes)
            parts.append(f"<h2>{title}</h2><ul>{items}</ul>")
    parts.append("<h2>Rejected rows</h2>")
    if report.rejections:
        parts.append(
            "<p>A row with such a cell stays out of training. A row may appear under several "
            "reasons.</p>"
        )
        parts += [_rejection(each, report.place) for each in report.rejections]
    else:
        parts.append("<p>None: every row fits the task.</p>")
    parts += [_unseen(words, report.place) for words in report.unseen]
    parts.append(_units(report))
    if report.duplicates.rows:
        rows = [(each.line, each.first_line) for each in report.duplicates.examples[:_LISTED]]
        parts.append(
            f"<h2>Duplicates</h2><p>{report.duplicates.rows:,} rows equal an earlier one in every "
            "column. Each counts; if one sale was entered twice, remove the second.</p>"
            + _table((report.place, f"equals {report.place}"), rows, numbers=2)
        )
    if report.unread:
        parts.append(
            "<h2>Columns that the task does not read</h2><p>"
            + ", ".join(text(column) for column in report.unread)
            + "</p>"
        )
    return "\n".join(parts)


def _rejection(rejection: Rejection, place: str) -> str:
    more = rejection.rows - len(rejection.examples)
    rows = [(each.line, each.value) for each in rejection.examples]
    return (
        f"<details><summary><b>{text(rejection.column)}</b>: {text(rejection.broke)} "
        f"({rejection.rows:,} rows)</summary><p>Expected {text(rejection.expected)}.</p>"
        + _table((place, "value"), rows, numbers=1)
        + (f"<p>and {more:,} more</p>" if more else "")
        + "</details>"
    )


def _unseen(words: UnseenWords, place: str) -> str:
    then = "count as other" if words.counted_as_other else "are rejected"
    rows = [(each.rows, each.first_line, each.value) for each in words.values[:_LISTED]]
    return (
        f"<h2>Words that the task does not know: {text(words.column)}</h2>"
        f"<p>{words.rows:,} rows hold a word that the task does not list; they {then}.</p>"
        + _table(("rows", f"first {place}", "word"), rows, numbers=2)
    )


def _units(report: DataReport) -> str:
    units = report.units
    if units.column is None:
        return "<h2>Privacy units</h2><p>Each row is a unit of its own.</p>"
    told = (
        f"<h2>Privacy units</h2><p>{units.units:,} units by {text(units.column)}; of each, the "
        f"first {units.max_rows:,} rows in file order count. Units with more: {units.crowded:,}; "
        f"rows that do not count for it: {units.uncounted_rows:,}.</p>"
    )
    if not units.crowded:
        return told
    rows = [(each.first_line, each.rows) for each in units.largest[:_LISTED]]
    return told + _table((f"first {report.place} of the unit", "rows"), rows, numbers=2)


def _drift(report: DataReport) -> str:
    drift = report.drift
    if drift is None:
        return f"<p>Not compared: {text(report.no_drift)}.</p>"
    whole = drift.compared_rows == report.accepted
    sampled = "" if whole else " (a random sample of yours)"
    told = (
        f"<p>{drift.compared_rows:,} accepted rows{sampled} beside {drift.public_rows:,} public "
        "ones. Other rows than the public ones are no fault: they are what a model can learn from. "
        "Look for what is one, such as another unit or currency.</p>"
        f'<p><span class="key" style="background:{PUBLIC}"></span>public '
        f'<span class="key" style="background:{OWN}"></span>yours</p>'
    )
    items = "".join(f"<li>{text(each.told)}</li>" for each in drift.other_units)
    units = f'<ul class="far">{items}</ul>' if items else ""
    cards = "".join(_card(column) for column in drift.columns)
    place = "" if drift.location is None else _place(drift.location)
    return f'{told}{units}{place}<div class="drift">{cards}</div>{_method(drift)}'


def _method(drift: Drift) -> str:
    return (
        "<p>Population stability index: below 0.1 alike, above 0.25 far apart; in brackets what "
        f"chance alone reaches in one column of twenty with {drift.public_rows:,} public rows.</p>"
    )


def _place(location: LocationDrift) -> str:
    return (
        '<div class="card"><h3>Location</h3>'
        f"<p>{share(location.outside_share)} of your rows lie outside the public rows' box "
        f"({location.south:.4g} to {location.north:.4g} north, {location.west:.4g} to "
        f"{location.east:.4g} east); {share(location.far_share)} lie farther than "
        f"{location.reach_km:.3g} km from every public row.</p>{place_map(location)}</div>"
    )


def _card(column: ColumnDrift) -> str:
    picture = word_bars if column.kind == "category" else histogram
    levels = ""
    if column.quantiles:
        rows = [
            (f"{each.level:.0%}", _shown(each.public), _shown(each.own))
            for each in column.quantiles
        ]
        levels = _table(("quantile", "public", "yours"), rows, numbers=3)
    return (
        f'<div class="card"><h3>{text(column.column)}: <span class="{column.verdict}">'
        f"{VERDICTS[column.verdict]}</span> {column.index:.3f} ({column.chance:.3f})</h3>"
        f"{picture(column.bars)}{levels}</div>"
    )


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.6g}"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: int) -> str:
    """A table; the first `numbers` columns are set to the right, the others as quoted text."""
    kinds = ["n" if i < numbers else "v" for i in range(len(header))]
    head = "".join(
        f'<th class="{kind}">{text(name)}</th>' for kind, name in zip(kinds, header, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}">{text(cell)}</td>' for kind, cell in zip(kinds, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"
