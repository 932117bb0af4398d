# SPDX-License-Identifier: Apache-2.0
"""The demo's closing tables on a terminal of eighty columns."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console

from demo.baselines import Quality
from demo.cast import COVAL
from demo.result import (
    DemoResult,
    Provenance,
    Standing,
    tell,
    told_payouts,
    told_rounds,
)

EXCLUDED = "round 12: bad signature"


def standing(number: int) -> Standing:
    return Standing(
        name=f"contributor {number}",
        behaviour="flips labels",
        rows=100_000 + number,
        epsilon_micro=7_990_000 + number,
        score_pico=-123_400_000_000 * number,
        standard_error_pico=0,
        threshold_pico=2_740_000_000 + number,
        payout_wei=(9_000 + number) * COVAL,
        claimed_wei=(9_000 + number) * COVAL,
        excluded=EXCLUDED,
    )


def result() -> DemoResult:
    return DemoResult(
        source="rows.csv",
        division="20 contributors by geography (k-means on location)",
        family="kernel",
        standings=tuple(standing(number) for number in range(1, 21)),
        qualities=(Quality(name="this task's model", r2=0.8, mdape=0.1),),
        provenance=Provenance(
            release=1,
            task_id=1,
            task_digest="a" * 64,
            model_sha256="b" * 64,
            epsilon_micro=8_000_000,
            delta_e12=10_000_000,
            contributors=20,
            rounds=30,
            block=1_000,
        ),
        valuation={"told": "255,947 EUR (90% between 185,488 and 353,169)"},
        audit_ok=True,
        audit_checks=40,
        audit_failure="",
        picture=Path("demo.png"),
        folder=Path("demo-out"),
        curl="curl",
        rpc_url="http://127.0.0.1:8545",
        api_url="http://127.0.0.1:8081",
        seconds=60.0,
    )


def test_every_cell_can_be_read_on_eighty_columns() -> None:
    console = Console(width=80, record=True, file=StringIO())
    tell(result(), console)
    lines = console.export_text().splitlines()
    # below the verdict stand commands and paths: to be copied whole, so never broken
    verdict = next(at for at, line in enumerate(lines) if line.startswith("Audit passed"))
    assert max(map(len, lines[:verdict])) <= 80
    assert "…" not in "".join(lines)
    for number in range(1, 21):
        each = standing(number)
        wanted = (
            f"│ {number:2} │ {each.behaviour} │ {each.rows:,} │ 7.99 │ "
            f"{each.score_pico / 1e12:+.4f} │ {each.threshold_pico / 1e12:.4f} │ "
            f"{each.payout_wei / COVAL:,.1f} │ {EXCLUDED[:9]}"
        )
        assert [line for line in lines if line.startswith(wanted)], wanted
    assert [line for line in lines if line.endswith("a" * 64)]
    assert [line for line in lines if line.endswith("b" * 64)]


def test_scores_that_were_sampled_are_told_with_their_standard_error() -> None:
    exact, drawn = result(), replace(standing(1), standard_error_pico=1_234_000_000)
    for standings, says in (((standing(1),), False), ((drawn, standing(2)), True)):
        console = Console(width=80, record=True, file=StringIO())
        tell(replace(exact, standings=standings), console)
        told = " ".join(console.export_text().split())
        assert ("Scores are sampled: standard error at most 0.0012." in told) is says


def test_the_commands_below_reach_what_the_run_left() -> None:
    console = Console(width=80, record=True, file=StringIO())
    tell(result(), console)
    told = console.export_text()
    assert "devnet up --state demo-out/devnet --port 8545\n" in told
    assert "serve --port 8081 --config demo-out/covalue.toml\n" in told, "the printed curl's port"
    assert "devnet down --state demo-out/devnet\n" in told


def test_it_says_where_the_public_rows_alone_do_as_well() -> None:
    ours = Quality(name="this task's model", r2=0.8, mdape=0.1)
    for public, says in ((0.7, None), (0.8, "as well here"), (0.82, "better here")):
        both = (ours, Quality(name="public rows only (trees)", r2=public, mdape=0.1))
        console = Console(width=80, record=True, file=StringIO())
        tell(replace(result(), qualities=both), console)
        told = " ".join(console.export_text().split())
        assert [word for word in ("as well here", "better here") if word in told] == (
            [] if says is None else [says]
        )


def test_what_is_burned_is_told_only_where_something_is() -> None:
    budget = 10_000 * COVAL
    third = budget // 3
    assert told_payouts([third] * 3, budget_wei=budget) == (
        "Settled: 3 of 3 contributors share 10,000 COVAL."
    )
    assert told_payouts([third, 0, third], budget_wei=budget) == (
        "Settled: 2 of 3 contributors share 6,666.67 of 10,000 COVAL; the rest is burned."
    )
    assert told_payouts([0, 0], budget_wei=budget) == (
        "Settled: nobody is paid, 10,000 COVAL are burned."
    )


def test_rounds_are_told_as_the_chain_counts_them() -> None:
    assert told_rounds(30, survey=True, calibration=True) == (
        "30 rounds of training and 2 more: survey, calibration"
    )
    assert told_rounds(12, survey=False, calibration=False) == "12 rounds of training"


def test_json_keeps_what_was_claimed() -> None:
    plain = result().as_json()["standings"]
    assert isinstance(plain, tuple)
    assert [each["claimed_wei"] for each in plain][:2] == [str(9_001 * COVAL), str(9_002 * COVAL)]
