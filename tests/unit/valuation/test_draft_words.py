# SPDX-License-Identifier: Apache-2.0
"""Categories of many values are drafted where the public rows bear them out, and left out where
prices differ between their values no more than by chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from valuation.draft import draft_task
from valuation.draft_words import MANY


def market(seed: int, *, values: int, effect: float, tail: float = 2.5) -> pd.DataFrame:
    """500 sales by size and by a harbour that matters by `effect` in log price, one deviation."""
    random = np.random.default_rng(seed)
    harbour = random.integers(0, values, 500)
    size = random.lognormal(2.0, 0.5, 500)
    worth = effect * np.linspace(-1.7, 1.7, values)[random.permutation(values)]
    noise = 0.2 * random.standard_t(tail, 500)
    price = np.exp(6.0 + 1.5 * np.log(size) + worth[harbour] + noise)
    return pd.DataFrame(
        {
            "size": [f"{each:.2f}" for each in size],
            "harbour": [f"H{each:02}" for each in harbour],
            "price": [f"{each:.0f}" for each in price],
        }
    )


def drafted(frame: pd.DataFrame) -> tuple[set[str], str]:
    draft = draft_task(frame, target="price")
    columns = {str(getattr(each, "column", "")) for each in draft.features}
    return columns, " ".join(draft.remarks)


def test_a_category_that_does_not_matter_is_left_out_and_told() -> None:
    found = [drafted(market(seed, values=20, effect=0.0)) for seed in range(40)]
    left_out = [columns == {"size"} for columns, _ in found]
    # one in ten passes by chance: more than 12 of 40 do so once in 10^4
    assert sum(left_out) >= 28
    assert all(
        ("'harbour' is left out" in said) is out
        for (_, said), out in zip(found, left_out, strict=True)
    )


@pytest.mark.parametrize("values", [MANY, 20])
def test_a_category_that_matters_is_kept_under_heavy_tails(values: int) -> None:
    for seed in range(20):
        columns, said = drafted(market(seed, values=values, effect=0.2))
        assert columns == {"size", "harbour"}
        assert "is left out" not in said


def test_few_values_are_kept_whatever_they_tell() -> None:
    columns, _ = drafted(market(0, values=MANY - 1, effect=0.0))
    assert columns == {"size", "harbour"}
