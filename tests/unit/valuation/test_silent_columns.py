# SPDX-License-Identifier: Apache-2.0
"""Columns of which public rows teach nothing: told in the draft and when the task is checked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from valuation_world import sales

from privacy import accounting
from valuation.blueprint import draw_blueprint
from valuation.build import validate_taskfile
from valuation.draft import draft_task
from valuation.encode import attribute_names
from valuation.landmarks import synthetic_rows
from valuation.task_text import render_draft
from valuation.taskfile import CategorySection, parse_taskfile

ROWS = 120
PUBLIC = sales(ROWS, seed=1).drop(columns="owner")
OTHER = sales(ROWS, seed=2).drop(columns="owner")


def text_of(frame: pd.DataFrame, family: str = "kernel") -> str:
    """A task drafted from rows in which every column varies."""
    return render_draft(
        draft_task(frame, target="price"),
        title="Sales",
        asset_class="homes",
        public_rows="public.csv",
        family=family,
    )


def warnings_of(text: str, public: pd.DataFrame) -> list[str]:
    data = public.to_csv(index=False).encode()
    found = validate_taskfile(parse_taskfile(text), data, accounting=accounting)
    assert found.errors == ()
    return [each for each in found.warnings if "public rows" in each and "sealed" not in each]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"area": "80"}, "'area' has one value on all public rows"),
        ({"area": "80.0"}, "'area' has one value on all public rows"),
        ({"rooms": ""}, "'rooms' is empty on all public rows"),
        ({"rooms": "NaN"}, "'rooms' is empty on all public rows"),
        ({"rooms": "4"}, "'rooms' has one value on all public rows"),
        ({"kind": "flat"}, "'kind' has one value on all public rows"),
        ({"kind": ""}, "'kind' is empty on all public rows"),
        (
            {"kind": ["castle", "tent"] * (ROWS // 2)},
            "'kind' has none of its listed values on any public row",
        ),
        ({"sold": "2021-05-05"}, "'sold' has one value on all public rows"),
        ({"lat": "51", "lon": "9"}, "'lat' and 'lon' are one place on all public rows"),
    ],
)
@pytest.mark.parametrize("family", ["kernel", "mlp"])
def test_a_column_that_teaches_nothing_is_told_with_a_way_out(
    family: str, columns: dict[str, str | list[str]], words: str
) -> None:
    text = text_of(PUBLIC, family)
    assert warnings_of(text, OTHER) == []
    (warning,) = warnings_of(text, OTHER.assign(**columns))
    assert warning.startswith(words)
    assert "leave the feature out" in warning
    assert ("nothing can be learned of it" in warning) == (family == "kernel")


def test_where_a_number_is_filled_may_tell_something() -> None:
    """One value or none: whether there is one can be learned, so nothing is said."""
    half = OTHER.assign(rooms=["4", ""] * (ROWS // 2))
    assert warnings_of(text_of(PUBLIC), half) == []
    one_side = OTHER.assign(lat="51")
    assert warnings_of(text_of(PUBLIC), one_side) == []


def test_equal_prices_and_a_ratio_of_multiples_are_told() -> None:
    random = np.random.default_rng(0)
    size = np.exp(random.normal(5, 1, ROWS))
    people = PUBLIC.assign(
        people=size.round(2).astype(str),
        homes=(size * np.exp(random.normal(0, 0.2, ROWS)) / 3).round(2).astype(str),
    )
    text = text_of(people)
    assert 'kind = "ratio"' in text
    assert warnings_of(text, people) == []
    multiples = people.assign(homes=(people["people"].astype(float) / 3).astype(str))
    (warning,) = warnings_of(text, multiples)
    assert warning.startswith("the ratio 'people' / 'homes' has one value on all public rows")
    (warning,) = warnings_of(text, people.assign(price="150000"))
    assert warning.startswith("'price', the target, has one value on all public rows")
    assert 'kind = "ratio"' not in text_of(multiples)


def test_only_public_rows_that_count_are_looked_at() -> None:
    """The one row in which it differs breaks the schema elsewhere."""
    frame = OTHER.assign(area="80")
    frame.iloc[0, list(frame.columns).index("area")] = "90"
    assert warnings_of(text_of(PUBLIC), frame) == []
    frame.iloc[0, list(frame.columns).index("price")] = "-5"
    told = warnings_of(text_of(PUBLIC), frame)
    assert [each for each in told if each.startswith("'area' has one value")]


def test_where_the_kernel_makes_its_features_a_constant_column_stays_constant() -> None:
    """What the warning says of the kernel; the other columns do vary there."""
    frame = OTHER.assign(rooms="4", area="80")
    taskfile = parse_taskfile(text_of(PUBLIC))
    plan = draw_blueprint(taskfile, frame.to_csv(index=False).encode(), accounting=accounting)
    assert plan.public is not None
    landmarks, _ = synthetic_rows(plan.public.attributes, plan.public.locations, 500, seed=0)
    silent = {
        name
        for name, column in zip(attribute_names(plan.schema), landmarks.T, strict=True)
        if np.ptp(column) == 0
    }
    assert silent == {"area", "rooms", "rooms is missing", "kind is other"}


def test_a_draft_says_what_it_left_out_and_why() -> None:
    frame = PUBLIC.assign(
        country="DE",
        five=["5", "5.0"] * (ROWS // 2),
        nothing="",
        unknown="nan",
        day="2020-01-01",
        pool=["1", "", ""] * (ROWS // 3),
    )
    draft = draft_task(frame, target="price")
    (pool,) = (f for f in draft.features if getattr(f, "column", "") == "pool")
    assert isinstance(pool, CategorySection)
    assert (pool.values, pool.other) == (("1",), True)
    remarks = {remark.split("'")[1]: remark for remark in draft.remarks}
    for column in ("country", "five", "day"):
        assert "has one value on all public rows" in remarks[column]
    for column in ("nothing", "unknown"):
        assert "is empty on all public rows" in remarks[column]
    assert set(remarks) == {"country", "five", "day", "nothing", "unknown"}
    text = render_draft(draft, title="t", asset_class="a", public_rows="p.csv")
    assert warnings_of(text, frame) == []


def test_a_column_that_refuses_every_row_is_named() -> None:
    text = text_of(PUBLIC)
    data = OTHER.assign(area="").to_csv(index=False).encode()
    found = validate_taskfile(parse_taskfile(text), data, accounting=accounting)
    (error,) = found.errors
    assert "0 usable public rows" in error
    assert f"'area' refuses {ROWS} of {ROWS} rows" in error
    assert "leave the feature out" in error
