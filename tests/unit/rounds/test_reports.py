# SPDX-License-Identifier: Apache-2.0
"""A whole report is remade and checked; what two processors may disagree about is no difference."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from dao.cid import blob_ref
from dao.errors import ReplayMismatch
from dao.records import Position, ScoreReport
from privacy import accounting
from rounds.report import ReportInput, check_report, make_report
from valuation.build import build_task
from valuation.draft import draft_task
from valuation.loading import load_family
from valuation.task_text import render_draft
from valuation.taskfile import parse_taskfile

SAMPLING = "[privacy.sampling]\nrate = 0.1\nsteps = 4\neta = 0.01\nlocal_units = 100\n\n"


@pytest.fixture(scope="module", params=[SAMPLING, ""], ids=["sampled", "full batch"])
def given(request: pytest.FixtureRequest) -> ReportInput:
    """A task that ends before its first round: reports of it hold public figures alone."""
    random = np.random.default_rng(0)
    area, age = random.uniform(50, 200, 120), random.uniform(0, 50, 120)
    price = np.exp(7.6 + 0.9 * np.log(area) - 0.005 * age + 0.2 * random.normal(size=120))
    columns = {"area": area, "age": age, "price": price}
    public = pd.DataFrame({name: [f"{x:.3f}" for x in each] for name, each in columns.items()})
    blobs = {}

    def put(data: bytes):
        blobs[blob_ref(data).sha256] = data
        return blob_ref(data)

    text = render_draft(
        draft_task(public, target="price"),
        title="Homes",
        asset_class="homes",
        public_rows="public.csv",
        public_n=1_000,
        contributors=3,
    )
    task = build_task(
        parse_taskfile(text.replace("[model]", f"{request.param}[model]")),
        public.to_csv(index=False).encode(),
        put,
        bundle_sha256="0" * 64,
        accounting=accounting,
    )
    return ReportInput(
        task=task,
        place=Position(
            chain_id=1, ledger="0x" + "1e" * 20, task_id=1, task_digest=task.digest(), round=0
        ),
        roster=tuple(f"0x{k:040x}" for k in (1, 2, 3)),
        family=load_family(task, blobs[task.model.setup.sha256]),
        stretches=(),
        blocks=(),
        parts=(),
        model=task.model.initial,
        state=blobs[task.model.initial.sha256],
    )


def _with_epsilon(report: ScoreReport, epsilon_micro: int) -> ScoreReport:
    last = report.results[-1].model_copy(update={"epsilon_micro": epsilon_micro})
    return report.model_copy(update={"results": (*report.results[:-1], last)})


@pytest.mark.promise(7)
def test_promise_7_a_report_is_found_again_and_an_epsilon_one_step_away_with_it(
    given: ReportInput,
) -> None:
    report = make_report(given)
    check_report(report, given)
    assert report.results[-1].epsilon_micro == 0, "nobody answered"
    near, far = _with_epsilon(report, 1_000), _with_epsilon(report, 2_000)
    if given.task.policy.sampling is None:
        with pytest.raises(ReplayMismatch, match=r"results\[2\].epsilon_micro"):
            check_report(near, given)
    else:
        check_report(near, given)
    with pytest.raises(ReplayMismatch, match=r"results\[2\].epsilon_micro"):
        check_report(far, given)


def test_a_report_of_another_roster_is_refused(given: ReportInput) -> None:
    report = make_report(given)
    with pytest.raises(ReplayMismatch, match="results"):
        check_report(report, dataclasses.replace(given, roster=given.roster[::-1]))
