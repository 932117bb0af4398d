# SPDX-License-Identifier: Apache-2.0
"""Rows for tests: real ones from the folder COVALUE_DATA, else from the built-in generator."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, settings

from demo.market import TARGET, generate_market

REAL_ROWS = "california_housing.csv"
REAL_TARGET = "median_house_value"

# Wall time on a busy machine says nothing about what a property test holds.
settings.register_profile("covalue", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("covalue")


@dataclass(frozen=True)
class Housing:
    """A table of sales and the column to learn. `real` tells measured rows from generated ones."""

    frame: pd.DataFrame
    target: str
    real: bool


def _real_rows() -> Path | None:
    folder = os.environ.get("COVALUE_DATA")
    if folder is None:
        return None
    path = Path(folder) / REAL_ROWS
    if not path.is_file():
        raise FileNotFoundError(f"COVALUE_DATA is set and {path} does not exist")
    return path


@pytest.fixture(scope="session")
def housing() -> Housing:
    """The housing rows that tests learn from; about 20,000 of them. Do not change in place."""
    path = _real_rows()
    if path is not None:
        return Housing(frame=pd.read_csv(path), target=REAL_TARGET, real=True)
    return Housing(frame=generate_market(20_000, 0), target=TARGET, real=False)


@pytest.fixture
def housing_frame(housing: Housing) -> pd.DataFrame:
    """A copy of the housing rows."""
    return housing.frame.copy()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of whoever runs the tests (COVALUE_*) do not leak into them."""
    for name in list(os.environ):
        if name.startswith("COVALUE_") and name != "COVALUE_DATA":
            monkeypatch.delenv(name)
