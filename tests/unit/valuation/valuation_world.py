# SPDX-License-Identifier: Apache-2.0
"""A small world of sales with every kind of feature, for the tests of valuation."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from dao.records import (
    BlobRef,
    CategoryFeature,
    DateFeature,
    LocationFeature,
    NumberFeature,
    PrivacyUnit,
    RatioFeature,
    Target,
)
from valuation.schema import TableSchema


class Blobs:
    """Content by SHA-256; `put` has the shape that `build_task` asks for."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def put(self, data: bytes) -> BlobRef:
        digest = hashlib.sha256(data).hexdigest()
        self.content[digest] = data
        return BlobRef(cid="b" + "a" * 58, sha256=digest, size=len(data))


TARGET = Target(
    column="price",
    currency="EUR",
    scale="log",
    lower_micro=10_000_000_000,
    upper_micro=5_000_000_000_000,
    center_micro=12_500_000,
    spread_micro=500_000,
)
AREA = NumberFeature(
    kind="number",
    column="area",
    scale="log",
    lower_micro=10_000_000,
    upper_micro=1_000_000_000,
    center_micro=4_600_000,
    spread_micro=400_000,
    missing="refuse",
)
ROOMS = NumberFeature(
    kind="number",
    column="rooms",
    scale="linear",
    lower_micro=1_000_000,
    upper_micro=20_000_000,
    center_micro=4_000_000,
    spread_micro=2_000_000,
    missing="indicate",
)
SPACE = RatioFeature(
    kind="ratio",
    numerator="area",
    denominator="rooms",
    center_micro=3_200_000,
    spread_micro=300_000,
)
KIND = CategoryFeature(kind="category", column="kind", values=("flat", "house"), other=True)
PLACE = LocationFeature(
    kind="location",
    latitude="lat",
    longitude="lon",
    south_micro=50_000_000,
    north_micro=52_000_000,
    west_micro=8_000_000,
    east_micro=10_000_000,
    center_latitude_micro=51_000_000,
    center_longitude_micro=9_000_000,
    scale_metres=30_000,
    bandwidths_metres=(3_000, 12_000, 40_000),
)
DAY = DateFeature(
    kind="date",
    column="sold",
    first="2020-01-01",
    last="2025-12-31",
    center_days_micro=1_000_000_000,
    spread_days_micro=500_000_000,
)
ROW_UNIT = PrivacyUnit(kind="row", column=None, max_rows=1)
OWNER_UNIT = PrivacyUnit(kind="column", column="owner", max_rows=3)
# A task file written by hand, without public rows.
HAND = """
title = "Without public rows"
asset_class = "homes"
licence = "CC0-1.0"
[target]
column = "price"
currency = "EUR"
scale = "log"
lower = 10000
upper = 5000000
[[feature]]
kind = "number"
column = "area"
scale = "log"
lower = 10
upper = 1000
[[feature]]
kind = "location"
latitude = "lat"
longitude = "lon"
south = 50.0
north = 52.0
west = 8.0
east = 10.0
[privacy]
epsilon = 4
delta = 1e-5
public_n = 2000
[model]
family = "mlp"
hidden = [8, 4]
[terms]
coordinator = "0x0101010101010101010101010101010101010101"
"""
SCHEMA = TableSchema(TARGET, (PLACE, AREA, ROOMS, SPACE, KIND, DAY), ROW_UNIT)


def sales(count: int, *, seed: int) -> pd.DataFrame:
    """Text cells, as `parse_csv` gives them: prices follow area, rooms, kind, day and place."""
    random = np.random.default_rng(seed)
    area = np.exp(random.normal(4.6, 0.4, count)).clip(12, 900)
    rooms = np.rint((area / 25 + random.normal(0, 0.7, count)).clip(1, 19))
    house = random.random(count) < 0.4
    days = random.integers(0, 2190, count)
    east, north = random.normal(0, 0.25, count), random.normal(0, 0.2, count)
    log_price = (
        8.0
        + 0.9 * np.log(area)
        + 0.02 * rooms
        + 0.15 * house
        + 0.0001 * days
        + 0.35 * np.sin(6 * east) * np.cos(5 * north)
        - 0.8 * np.hypot(east, north)
        + random.normal(0, 0.08, count)
    )
    first = pd.Timestamp("2020-01-01")
    return pd.DataFrame(
        {
            "owner": [f"owner {i // 2}" for i in range(count)],
            "lat": [f"{51 + v:.5f}" for v in north.clip(-0.9, 0.9)],
            "lon": [f"{9 + v:.5f}" for v in east.clip(-0.9, 0.9)],
            "area": [f"{v:.1f}" for v in area],
            "rooms": ["" if random.random() < 0.05 else f"{v:.0f}" for v in rooms],
            "kind": np.where(house, "house", "flat"),
            "sold": [(first + pd.Timedelta(days=int(d))).date().isoformat() for d in days],
            "price": [f"{np.exp(v):.0f}" for v in log_price],
        },
        index=pd.Index(range(2, count + 2), name="line"),
        dtype=object,
    )
