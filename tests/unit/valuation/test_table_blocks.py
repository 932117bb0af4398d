# SPDX-License-Identifier: Apache-2.0
"""A table in blocks, as a whole, as CSV or as Parquet: the same cells and the same decisions."""

from __future__ import annotations

import csv
import io
import math
import re
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from valuation_world import KIND, OWNER_UNIT, SCHEMA, sales

from dao.errors import InputError
from valuation.columns import Fault, parse_days, parse_numbers
from valuation.rows import check_frame, parse_csv, read_rows
from valuation.schema import TableSchema
from valuation.table import read_table, table_blocks

NASTY = [
    "", " ", "\t", "80", " 80 ", "8e1", "+80.", ".5e2", "-0", "1_000", "1,200", "inf",
    "-Infinity", "nan", "NaN", "+nan", "n/a", "NULL", "None", "0x50", "1e400", "1e-400",
    "80\u00a0", "\u0668\u0660", "\x1c80", "8 0", "--80", "flat", " flat", "Flat", "castle", '"',
    'a"b', "line\nbreak", "cr\rhere", "both\r\nhere", "2021-05-01", "2021-02-30", "2021-5-1",
    "20210501", "\u0662021-05-01", "0000-01-01", "2031-01-01", "999999999999999999999", "51.1",
    "9.2", "100000", "9999.999999", "10000", "5000000", "5000000.0000001", "K\u00f6ln",
    "\U0001f3e0", "\ufeff",
]  # fmt: skip
SCHEMAS = {
    "other": TableSchema(SCHEMA.target, SCHEMA.features, OWNER_UNIT),
    "listed": TableSchema(
        SCHEMA.target,
        tuple(f.model_copy(update={"other": False}) if f is KIND else f for f in SCHEMA.features),
        OWNER_UNIT,
    ),
}
COLUMNS = list(sales(1, seed=0).columns)

cells = st.one_of(st.sampled_from(NASTY), st.text(st.characters(codec="utf-8"), max_size=6))


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Good sales with nasty cells and repeated rows in them."""
    frame = sales(draw(st.integers(1, 12)), seed=draw(st.integers(0, 5))).reset_index(drop=True)
    for row, column, cell in draw(
        st.lists(
            st.tuples(st.integers(0, len(frame) - 1), st.sampled_from(COLUMNS), cells), max_size=12
        )
    ):
        frame.loc[row, column] = cell.replace("\0", "")
    again = draw(st.lists(st.integers(0, len(frame) - 1), max_size=4))
    return pd.concat([frame, frame.iloc[again]], ignore_index=True)


def as_csv(frame: pd.DataFrame) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(frame.columns)
    writer.writerows(frame.to_numpy().tolist())
    return out.getvalue().encode()


def as_parquet(table: pa.Table | pd.DataFrame) -> bytes:
    if isinstance(table, pd.DataFrame):
        table = pa.table({name: pa.array(table[name].tolist(), pa.string()) for name in table})
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


@settings(max_examples=150, deadline=None)
@given(tables(), st.sampled_from(sorted(SCHEMAS)), st.integers(1, 5))
def test_blocks_decide_as_the_whole_table_does_whatever_the_file(
    frame: pd.DataFrame, schema: str, rows: int
) -> None:
    whole = parse_csv(as_csv(frame), name="t.csv")
    assert whole.to_numpy().tolist() == frame.to_numpy().tolist()
    check = check_frame(SCHEMAS[schema], whole, with_target=True)
    for data in (as_csv(frame), as_parquet(frame)):
        blocks = list(table_blocks(io.BytesIO(data), name="t", rows=rows))
        assert max(map(len, blocks)) <= rows
        read = [read_rows(SCHEMAS[schema], block, with_target=True) for block in blocks]
        assert np.concatenate([each.accepted for each in read]).tolist() == check.accepted.tolist()
        wrong = sum(int(reading.wrong.sum()) for each in read for reading in each.readings)
        assert wrong == len(check.problems)
        joined = pd.concat(blocks)
        assert joined.to_numpy().tolist() == frame.to_numpy().tolist()
        if joined.index.name == "line":
            assert joined.index.tolist() == whole.index.tolist()
        else:
            assert joined.index.tolist() == list(range(1, len(frame) + 1))


def slow_number(cell: str) -> tuple[float, bool]:
    """The specification's grammar, one cell at a time."""
    text = cell.strip()
    if text.lower() in ("", "na", "n/a", "nan", "null", "none"):
        return math.nan, True
    if re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", text) is None:
        return math.nan, False
    value = float(text)
    return (value if math.isfinite(value) else math.nan), False


numbers = st.one_of(
    st.sampled_from(NASTY),
    st.floats().map(repr),
    st.integers().map(str),
    st.text("0123456789+-.eE_ \tinfa\x1c\u0661", max_size=8),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(numbers, max_size=8))
def test_numbers_are_read_as_the_grammar_says(texts: list[str]) -> None:
    values, missing = parse_numbers(texts)
    expected = [slow_number(text) for text in texts]
    assert missing.tolist() == [is_missing for _, is_missing in expected]
    assert np.array_equal(values, [value for value, _ in expected], equal_nan=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(NASTY), st.dates().map(str)), max_size=8))
def test_days_are_read_as_the_calendar_says(texts: list[str]) -> None:
    for text, day in zip(texts, parse_days(texts).tolist(), strict=True):
        plain = text.strip()
        try:
            year, month, number = re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", plain).groups()  # type: ignore[union-attr]
            assert day == date(int(year), int(month), int(number)).toordinal()
        except (AttributeError, ValueError):
            assert math.isnan(day)


def test_lone_carriage_returns_end_lines_also_at_the_end_of_a_block() -> None:
    data = b'a,b\r1,2\r"x\ry",3\r\n4,5\rz,6'
    frame = parse_csv(data, name="old.csv")
    assert frame.to_numpy().tolist() == [["1", "2"], ["x\ry", "3"], ["4", "5"], ["z", "6"]]
    assert frame.index.tolist() == [2, 3, 5, 6]
    reader = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    assert list(reader)[1:] == frame.to_numpy().tolist()


def test_a_bad_line_is_found_after_many_good_ones() -> None:
    good = b"a,b\n" + b"1,2\n" * 40
    with pytest.raises(InputError, match=r"line 42: not UTF-8 \(byte 0xff\)"):
        list(table_blocks(io.BytesIO(good + b"\xff,2\n"), name="x.csv", rows=7))
    with pytest.raises(InputError, match="line 42: 3 fields, expected 2"):
        list(table_blocks(io.BytesIO(good + b"1,2,3\n"), name="x.csv", rows=7))


def test_typed_parquet_columns_become_the_text_of_a_csv() -> None:
    moments = [pd.Timestamp("2021-05-01"), pd.Timestamp("2021-05-01 13:00"), None]
    table = pa.table(
        {
            "f": pa.array([80.5, math.nan, None], pa.float64()),
            "g": pa.array([0.1, 1e22, 3.0], pa.float64()),
            "h": pa.array([0.5, None, 2.0], pa.float32()),
            "i": pa.array([7, None, -(2**62)], pa.int64()),
            "b": pa.array([True, False, None]),
            "day": pa.array([date(2021, 5, 1), None, date(1999, 12, 31)], pa.date32()),
            "moment": pa.array(moments, pa.timestamp("ns")),
            "money": pa.array([Decimal("1000.50"), None, Decimal("0.00")], pa.decimal128(9, 2)),
            "kind": pa.array(["flat", None, "house"]).dictionary_encode(),
            "nothing": pa.nulls(3),
            "many": pa.array([[1, 2], None, []], pa.list_(pa.int8())),
        }
    )
    frame = read_table(as_parquet(table), name="typed")
    assert {column: frame[column].tolist() for column in frame} == {
        "f": ["80.5", "", ""],
        "g": ["0.1", "1e+22", "3.0"],
        "h": ["0.5", "", "2.0"],
        "i": ["7", "", str(-(2**62))],
        "b": ["True", "False", ""],
        "day": ["2021-05-01", "", "1999-12-31"],
        "moment": ["2021-05-01", "2021-05-01T13:00:00", ""],
        "money": ["1000.50", "", "0.00"],
        "kind": ["flat", "", "house"],
        "nothing": ["", "", ""],
        "many": ["[1, 2]", "", "[]"],
    }
    assert frame.index.name == "row"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=6))
def test_a_floating_number_survives_its_text(values: list[float]) -> None:
    frame = read_table(as_parquet(pa.table({"x": pa.array(values)})), name="x.parquet")
    read, _ = parse_numbers(frame["x"].tolist())
    finite = [value if math.isfinite(value) else math.nan for value in values]
    assert np.array_equal(read, finite, equal_nan=True)


def test_row_labels_of_pandas_are_no_column() -> None:
    out = io.BytesIO()
    sales(4, seed=0).sample(frac=1, random_state=1).rename_axis(None).to_parquet(out)
    frame = read_table(out.getvalue(), name="labelled.parquet")
    assert sorted(frame.columns) == sorted(COLUMNS)
    assert check_frame(SCHEMA, frame, with_target=True).accepted.all()


def broken(data: bytes) -> bytes:
    """A Parquet file whose middle is gone."""
    return data[: len(data) // 3] + data[2 * len(data) // 3 :]


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"a,b\n1,2\n", "x.parquet", "does not begin with PAR1"),
        (b"PAR1 and then nothing", "x.csv", "cannot be read as Parquet"),
        (as_parquet(sales(50, seed=0))[:-9], "x", "cannot be read as Parquet"),
        (broken(as_parquet(sales(50, seed=0))), "x", "cannot be read as Parquet"),
        (as_parquet(sales(0, seed=0)), "x", "no rows"),
        (as_parquet(pa.table([[1], [2]], names=["a", "a "])), "x", "more than once"),
        (as_parquet(pa.table([[1], [2]], names=["a", ""])), "x", "no name"),
        (as_parquet(pa.table({"a": ["x\0y"]})), "x", "NUL"),
        (
            as_parquet(pa.table({"a": pa.array([b"\xff"]).cast(pa.string(), safe=False)})),
            "x",
            "UTF-8",
        ),
    ],
)
def test_bad_parquet_files_are_refused(data: bytes, name: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_table(data, name=name)
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.hint


def test_a_parquet_file_without_rows_is_not_told_of_header_lines() -> None:
    with pytest.raises(InputError, match="it has 8 columns and no rows") as refused:
        read_table(as_parquet(sales(0, seed=0)), name="x.parquet")
    assert refused.value.hint == "Write the file anew from a table with rows."
    one = as_parquet(pd.DataFrame({"a;b": ["1"]}))
    assert read_table(one, name="x.parquet").columns.tolist() == ["a;b"]


def test_a_missing_unit_column_is_said_to_be_the_unit() -> None:
    frame = sales(3, seed=0).drop(columns=["owner", "area"])
    with pytest.raises(InputError) as caught:
        check_frame(SCHEMAS["other"], frame, with_target=True)
    assert "'owner', which names the privacy unit" in caught.value.message
    assert "'area'" in caught.value.message
    assert "rooms" in str(caught.value.hint)


def test_one_column_in_two_features_must_keep_both_bounds() -> None:
    area = next(f for f in SCHEMA.features if getattr(f, "column", "") == "area")
    tight = area.model_copy(update={"scale": "linear", "upper_micro": 100_000_000})
    schema = TableSchema(SCHEMA.target, (*SCHEMA.features, tight), SCHEMA.unit)
    frame = sales(3, seed=0)
    frame["area"] = ["50", "500", "5000"]
    check = check_frame(schema, frame, with_target=True)
    assert check.accepted.tolist() == [True, False, False]
    assert [problem.broke for problem in check.problems] == [
        "above the upper bound 100",
        "above the upper bound 1000",
        "above the upper bound 100",
    ]


def test_the_bound_that_was_broken_is_named() -> None:
    frame = sales(8, seed=0)
    frame["area"] = ["5", "5000", "", "many", "80", "80", "80", "80"]
    frame["sold"] = [*["2021-05-01"] * 4, "2019-12-31", "2026-01-01", "", "soon"]
    check = check_frame(SCHEMAS["listed"], frame, with_target=True)
    assert [problem.broke for problem in check.problems] == [
        "below the lower bound 10",
        "above the upper bound 1000",
        "missing",
        "not a finite number",
        "before 2020-01-01",
        "after 2025-12-31",
        "missing",
        "not a date",
    ]
    faults = read_rows(SCHEMA, frame, with_target=True).readings[2].faults
    assert faults[:4].tolist() == [Fault.BELOW, Fault.ABOVE, Fault.MISSING, Fault.MALFORMED]
