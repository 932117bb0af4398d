# SPDX-License-Identifier: Apache-2.0
"""Drafts from tables of many kinds: every draft can be written, read again and built upon."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from valuation_world import sales

from dao.errors import InputError
from privacy import accounting
from valuation.blueprint import draw_blueprint
from valuation.build import validate_taskfile
from valuation.draft import Draft, draft_task
from valuation.rows import parse_csv
from valuation.task_text import render_draft
from valuation.taskfile import (
    CategorySection,
    DateSection,
    LocationSection,
    NumberSection,
    RatioSection,
    TaskFile,
    parse_taskfile,
)

WORDS = {"title": "t", "asset_class": "a", "public_rows": "p.csv"}


def csv_of(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def drafted(frame: pd.DataFrame, target: str = "price") -> tuple[Draft, TaskFile]:
    """Draft, write, read; the blueprint must accept every drafted row."""
    data = csv_of(frame)
    draft = draft_task(parse_csv(data, name="p.csv"), target=target)
    taskfile = parse_taskfile(render_draft(draft, **WORDS))
    assert taskfile.target == draft.target
    assert taskfile.feature == draft.features
    plan = draw_blueprint(taskfile, data, accounting=accounting)
    assert plan.check is not None
    assert plan.check.accepted.all()
    return draft, taskfile


def numbers(draft: Draft) -> dict[str, NumberSection]:
    return {f.column: f for f in draft.features if isinstance(f, NumberSection)}


def test_every_kind_of_column_is_found() -> None:
    draft, _ = drafted(sales(300, seed=1))
    place = next(f for f in draft.features if isinstance(f, LocationSection))
    assert (place.latitude, place.longitude) == ("lat", "lon")
    assert place.center == pytest.approx((51, 9), abs=0.1)
    assert place.scale_metres is not None
    assert 5_000 < place.scale_metres < 30_000
    assert numbers(draft)["area"].scale == "log"
    assert numbers(draft)["rooms"].missing == "indicate"
    (kind,) = (f for f in draft.features if isinstance(f, CategorySection))
    assert kind.values == ("flat", "house")
    assert kind.other
    (sold,) = (f for f in draft.features if isinstance(f, DateSection))
    assert sold.first.isoformat() < "2020-01-02"
    assert sold.last.isoformat() > "2025-11-01"
    assert draft.target.scale == "log"
    assert any("owner" in remark for remark in draft.remarks) == (
        not any(getattr(f, "column", "") == "owner" for f in draft.features)
    )


def test_bounds_are_generous_and_round() -> None:
    frame = sales(200, seed=2)
    area = frame["area"].astype(float)
    section = numbers(draft_task(frame, target="price"))["area"]
    assert section.lower < area.min() / 1.5
    assert section.upper > area.max() * 1.5
    assert len(f"{section.upper:.0f}".rstrip("0")) <= 2


def test_sizes_that_move_together_give_ratios() -> None:
    random = np.random.default_rng(0)
    size = np.exp(random.normal(5, 1, 200))
    frame = sales(200, seed=2)[["price", "kind"]].assign(
        people=(size * np.exp(random.normal(0, 0.2, 200))).round(2).astype(str),
        homes=(size * np.exp(random.normal(0, 0.2, 200)) / 3).round(2).astype(str),
        alone=np.exp(random.normal(0, 1, 200)).round(4).astype(str),
    )
    draft, _ = drafted(frame)
    ratios = [f for f in draft.features if isinstance(f, RatioSection)]
    assert [(f.numerator, f.denominator) for f in ratios] == [("people", "homes")]


def test_identifiers_and_constants_are_left_out_and_said() -> None:
    frame = sales(100, seed=3).assign(
        name=[f"deed {i}" for i in range(100)],
        number=[str(i + 5000) for i in range(100)],
        parcel_id=[str((i * 7919) % 10_007) for i in range(100)],
        country="DE",
        nothing="",
    )
    draft, _ = drafted(frame)
    used = {getattr(f, "column", None) for f in draft.features}
    for column in ("name", "number", "parcel_id", "country", "nothing"):
        assert column not in used
        assert any(f"{column!r}" in remark for remark in draft.remarks)


def dearer_by(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """The rows with prices that differ by a column's words, so that it is worth drafting."""
    words = sorted(set(frame[column]))
    factor = dict(zip(words, np.linspace(1.0, 2.0, len(words)), strict=True))
    prices = frame["price"].astype(float) * frame[column].map(factor)
    return frame.assign(price=[f"{price:.0f}" for price in prices])


def test_many_categories_keep_the_frequent_ones() -> None:
    random = np.random.default_rng(1)
    frame = sales(1_000, seed=3).assign(
        town=[f"town {min(int(v), 400)}" for v in random.pareto(0.8, 1_000) * 3]
    )
    draft, _ = drafted(dearer_by(frame, "town"))
    (town,) = (f for f in draft.features if isinstance(f, CategorySection) and f.column == "town")
    assert len(town.values) == 24
    assert "town 0" in town.values
    assert town.other
    assert any("rare values" in remark for remark in draft.remarks)


def test_codes_are_words_not_numbers() -> None:
    frame = sales(300, seed=3).assign(zipcode=[str(10_000 + i % 9) for i in range(300)])
    draft, _ = drafted(frame)
    assert any(isinstance(f, CategorySection) and f.column == "zipcode" for f in draft.features)


def test_a_cap_in_the_target_is_its_bound() -> None:
    frame = sales(400, seed=4)
    price = frame["price"].astype(float)
    frame["price"] = price.clip(upper=np.quantile(price, 0.95)).round().astype(int).astype(str)
    draft, _ = drafted(frame)
    assert draft.target.upper == frame["price"].astype(float).max()


def test_tables_without_location_with_heavy_tails_and_signs() -> None:
    random = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "price": (random.standard_t(2, 250) * 100).round(2).astype(str),
            "heavy": np.exp(random.normal(0, 3, 250)).astype(str),
            "signed": random.standard_cauchy(250).astype(str),
            "huge": (random.normal(5, 1, 250) * 1e12).astype(str),
            "tiny": (random.normal(0, 1, 250) * 1e-9).astype(str),
            "flag": random.choice(["Y", "N", ""], 250),
            "count": random.poisson(0.3, 250).astype(str),
            "half": [("" if i % 2 else str(i / 7)) for i in range(250)],
        }
    )
    draft, _ = drafted(frame)
    assert draft.target.scale == "linear"
    assert not any(isinstance(f, LocationSection) for f in draft.features)
    assert numbers(draft)["half"].missing == "indicate"
    assert numbers(draft)["heavy"].scale == "log"
    assert "tiny" not in numbers(draft)


def test_strange_names_survive_the_file() -> None:
    frame = sales(60, seed=6)[["price", "area"]].assign(
        **{'pri"ce\\ [m\u00b2] # 1': [str(i % 13) for i in range(60)], "\u4fa1\u683c\x7f": "x"}
    )
    frame["\u4fa1\u683c\x7f"] = ["a\tb", 'c"d', "e#f"] * 20
    draft, _ = drafted(frame)
    assert {getattr(f, "column", None) for f in draft.features} >= {
        'pri"ce\\ [m\u00b2] # 1',
        "\u4fa1\u683c\x7f",
    }


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (sales(40, seed=1).drop(columns="price"), "missing column 'price'"),
        (sales(40, seed=1).assign(price="much"), "0 of 40"),
        (sales(40, seed=1).assign(price="5"), "all equal"),
        (sales(40, seed=1)[["price"]], "no column of the public rows"),
    ],
)
def test_tables_without_target_or_features_are_refused(frame: pd.DataFrame, words: str) -> None:
    with pytest.raises(InputError, match=words):
        draft_task(frame, target="price")


def test_a_fresh_draft_warns_of_what_is_still_to_fill_in() -> None:
    frame = sales(200, seed=1)
    text = render_draft(draft_task(frame, target="price"), **WORDS)
    found = validate_taskfile(parse_taskfile(text), csv_of(frame), accounting=accounting)
    assert found.errors == ()
    assert any("zero account" in warning for warning in found.warnings)
    assert any("sealed validation parts" in warning for warning in found.warnings)


def test_values_that_stand_often_are_kept_however_many_others_stand_once() -> None:
    """341 values on 600 rows: most stand on one row, a few on many."""
    frame = sales(600, seed=8)
    often = [f"quarter {place}" for place in range(8)]
    frame["area_name"] = [
        often[row % 8] if row % 9 < 4 else f"hamlet {row}" for row in range(len(frame))
    ]
    draft, _ = drafted(frame)
    (section,) = (
        f for f in draft.features if isinstance(f, CategorySection) and f.column == "area_name"
    )
    assert section.values == tuple(often)
    assert section.other
    assert any("'area_name'" in each and "rare values" in each for each in draft.remarks)


def test_a_column_of_values_that_stand_once_is_left_out() -> None:
    frame = sales(200, seed=9)
    frame["owner"] = [f"person {row}" for row in range(len(frame))]
    draft, _ = drafted(frame)
    assert not any(isinstance(f, CategorySection) and f.column == "owner" for f in draft.features)
    assert any("'owner' is left out: no value stands on 5 rows" in each for each in draft.remarks)
