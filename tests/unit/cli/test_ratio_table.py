# SPDX-License-Identifier: Apache-2.0
"""The ratio study on a terminal of eighty columns."""

from __future__ import annotations

import json
import re
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from cli.ratio_table import tell_studies, verdicts_as_json
from dao.records import RatioStudy
from valuation.accepted import ACCEPTED
from valuation.ratio_study import RegionsOfRows, ratio_studies


def _studies(*, slope: float) -> tuple[RatioStudy, ...]:
    random = np.random.default_rng(0)
    worth = random.normal(0, 0.5, 4_000)
    errors = random.normal(0, 0.1, (2, 4_000))
    prices, estimates = np.exp(13 + worth + errors[0]), np.exp(13 + slope * worth + errors[1])
    region = np.arange(4_000) % 10
    region[region == 9] = 8
    region[:3] = 9  # too few for figures
    centres = tuple((34_000_000 + 100_000 * k, -118_000_000) for k in range(10))
    return ratio_studies(prices, estimates, RegionsOfRows(region, centres))


def _told(studies: tuple[RatioStudy, ...]) -> list[str]:
    out = Console(file=StringIO(), width=80)
    tell_studies(out, studies, currency="USD")
    return out.file.getvalue().splitlines()


def test_the_table_fits_and_names_every_group_once() -> None:
    studies = _studies(slope=0.8)
    lines = _told(studies)
    table = lines[: 3 + len(studies)]
    assert max(len(line) for line in table) <= 80
    assert "…" not in "".join(table)
    for study, line in zip(studies, table[3:], strict=True):
        assert line.startswith(study.group)
    assert "-0.050" in table[1]
    assert "+0.050" in table[2]


def test_a_regressive_model_is_marked_and_a_fair_one_is_not() -> None:
    regressive, fair = _told(_studies(slope=0.8))[3], _told(_studies(slope=1.0))[3]
    assert regressive.count("!") == 3  # PRD, PRB and MKI
    assert "!" not in fair
    assert "?" not in fair


def test_a_group_without_figures_shows_dashes() -> None:
    line = next(line for line in _told(_studies(slope=1.0)) if line.startswith("region 10"))
    assert line.split()[2:] == ["3", *["-"] * 9]


def test_places_and_bands_are_told() -> None:
    text = "\n".join(_told(_studies(slope=1.0)))
    assert "4: 34.30, -118.00" in text
    assert "USD" in text


def test_bands_of_prices_below_one_are_no_zeros() -> None:
    prices = np.exp(np.random.default_rng(0).normal(-1.0, 0.5, 400))
    text = "\n".join(_told(ratio_studies(prices, prices * 1.01, None)))
    bounds = re.search(r"price bands from (.*) USD", text)
    assert bounds is not None
    edges = np.quantile(prices, [0.25, 0.5, 0.75])
    told = [float(each) for each in bounds[1].split(", ")]
    assert told[-3:] == pytest.approx(edges.tolist(), rel=0.01)


def test_a_model_without_sealed_rows_says_so() -> None:
    assert _told(()) == ["no ratio study: no sealed validation rows were opened"]


def test_json_holds_verdicts_and_what_they_rest_on() -> None:
    studies = _studies(slope=0.8)
    found = json.loads(json.dumps(verdicts_as_json(studies)))
    assert [each["group"] for each in found["verdicts"]] == [study.group for study in studies]
    assert found["verdicts"][0]["prd"] == "outside"
    assert found["accepted"]["prd"]["upper_micro"] == ACCEPTED["prd"].upper_micro
