# SPDX-License-Identifier: Apache-2.0
"""What several tests of valuation need once."""

from __future__ import annotations

import pytest
from valuation_world import HAND, Blobs, sales

from dao.records import Task
from privacy import accounting
from valuation.build import build_task
from valuation.draft import draft_task
from valuation.task_text import render_draft
from valuation.taskfile import parse_taskfile


def drafted_task(family: str, blobs: Blobs, *, rounds: int | None = None) -> Task:
    """A task drafted and built from 150 public sales."""
    public = sales(150, seed=1).drop(columns="owner")
    text = render_draft(
        draft_task(public, target="price", currency="EUR"),
        title="Sales",
        asset_class="homes",
        public_rows="public.csv",
        family=family,
        public_n=3_000,
        contributors=4,
    )
    if rounds is not None:
        text = text.replace("rounds = 150", f"rounds = {rounds}")
    return build_task(
        parse_taskfile(text),
        public.to_csv(index=False).encode(),
        blobs.put,
        bundle_sha256="0" * 64,
        accounting=accounting,
    )


@pytest.fixture(scope="session")
def kernel_task() -> tuple[Task, Blobs]:
    """A kernel task and its blobs."""
    blobs = Blobs()
    return drafted_task("kernel", blobs), blobs


@pytest.fixture(scope="session")
def mlp_task() -> tuple[Task, Blobs]:
    """An mlp task with public rows, of 100 rounds, and its blobs."""
    blobs = Blobs()
    return drafted_task("mlp", blobs, rounds=100), blobs


@pytest.fixture(scope="session")
def bare_task() -> tuple[Task, Blobs]:
    """An mlp task without public rows, of 100 rounds and N = 3,000, and its blobs."""
    blobs = Blobs()
    text = HAND.replace("public_n = 2000", "public_n = 3000\nrounds = 100")
    text = text.replace("[8, 4]", "[32]")
    task = build_task(
        parse_taskfile(text), None, blobs.put, bundle_sha256="0" * 64, accounting=accounting
    )
    return task, blobs
