# SPDX-License-Identifier: Apache-2.0
"""What a forecast calls the model that training starts from: of public rows only where there are
some."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cli.forecast_table import tell_forecast
from demo.forecast_page import forecast_page
from demo.forecast_settings import settings_of
from demo.forecast_task import Forecast, forecast_task
from tests.unit.valuation.valuation_world import HAND, sales
from valuation.taskfile import parse_taskfile


def forecast(public: bytes | None) -> Forecast:
    """Two rounds of a small network."""
    named = HAND if public is None else HAND.replace("[target]", 'public_rows = "p.csv"\n[target]')
    taskfile = parse_taskfile(named)
    mine = sales(80, seed=9).to_csv(index=False).encode()
    settings = settings_of(taskfile, contributors=[2], rounds=[2])
    return forecast_task(taskfile, public, settings, data=("mine.csv", mine), payouts=False)


@pytest.mark.parametrize(
    ("public", "start"),
    [
        (None, "before training"),
        (sales(60, seed=1).to_csv(index=False).encode(), "public rows only"),
    ],
    ids=["without", "with"],
)
def test_the_start_is_named_for_what_it_knows(public: bytes | None, start: str) -> None:
    found = forecast(public)
    drawn = io.StringIO()
    tell_forecast(Console(file=drawn, width=100), found, picture=None)
    figure = found.outcomes[0].before.r2
    (line,) = (each for each in drawn.getvalue().splitlines() if "median error" in each)
    assert line.startswith(f"{start}: R2 {figure:.3f}, ")
    assert f"{start.capitalize()}: R² {figure:.3f}." in forecast_page(found, "<svg/>")
