# SPDX-License-Identifier: Apache-2.0
"""Where the demo's rows come from: a file, the California loader, or the built-in market."""

from __future__ import annotations

import socket
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dao.errors import InputError
from demo.market import TARGET, generate_market
from valuation.rows import parse_csv

LOADER_SECONDS = 5.0
"""One try, five seconds: a newcomer without a network must not wait longer."""
MINIMUM_ROWS = 1_500
"""Ten contributors, public rows, two sealed parts and a test set need at least this many."""
MARKET_ROWS = 12_000


@dataclass(frozen=True)
class Source:
    """Rows of one data set, as strings, and what they are."""

    frame: pd.DataFrame
    target: str
    currency: str
    asset_class: str
    told: str
    """One sentence that says where the rows come from."""


def load_source(data: Path | None, target: str | None, *, seed: int) -> Source:
    """The rows to play with: `data` if given, else California if reachable, else generated.

    Raises InputError where a file is named without a target, lacks that column, or is too small.
    """
    if data is not None:
        return _from_file(data, target)
    frame = _california()
    if frame is not None:
        return Source(
            frame=frame,
            target="median_house_value",
            currency="USD",
            asset_class="homes",
            told="California housing, 1990 census block groups (scikit-learn's loader)",
        )
    market = generate_market(MARKET_ROWS, seed)
    return Source(
        frame=as_strings(market),
        target=TARGET,
        currency="EUR",
        asset_class="homes",
        told="no data named and no network: the built-in generator of a hedonic housing market "
        "(synthetic)",
    )


def as_strings(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as a CSV reader without guesses would give it: every value a string."""
    text = frame.to_csv(index=False, lineterminator="\n").encode()
    return parse_csv(text, name="generated rows")


def _from_file(path: Path, target: str | None) -> Source:
    if target is None:
        raise InputError(
            f"{path}: no target column was named",
            hint="say which column holds the price: make demo DATA=file TARGET=column",
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file", hint="give the path of a CSV file")
    frame = parse_csv(path.read_bytes(), name=str(path))
    if target not in frame.columns:
        raise InputError(
            f"{path}: no column {target!r}; it has {', '.join(map(repr, frame.columns))}",
            hint="name one of these as TARGET",
        )
    if len(frame) < MINIMUM_ROWS:
        raise InputError(
            f"{path}: {len(frame)} rows, the demo needs at least {MINIMUM_ROWS}",
            hint="ten contributors, public rows, sealed rows and a test set share them",
        )
    return Source(
        frame=frame, target=target, currency="units", asset_class="assets", told=path.name
    )


def _california() -> pd.DataFrame | None:
    """The California rows through scikit-learn's loader, or None without a network."""
    found: list[pd.DataFrame] = []

    def fetch() -> None:
        from sklearn.datasets import fetch_california_housing

        try:
            with warnings.catch_warnings():
                # the loader insists on a second try and warns before it: one is enough here
                warnings.simplefilter("error", UserWarning)
                bunch = fetch_california_housing(as_frame=True, n_retries=1, delay=0.0)
        except (OSError, ValueError, UserWarning):
            return  # no network, a refusal, or an incomplete download: the generator serves
        renamed = bunch.frame.rename(
            columns={
                "MedInc": "median_income",
                "HouseAge": "house_age",
                "AveRooms": "average_rooms",
                "AveBedrms": "average_bedrooms",
                "Population": "population",
                "AveOccup": "average_occupancy",
                "Latitude": "latitude",
                "Longitude": "longitude",
                "MedHouseVal": "median_house_value",
            }
        )
        renamed["median_house_value"] = (renamed["median_house_value"] * 100_000).round(0)
        found.append(as_strings(renamed))

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(LOADER_SECONDS)
    try:
        thread = threading.Thread(target=fetch, daemon=True)
        thread.start()
        thread.join(LOADER_SECONDS)
    finally:
        socket.setdefaulttimeout(before)
    return found[0] if found else None
