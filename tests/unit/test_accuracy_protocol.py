# SPDX-License-Identifier: Apache-2.0
"""How the bench of accuracy divides rows and edits a drafted task."""

from __future__ import annotations

import numpy as np
import pytest

from bench.accuracy_protocol import edited, split_rows, two_region_split
from dao.errors import InputError
from demo.market import TARGET, generate_market
from valuation.draft import draft_task
from valuation.rows import parse_csv
from valuation.task_text import render_draft
from valuation.taskfile import parse_taskfile

MARKET = parse_csv(generate_market(3_500, 4).to_csv(index=False).encode(), name="market")


def test_edits_make_another_task_and_what_is_not_there_is_refused() -> None:
    draft = render_draft(
        draft_task(MARKET.head(200), target=TARGET),
        title="Homes",
        asset_class="homes",
        public_rows="public.csv",
    )
    before = parse_taskfile(draft)
    after = parse_taskfile(
        edited(draft, [('rule = "wiener"', 'rule = "sum"'), ("rounds = 30", "rounds = 16")])
    )
    assert (before.aggregation.rule, before.privacy.rounds) == ("wiener", 30)
    assert (after.aggregation.rule, after.privacy.rounds) == ("sum", 16)
    assert after.feature == before.feature
    without = parse_taskfile(edited(draft, [("[calibration]", ""), ("level = 0.9", "")]))
    assert before.calibration is not None
    assert without.calibration is None
    with pytest.raises(InputError, match="holds no 'rule = \"median\"'"):
        edited(draft, [('rule = "median"', "")])


def test_public_rows_of_two_regions_leave_all_others_private() -> None:
    usual = split_rows(MARKET, seed=1, contributors=10, keep=None, public_rows=0)
    split = two_region_split(MARKET, seed=1)
    assert (split.test == usual.test).all()
    assert len(split.public) == 500
    parts = np.concatenate([split.test, split.public, split.private])
    assert sorted(parts.tolist()) == list(range(len(MARKET)))
    owner = dict(zip(usual.private.tolist(), usual.owner.tolist(), strict=True))
    assert len({owner[row] for row in split.public.tolist()}) == 2
    assert [owner[row] for row in split.private.tolist()] == split.owner.tolist()
