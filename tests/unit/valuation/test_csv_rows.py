# SPDX-License-Identifier: Apache-2.0
"""Bad files and bad rows are refused with the line, the column, and what is expected."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from valuation_world import OWNER_UNIT, SCHEMA, sales

from dao.errors import InputError, RowError
from valuation.rows import check_frame, parse_csv, parse_row

GOOD = {
    "lat": 51.1,
    "lon": 9.2,
    "area": 80,
    "rooms": 3,
    "kind": "flat",
    "sold": "2021-05-01",
}


def test_cells_stay_text_and_lines_are_those_of_the_file() -> None:
    frame = parse_csv(b'\xef\xbb\xbfa,b\r\n007,"two\nlines"\n\nNA,1e3\n', name="x.csv")
    assert list(frame.columns) == ["a", "b"]
    assert frame["a"].tolist() == ["007", "NA"]
    assert frame["b"].tolist() == ["two\nlines", "1e3"]
    assert frame.index.tolist() == [2, 5]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"a,b\n", "no rows"),
        ("a,b\nM\u00fcnchen,1\n".encode("latin-1"), "line 2: not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"a,b,a\n1,2,3\n", "more than once"),
        (b"a,,c\n1,2,3\n", "column 2 has no name"),
        (b"a,b\n1,2\n1,2,3\n", "line 3: 3 fields, expected 2"),
        (b"a;b\n1;2\n", "commas"),
        (b'a,b\n1,"2\n', "not a CSV file"),
        (b"a,b\n1,\x002\n", "NUL"),
    ],
)
def test_bad_files_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_csv(data, name="rows.csv")
    assert words in f"{caught.value.message} {caught.value.hint}"


def test_a_missing_column_is_named_and_those_that_came_are_listed() -> None:
    frame = sales(3, seed=0).drop(columns=["area", "sold"])
    with pytest.raises(InputError) as caught:
        check_frame(SCHEMA, frame, with_target=True)
    assert "'area', 'sold'" in caught.value.message
    assert caught.value.hint is not None
    assert "rooms" in caught.value.hint


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("area", "eighty", "a number from 10 to 1000"),
        ("area", "", "a number from 10 to 1000"),
        ("area", "5", "from 10 to 1000"),
        ("area", "inf", "from 10 to 1000"),
        ("area", "1,200", "from 10 to 1000"),
        ("area", "0x50", "from 10 to 1000"),
        ("rooms", "99", "from 1 to 20, or empty"),
        ("lat", "53.5", "degrees from 50 to 52"),
        ("lon", "nan", "degrees from 8 to 10"),
        ("sold", "2021-02-30", "a date YYYY-MM-DD from 2020-01-01 to 2025-12-31"),
        ("sold", "01.02.2021", "a date YYYY-MM-DD"),
        ("sold", "2031-01-01", "to 2025-12-31"),
        ("price", "9999", "EUR from 10000 to 5000000"),
        ("price", "", "EUR"),
    ],
)
def test_a_bad_cell_is_named_by_line_column_value(column: str, cell: str, expected: str) -> None:
    frame = sales(6, seed=0)
    frame.loc[4, column] = cell
    check = check_frame(SCHEMA, frame, with_target=True)
    assert check.accepted.tolist() == [True, True, False, True, True, True]
    (problem,) = check.problems
    assert (problem.line, problem.column, problem.value) == (4, column, cell)
    assert expected in problem.expected


def test_a_missing_number_may_be_indicated_and_other_words_count_as_other() -> None:
    frame = sales(4, seed=0)
    frame.loc[2, "rooms"] = "NA"
    frame.loc[3, "kind"] = "castle"
    assert check_frame(SCHEMA, frame, with_target=True).accepted.all()


def test_duplicates_are_counted_and_kept() -> None:
    frame = sales(6, seed=0)
    frame.iloc[3] = frame.iloc[0]
    frame.iloc[5] = frame.iloc[0]
    check = check_frame(SCHEMA, frame, with_target=True)
    assert check.duplicates == 2
    assert check.accepted.all()


def test_rows_without_a_unit_are_refused() -> None:
    frame = sales(4, seed=0)
    frame.loc[3, "owner"] = " "
    schema = dataclasses.replace(SCHEMA, unit=OWNER_UNIT)
    check = check_frame(schema, frame, with_target=True)
    assert check.accepted.tolist() == [True, False, True, True]
    assert check_frame(schema, frame, with_target=False).accepted.all()


def test_whether_a_row_is_accepted_depends_on_that_row_alone() -> None:
    frame = sales(40, seed=3)
    frame.loc[7, "area"] = "none"
    frame.loc[9, "price"] = "1"
    whole = check_frame(SCHEMA, frame, with_target=True).accepted
    single = [
        bool(check_frame(SCHEMA, frame.iloc[i : i + 1], with_target=True).accepted[0])
        for i in range(len(frame))
    ]
    assert np.array_equal(whole, single)


def test_a_request_becomes_a_row() -> None:
    frame = parse_row(SCHEMA, {**GOOD, "rooms": None, "area": "81.5"})
    assert frame.iloc[0].to_dict() == {
        "lat": "51.1",
        "lon": "9.2",
        "area": "81.5",
        "rooms": "",
        "kind": "flat",
        "sold": "2021-05-01",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("area", math.inf),
        ("area", math.nan),
        ("area", True),
        ("area", 10**400),
        ("area", [80]),
        ("area", None),
        ("area", "many"),
        ("lat", 12.0),
        ("kind", 3),
        ("sold", 20210501),
        ("sold", "yesterday"),
        ("price", 100_000),
        ("garden", 1),
    ],
)
def test_a_bad_request_names_the_field(field: str, value: object) -> None:
    with pytest.raises(RowError) as caught:
        parse_row(SCHEMA, {**GOOD, field: value})
    assert caught.value.field == field
    assert caught.value.expected
