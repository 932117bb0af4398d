# SPDX-License-Identifier: Apache-2.0
"""CSV rows of a sealed part to numbers, docs/spec/valuation.md §1 and §2."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from tests.independent.facts import Differs

Array = np.ndarray[Any, np.dtype[Any]]
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
NOTHING = {"", "na", "n/a", "nan", "null", "none"}
METRES = 6371008.8 * math.pi / 180


class Refused(Exception):
    """A cell that refuses its row."""


@dataclass(frozen=True)
class Rows:
    """n rows: attributes n x a, locations n x 2 (n x 0 without one), standardised targets n."""

    attributes: Array
    locations: Array
    targets: Array


def _clip(value: float) -> float:
    return min(4.0, max(-4.0, value))


def _number(cell: str, lower: float, upper: float) -> float:
    if not NUMBER.match(cell):
        raise Refused
    value = float(cell)
    if not math.isfinite(value) or not lower <= value <= upper:
        raise Refused
    return value


def _scaled(value: float, scale: str) -> float:
    if scale == "linear":
        return value
    if scale == "log":
        return math.log(value)
    raise Differs("task", f"the scale {scale} is beyond this verifier")


def _bounds(feature: Any) -> tuple[float, float]:
    return int(feature["lower_micro"]) / 1e6, int(feature["upper_micro"]) / 1e6


def _number_columns(feature: Any, cells: dict[str, str]) -> list[float]:
    cell = cells[feature["column"]]
    if feature["missing"] == "indicate" and cell.lower() in NOTHING:
        return [0.0, 1.0]
    value = _scaled(_number(cell, *_bounds(feature)), feature["scale"])
    found = _clip((value - feature["center_micro"] / 1e6) / (feature["spread_micro"] / 1e6))
    return [found, 0.0] if feature["missing"] == "indicate" else [found]


def _category_columns(feature: Any, cells: dict[str, str]) -> list[float]:
    cell, values = cells[feature["column"]], feature["values"]
    known = cell in values
    if not known and not feature["other"]:
        raise Refused
    found = [float(cell == value) for value in values]
    return [*found, float(not known)] if feature["other"] else found


def _date_columns(feature: Any, cells: dict[str, str]) -> list[float]:
    cell = cells[feature["column"]]
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", cell):
        raise Refused
    try:
        day = date.fromisoformat(cell)
    except ValueError as error:
        raise Refused from error
    first, last = (date.fromisoformat(feature[end]) for end in ("first", "last"))
    if not first <= day <= last:
        raise Refused
    days = float((day - first).days)
    return [
        _clip((days - feature["center_days_micro"] / 1e6) / (feature["spread_days_micro"] / 1e6))
    ]


def _place(feature: Any, cells: dict[str, str]) -> list[float]:
    ends = {end: feature[f"{end}_micro"] / 1e6 for end in ("west", "east", "south", "north")}
    lat = _number(cells[feature["latitude"]], ends["south"], ends["north"])
    lon = _number(cells[feature["longitude"]], ends["west"], ends["east"])
    lat0, lon0 = feature["center_latitude_micro"] / 1e6, feature["center_longitude_micro"] / 1e6
    scale = feature["scale_metres"]
    east = (lon - lon0) * math.cos(math.radians(lat0)) * METRES / scale
    return [east, (lat - lat0) * METRES / scale]


COLUMNS = {"number": _number_columns, "category": _category_columns, "date": _date_columns}


def _encode(task: Any, cells: dict[str, str]) -> tuple[list[float], list[float], float]:
    attributes: list[float] = []
    place: list[float] = []
    for feature in task["features"]:
        if feature["kind"] == "location":
            place = _place(feature, cells)
        elif feature["kind"] in COLUMNS:
            attributes += COLUMNS[feature["kind"]](feature, cells)
        else:
            raise Differs("task", f"features of kind {feature['kind']} are beyond this verifier")
    target = task["target"]
    value = _scaled(_number(cells[target["column"]], *_bounds(target)), target["scale"])
    z = (value - target["center_micro"] / 1e6) / (target["spread_micro"] / 1e6)
    if task["unit"]["kind"] == "column" and not cells[task["unit"]["column"]]:
        raise Refused
    return attributes, place, z


def read_rows(task: Any, data: bytes) -> Rows:
    """The rows of a CSV file that fit the schema, in file order."""
    text = data.decode("utf-8-sig")
    table = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    found = []
    for row in table[1:]:
        cells = {name: cell.strip() for name, cell in zip(table[0], row, strict=True)}
        try:
            found.append(_encode(task, cells))
        except Refused:
            continue
    return Rows(
        attributes=np.array([each[0] for each in found]),
        locations=np.array([each[1] for each in found]).reshape(len(found), -1),
        targets=np.array([each[2] for each in found]),
    )
