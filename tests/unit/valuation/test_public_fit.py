# SPDX-License-Identifier: Apache-2.0
"""Tasks from the same public rows share what follows from these alone, and nothing else."""

from __future__ import annotations

from valuation_world import Blobs, sales

import valuation.public_fit
from privacy import accounting
from valuation.build import build_task
from valuation.draft import draft_task
from valuation.public_fit import PublicFit
from valuation.task_text import render_draft
from valuation.taskfile import TaskFile, parse_taskfile


def public(seed: int) -> bytes:
    return sales(80, seed=seed).drop(columns="owner").to_csv(index=False).encode()


def taskfile(family: str, epsilon: float, contributors: int) -> TaskFile:
    text = render_draft(
        draft_task(sales(80, seed=1).drop(columns="owner"), target="price", currency="EUR"),
        title="Sales",
        asset_class="homes",
        public_rows="public.csv",
        family=family,
        public_n=900,
        contributors=contributors,
        epsilon=epsilon,
    )
    return parse_taskfile(text)


def digest(file: TaskFile, rows: bytes, fits: PublicFit | None) -> str:
    return build_task(
        file, rows, Blobs().put, bundle_sha256="0" * 64, accounting=accounting, fits=fits
    ).digest()


def test_shared_fits_give_the_task_that_is_built_alone(monkeypatch) -> None:
    fitted: list[int] = []
    real = valuation.public_fit.fit_process
    monkeypatch.setattr(
        valuation.public_fit,
        "fit_process",
        lambda *rows, **more: (fitted.append(1), real(*rows, **more))[1],
    )
    fits = PublicFit()
    wanted = [
        (taskfile("kernel", 8.0, 3), public(1)),
        (taskfile("kernel", 1.0, 40), public(1)),
        (taskfile("mlp", 2.0, 3), public(1)),
        (taskfile("kernel", 8.0, 3), public(2)),
    ]
    together = [digest(file, rows, fits) for file, rows in wanted]
    assert len(fitted) == 2, "once for each table of public rows"
    assert together == [digest(file, rows, None) for file, rows in wanted]
    assert len(set(together)) == 4
