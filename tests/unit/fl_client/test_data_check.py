# SPDX-License-Identifier: Apache-2.0
"""What the data check counts, against pandas and `check_frame` on the whole table."""

from __future__ import annotations

import io
import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from check_world import (
    EACH_ROW,
    OWNER,
    PUBLIC,
    as_csv,
    as_parquet,
    inspect,
    make_schema,
    market,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from dao.errors import InputError
from dao.records import PrivacyUnit
from demo.market import TARGET
from fl_client.check.inspection import inspect_records
from fl_client.check.tallies import EXAMPLES, Fingerprints, Sample
from valuation.rows import check_frame, parse_csv

NASTY = [
    "",
    " ",
    "abc",
    "-1",
    "1e9",
    "nan",
    "1_0",
    "castle",
    "K\u00f6ln",
    "2021-02-30",
    "2050-01-01",
]
BASE = market(30, 2)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Sales with nasty cells, repeated rows and owners of many rows."""
    frame = BASE.iloc[: draw(st.integers(1, 12))].reset_index(drop=True)
    columns = [str(column) for column in frame.columns]
    spots = st.tuples(
        st.integers(0, len(frame) - 1), st.sampled_from(columns), st.sampled_from(NASTY)
    )
    for row, column, cell in draw(st.lists(spots, max_size=8)):
        frame.loc[row, column] = cell
    for row in draw(st.lists(st.integers(0, len(frame) - 1), max_size=6)):
        frame.loc[row, "owner"] = " owner 0 "
    again = draw(st.lists(st.integers(0, len(frame) - 1), max_size=4))
    return pd.concat([frame, frame.iloc[again]], ignore_index=True)


@settings(max_examples=120, deadline=None)
@given(tables(), st.booleans(), st.booleans(), st.integers(1, 6), st.integers(1, 3))
def test_what_is_counted_block_by_block_is_what_the_whole_table_says(
    frame: pd.DataFrame, other: bool, parquet: bool, block_rows: int, max_rows: int
) -> None:
    unit = PrivacyUnit(kind="column", column="owner", max_rows=max_rows)
    schema = make_schema(unit=unit, other=other)
    report = inspect(as_parquet(frame) if parquet else as_csv(frame), schema, block_rows=block_rows)
    whole = parse_csv(as_csv(frame), name="whole")
    check = check_frame(schema, whole, with_target=True)

    assert report.rows == len(frame)
    assert report.accepted == int(check.accepted.sum())
    reasons = Counter((problem.column, problem.broke) for problem in check.problems)
    assert {(each.column, each.broke): each.rows for each in report.rejections} == reasons
    place = {line: i for i, line in enumerate(whole.index if not parquet else range(1, 99))}
    quoted = {
        (place[example.line], each.column, example.value)
        for each in report.rejections
        for example in each.examples
    }
    lines = {line: i for i, line in enumerate(whole.index)}
    assert quoted == {(lines[p.line], p.column, p.value) for p in check.problems}

    assert report.duplicates.rows == int(frame.duplicated().sum())
    twins = {place[each.line]: place[each.first_line] for each in report.duplicates.examples}
    rows = frame.to_numpy().tolist()
    assert twins == {i: rows.index(row) for i, row in enumerate(rows) if rows.index(row) < i}

    owners = frame["owner"].str.strip()[check.accepted]
    assert report.units.units == owners.nunique()
    rank = owners.groupby(owners).cumcount()
    assert report.units.uncounted_rows == int((rank >= max_rows).sum())
    sizes = owners.value_counts()
    assert report.units.crowded == int((sizes > max_rows).sum())
    assert [each.rows for each in report.units.largest] == sorted(
        sizes[sizes > max_rows].tolist(), reverse=True
    )
    for each in report.units.largest:
        owner = owners.loc[place[each.first_line]]
        assert place[each.first_line] == int(owners.index[owners == owner][0])
        assert sizes[owner] == each.rows
    json.dumps(report.as_dict(), allow_nan=False)


def test_rows_beyond_their_unit_s_limit_do_not_count() -> None:
    frame = market(9, 2, owners=3)
    found = inspect(frame, make_schema(unit=OWNER)).as_dict()
    assert (found["rows"], found["rows_accepted"], found["rows_that_count"]) == (9, 9, 6)
    assert [each["first_line"] for each in found["units"]["largest"]] == [2, 5, 8]


def test_a_constant_column_is_named() -> None:
    frame = market(30, 2)
    frame["building_age_years"] = "20"
    frame["property_type"] = "apartment"
    notes = {note.column: note for note in inspect(frame).notes}
    assert set(notes) == {"building_age_years", "property_type"}
    assert notes["building_age_years"].problem == "constant"
    assert "building_age_years has one value only" in notes["building_age_years"].told


def test_equal_prices_are_named() -> None:
    frame = market(30, 2)
    frame[TARGET] = "200000"
    (note,) = inspect(frame).notes
    assert "nothing to learn from equal prices" in note.told


@pytest.mark.parametrize(
    ("column", "cells", "constant"),
    [
        ("property_type", ["castle"], True),
        ("property_type", ["castle", "tower"], False),
        ("property_type", ["castle", "apartment"], False),
        ("quality", ["3", "3.0"], True),
        ("quality", ["3", ""], False),  # whether it is known says something
        ("rooms", ["3", ""], True),  # rows without rooms stay out
        ("rooms", ["3", "abc"], True),
    ],
)
def test_what_is_constant(column: str, cells: list[str], constant: bool) -> None:
    frame = market(30, 2)
    frame[column] = [cells[i % len(cells)] for i in range(30)]
    assert (column in {note.column for note in inspect(frame).notes}) is constant


def test_a_column_of_nan_is_named() -> None:
    frame = market(30, 2)
    frame["quality"] = "NaN"  # the task takes a missing quality
    frame["rooms"] = "nan"  # and refuses rows without rooms
    report = inspect(frame)
    told = {note.column: note.told for note in report.notes}
    assert "quality is empty on every row, so the model learns nothing" in told["quality"]
    assert "rooms is empty on every row, and the task refuses a row without it" in told["rooms"]
    assert report.accepted == 0
    (rejection,) = report.rejections
    assert (rejection.column, rejection.broke, rejection.rows) == ("rooms", "missing", 30)


@pytest.mark.parametrize("other", [True, False])
def test_a_category_never_seen_is_named(other: bool) -> None:
    frame = market(30, 2)
    frame.loc[frame.index[4:9], "property_type"] = "castle"
    frame.loc[frame.index[20], "property_type"] = " Apartment"
    report = inspect(frame, make_schema(other=other))
    (words,) = report.unseen
    assert (words.column, words.rows, words.counted_as_other) == ("property_type", 6, other)
    found = [(each.value, each.rows, each.first_line) for each in words.values]
    assert found == [("castle", 5, 6), ("Apartment", 1, 22)]
    assert report.accepted == (30 if other else 24)
    if not other:
        assert report.rejections[0].broke == "not among the task's values"


def test_a_missing_unit_column_is_refused_with_its_purpose() -> None:
    with pytest.raises(InputError) as caught:
        inspect(market(30, 2).drop(columns="owner"))
    assert "mine.csv: missing column 'owner', which names the privacy unit" in caught.value.message
    assert TARGET in str(caught.value.hint)


def test_columns_that_the_task_does_not_read_are_listed() -> None:
    frame = market(30, 2)
    frame["agent"] = "somebody"
    assert inspect(frame, make_schema(unit=EACH_ROW)).unread == ("owner", "agent")


def test_examples_are_bounded_and_counts_are_not() -> None:
    frame = market(300, 2)
    frame["rooms"] = [f"{i} rooms" + "x" * 500 for i in range(300)]
    (rejection,) = inspect(frame).rejections
    assert rejection.rows == 300
    assert len(rejection.examples) == EXAMPLES
    assert max(len(each.value) for each in rejection.examples) <= 120
    frame["rooms"] = "3"
    frame["property_type"] = [f"kind {i}" for i in range(300)]
    (words,) = inspect(frame).unseen
    assert (words.rows, len(words.values)) == (300, EXAMPLES)


def test_without_public_rows_the_reason_is_told() -> None:
    report = inspect_records(
        io.BytesIO(as_csv(market(30, 2))),
        make_schema(),
        name="mine.csv",
        public=None,
        no_public="they are far away",
    )
    assert report.drift is None
    assert report.no_drift == "they are far away"
    strange = inspect(market(30, 2), public=PUBLIC.drop(columns="rooms"))
    assert "'rooms'" in str(strange.no_drift)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=2), max_size=40))
def test_equal_texts_come_together(texts: list[str]) -> None:
    prints = Fingerprints()
    for start in range(0, len(texts), 7):
        part = texts[start : start + 7]
        prints.add(part, list(range(start, start + len(part))))
    groups = prints.groups()
    found = {
        int(groups.lines[start]): groups.lines[start : start + size].tolist()
        for start, size in zip(groups.starts, groups.sizes, strict=True)
    }
    expected: dict[str, list[int]] = {}
    for i, text in enumerate(texts):
        expected.setdefault(text, []).append(i)
    assert found == {lines[0]: lines for lines in expected.values()}


def test_a_sample_is_bounded_and_fair() -> None:
    sample = Sample(1, limit=500, seed=3)
    for start in range(0, 900, 90):
        sample.add(np.arange(start, start + 90, dtype=float)[:, None])
    assert sample.whole
    assert sample.rows[:, 0].tolist() == list(range(900))
    for start in range(900, 90_000, 90):
        sample.add(np.arange(start, start + 90, dtype=float)[:, None])
        assert len(sample.rows) <= 1000
    assert not sample.whole
    # uniform on 0..90,000: the mean of m such numbers has deviation 90,000 / sqrt(12 m)
    deviation = 90_000 / np.sqrt(12 * len(sample.rows))
    assert abs(sample.rows.mean() - 45_000) < 4 * deviation
    assert len(sample.rows) > 300
