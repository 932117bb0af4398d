# SPDX-License-Identifier: Apache-2.0
"""Guesses of the data check: exchanged degrees, and moments where days are needed."""

from __future__ import annotations

import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from check_world import as_csv, inspect, make_schema, market

from dao.records import DateFeature
from fl_client.check.report import DataReport
from valuation.schema import location_of

SCHEMA = make_schema()
PLACE = location_of(SCHEMA.features)
DATE = next(each.column for each in SCHEMA.features if isinstance(each, DateFeature))


def _told(report: DataReport, problem: str) -> list[str]:
    return [note.told for note in report.notes if note.problem == problem]


@pytest.mark.parametrize("block_rows", [7, 1000])
def test_exchanged_degrees_are_told(block_rows: int) -> None:
    assert PLACE is not None
    names = {PLACE.latitude: PLACE.longitude, PLACE.longitude: PLACE.latitude}
    report = inspect(market(30, 2).rename(columns=names), SCHEMA, block_rows=block_rows)
    assert report.accepted == 0
    (told,) = _told(report, "exchanged")
    assert f"{PLACE.latitude} and {PLACE.longitude} look exchanged: 30 of 30 places" in told


def test_places_that_are_merely_elsewhere_are_not_called_exchanged() -> None:
    assert PLACE is not None
    frame = market(30, 2)
    assert _told(inspect(frame, SCHEMA), "exchanged") == []
    frame[PLACE.latitude] = "-33.9"
    frame[PLACE.longitude] = "151.2"
    report = inspect(frame, SCHEMA)
    assert report.accepted == 0
    assert _told(report, "exchanged") == []


def test_moments_with_a_time_zone_come_with_what_to_do_and_that_helps() -> None:
    frame = market(30, 2)
    days = frame[DATE].tolist()
    moments = pd.to_datetime(frame[DATE]).dt.tz_localize("Europe/Berlin").reset_index(drop=True)
    table = pa.table({c: pa.array(frame[c].tolist(), pa.string()) for c in frame if c != DATE})
    file = io.BytesIO()
    zoned = pa.array(moments.to_list(), pa.timestamp("ns", tz="Europe/Berlin"))
    pq.write_table(table.append_column(DATE, zoned), file)
    report = inspect(file.getvalue(), SCHEMA)
    assert report.accepted == 0
    (told,) = _told(report, "time of day")
    assert f"{DATE} holds a time of day or a time zone on 30 rows, such as '{days[0]}T00" in told
    assert ".dt.strftime('%Y-%m-%d')" in told
    frame[DATE] = moments.dt.strftime("%Y-%m-%d").tolist()
    assert frame[DATE].tolist() == days
    mended = inspect(as_csv(frame), SCHEMA)
    assert mended.accepted == inspect(market(30, 2), SCHEMA).accepted > 0
    assert _told(mended, "time of day") == []


def test_other_words_are_not_taken_for_moments() -> None:
    frame = market(30, 2)
    frame[DATE] = "2021-02-30"
    assert _told(inspect(frame, SCHEMA), "time of day") == []
