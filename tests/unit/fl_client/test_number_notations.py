# SPDX-License-Identifier: Apache-2.0
"""Numbers with a unit, separated thousands or a decimal comma: the data check says so."""

from __future__ import annotations

import io
from html import unescape

import pytest
from check_world import inspect, make_schema, market
from rich.console import Console

from cli.check_text import tell_check
from dao.records import NumberFeature
from fl_client.check.number_notations import Notation, notation_of
from fl_client.check.page import render_page
from fl_client.check.report import DataReport
from valuation.columns import parse_numbers

SCHEMA = make_schema()
AREA = next(
    each.column
    for each in SCHEMA.features
    if isinstance(each, NumberFeature) and each.lower_micro > 0
)
PRICE = SCHEMA.target.column


def _told(report: DataReport, notation: Notation) -> list[str]:
    return [note.told for note in report.notes if note.problem == notation.value]


def _on_terminal(report: DataReport) -> str:
    out = io.StringIO()
    tell_check(Console(file=out, width=200), {"rows_that_count": report.accepted}, report)
    return out.getvalue()


@pytest.mark.parametrize(
    ("notation", "cells"),
    [
        (Notation.UNIT, ["12 m", "85 m²", "120 ft2", "1,200 sq ft", "$99", "US$ 1,000", "99 EUR"]),
        (Notation.UNIT, ["12 %", "12%", "~12", ".5 m", "-3 °C"]),
        (Notation.THOUSANDS, ["1,234,567", "1,234.50", "1 200", "1\u00a0200,5", "1'200"]),
        (Notation.THOUSANDS, ["1.234.567", "-1,234.5", "1_000"]),
        (Notation.DECIMAL_COMMA, ["12,5", "0,123", ",5", "1200,345", "1.234,50", "-12,5"]),
        (Notation.EITHER, ["1,200", "12,345", "+123,456"]),
        (None, ["", "abc", "ft2", "12:30", "12/31/2024", "2024-12-31", "1.2.3", "12-13"]),
        (None, ["inf", "nan", "1e400", "0x1F", "1,23,456", "１２"]),
    ],
)
def test_notations_are_told_apart_and_none_is_a_number(
    notation: Notation | None, cells: list[str]
) -> None:
    assert {notation_of(cell) for cell in cells} == {notation}
    assert not (parse_numbers(cells)[0] == parse_numbers(cells)[0]).any(), "none of them is read"


def test_no_plain_number_has_a_notation() -> None:
    cells = ["12", "12.5", "1.234", "-3", "+.5", "3.", "1e5", " 7 ", "1200000"]
    assert (parse_numbers(cells)[0] == parse_numbers(cells)[0]).all()
    assert {notation_of(cell) for cell in cells} == {None}


@pytest.mark.parametrize(
    ("column", "write", "notation", "words"),
    [
        (AREA, "{:g} m", Notation.UNIT, "write the number alone, in the task's own unit (a number"),
        (PRICE, "€{:.0f}", Notation.UNIT, "write the number alone, in the task's own unit (EUR"),
        (PRICE, "{:,.2f}", Notation.THOUSANDS, "with no separator but a point"),
    ],
)
@pytest.mark.parametrize("block_rows", [7, 1000])
def test_a_refused_column_comes_with_its_likely_cause(
    column: str, write: str, notation: Notation, words: str, block_rows: int
) -> None:
    frame = market(30, 2, missing=0.0)
    plain = inspect(frame, SCHEMA)
    assert plain.notes == ()
    frame[column] = [write.format(float(cell)) for cell in frame[column]]
    report = inspect(frame, SCHEMA, block_rows=block_rows)
    assert report.accepted == 0
    (told,) = _told(report, notation)
    assert told.startswith(f"{column} holds ")
    assert f"on 30 rows, such as {frame[column].iloc[0]!r}" in told
    assert words in told
    assert f"likely cause: {told}" in _on_terminal(report)
    page = unescape(render_page(report, task="task"))
    assert f"<h2>Likely causes</h2><ul><li>{told}</li></ul>" in page
    assert "Columns that tell nothing" not in page


def test_what_is_said_to_be_written_instead_is_accepted() -> None:
    frame = market(30, 2, missing=0.0)
    accepted = inspect(frame, SCHEMA).accepted
    frame[PRICE] = [f"{float(cell):,.2f}".replace(",", "'") for cell in frame[PRICE]]
    (told,) = _told(inspect(frame, SCHEMA), Notation.THOUSANDS)
    first = frame[PRICE].iloc[0].replace("'", "")
    assert f"write {first}, with" in told
    frame[PRICE] = [cell.replace("'", "") for cell in frame[PRICE]]
    assert inspect(frame, SCHEMA).accepted == accepted


def test_a_comma_before_three_digits_is_not_guessed_unless_the_column_tells() -> None:
    frame = market(3, 2, missing=0.0)
    frame[PRICE] = ["123,456", "234,567", "345,678"]
    (told,) = _told(inspect(frame, SCHEMA), Notation.EITHER)
    assert "may be 123456 or 123.456: write plain digits with a decimal point" in told
    for other, meant in (("1,234,567", "123456"), ("12,5", "123.456")):
        frame[PRICE] = ["123,456", other, other]
        (told,) = _told(inspect(frame, SCHEMA), Notation.EITHER)
        assert f"as in {other!r}, that is {meant}" in told


def test_words_and_numbers_out_of_bounds_have_no_such_cause() -> None:
    frame = market(30, 2, missing=0.0)
    frame[AREA] = "unknown"
    frame[PRICE] = "1"
    assert inspect(frame, SCHEMA).notes == ()
