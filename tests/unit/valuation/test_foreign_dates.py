# SPDX-License-Identifier: Apache-2.0
"""Dates that are not ISO 8601: told in the draft, never taken for words without a remark."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from valuation_world import sales

from privacy import accounting
from valuation.build import validate_taskfile
from valuation.draft import draft_task
from valuation.foreign_dates import is_foreign_date
from valuation.task_text import render_draft
from valuation.taskfile import DateSection, NumberSection, parse_taskfile

NOTATIONS = (
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%d.%m.%y",
    "%d-%m-%Y",
    "%m-%d-%y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d %b %Y",
    "%d-%b-%y",
    "%d. %B %Y",
    "%b %d, %Y",
    "%B %d %Y",
    "%Y-%m",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S.%f",
    "%m/%d/%Y %I:%M %p",
    "%Y%m%dT%H%M%S",
    "%Y%m%d",
)
ROWS = 300
DAYS = [date(2021, 1, 1) + timedelta(days=3 * i) for i in range(ROWS)]
PUBLIC = sales(ROWS, seed=1).drop(columns=["owner", "sold"])


@pytest.mark.parametrize("notation", NOTATIONS)
@given(day=st.dates(date(2000, 1, 1), date(2068, 12, 31)))
def test_every_day_in_a_usual_notation_is_found(notation: str, day: date) -> None:
    stamp = pd.Timestamp(day) + pd.Timedelta(hours=17, minutes=4)
    assert is_foreign_date(stamp.strftime(notation))
    assert not is_foreign_date(day.isoformat())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "flat",
        "12",
        "1.5",
        "-3",
        "31.31.2024",
        "00/12/2024",
        "2024/13/01",
        "2024-02-30",
        "30 Foo 2024",
        "30 Feb 2024",
        "12.05",
        "1.2.345",
        "12-345-6789",
        "99999999",
        "10115",
        "12/31-2024",
        "May",
        "2024",
        "Main Street 12",
    ],
)
def test_other_text_is_no_date(text: str) -> None:
    assert not is_foreign_date(text)


@pytest.mark.parametrize("notation", [n for n in NOTATIONS if n != "%Y%m%d"])
def test_a_draft_says_that_a_column_holds_dates_it_does_not_read(notation: str) -> None:
    """Also where few days recur, which would make a category of them."""
    for days in (DAYS, DAYS[:12] * (ROWS // 12)):
        cells = [day.strftime(notation) for day in days]
        draft = draft_task(PUBLIC.assign(sold=cells), target="price")
        assert not any(getattr(f, "column", "") == "sold" for f in draft.features)
        (remark,) = (each for each in draft.remarks if each.startswith("'sold'"))
        assert repr(cells[0]) in remark
        assert "expected YYYY-MM-DD (ISO 8601)" in remark
        assert "draft again" in remark


def test_numbers_that_are_days_stay_numbers_and_are_told() -> None:
    frame = PUBLIC.assign(sold=[day.strftime("%Y%m%d") for day in DAYS])
    draft = draft_task(frame, target="price")
    (sold,) = (f for f in draft.features if getattr(f, "column", "") == "sold")
    assert isinstance(sold, NumberSection)
    (remark,) = (each for each in draft.remarks if each.startswith("'sold'"))
    assert "holds dates such as '20210101'" in remark
    assert "YYYY-MM-DD" in remark


def test_some_dates_in_another_notation_or_missing_are_counted() -> None:
    mixed = [day.strftime("%m/%d/%Y") if i < 40 else day.isoformat() for i, day in enumerate(DAYS)]
    (remark,) = draft_task(PUBLIC.assign(sold=mixed), target="price").remarks
    assert "40 of its 300 dates are written such as '01/01/2021'" in remark
    gaps = ["" if i % 3 else day.strftime("%d.%m.%Y") for i, day in enumerate(DAYS)]
    (remark,) = draft_task(PUBLIC.assign(sold=gaps), target="price").remarks
    assert "its dates are written such as '01.01.2021'" in remark
    few = ["" if i in (4, 9) else day.isoformat() for i, day in enumerate(DAYS)]
    (remark,) = draft_task(PUBLIC.assign(sold=few), target="price").remarks
    assert "2 of 300 public rows have no date there" in remark


def test_rewritten_as_asked_the_column_is_a_date() -> None:
    american = PUBLIC.assign(sold=[day.strftime("%m/%d/%Y") for day in DAYS])
    (remark,) = draft_task(american, target="price").remarks
    assert re.search("expected YYYY-MM-DD", remark)
    rewritten = american.assign(
        sold=pd.to_datetime(american["sold"], format="%m/%d/%Y").dt.strftime("%Y-%m-%d")
    )
    draft = draft_task(rewritten, target="price")
    assert draft.remarks == ()
    assert any(isinstance(f, DateSection) and f.column == "sold" for f in draft.features)
    text = render_draft(draft, title="t", asset_class="a", public_rows="p.csv")
    data = rewritten.to_csv(index=False).encode()
    assert validate_taskfile(parse_taskfile(text), data, accounting=accounting).errors == ()
