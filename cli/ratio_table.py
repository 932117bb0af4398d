# SPDX-License-Identifier: Apache-2.0
"""A model card's ratio study on a terminal of eighty columns, and for `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from dao.records import RatioStudy
from valuation.accepted import ACCEPTED, Verdict, verdict, verdicts

_MARKS: dict[Verdict, str] = {"within": " ", "unclear": "?", "outside": "!", "none": " "}
_STYLES: dict[Verdict, str] = {"within": "", "unclear": "yellow", "outside": "red", "none": ""}
# figure, heading, factor on micro, format
_COLUMNS = (
    ("median_ratio", "median", 1e-6, ".3f"),
    ("cod", "COD", 1e-6, ".1f"),
    ("prd", "PRD", 1e-6, ".3f"),
    ("prb", "PRB", 1e-6, "+.3f"),
    ("mki", "MKI", 1e-6, ".3f"),
    ("fsd", "FSD", 1e-4, ".0f"),
    ("ppe10", "PPE10", 1e-4, ".0f"),
    ("mdape", "MdAPE", 1e-4, ".1f"),
    ("r2", "R2", 1e-6, ".3f"),
)


def tell_studies(out: Console, studies: Sequence[RatioStudy], *, currency: str) -> None:
    """Print the table with the accepted ranges, the marks, and where the groups lie."""
    if not studies:
        out.print("no ratio study: no sealed validation rows were opened")
        return
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("group", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    for _, heading, _, _ in _COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for bound in ("lower_micro", "upper_micro"):
        label = "at least" if bound == "lower_micro" else "at most"
        cells = [
            f"{getattr(ACCEPTED[name], bound) * factor:{style}} " if name in ACCEPTED else ""
            for name, _, factor, style in _COLUMNS
        ]
        table.add_row(label, "", *cells, style="dim")
    for study in studies:
        table.add_row(study.group, str(study.rows), *[_cell(study, *each) for each in _COLUMNS])
    out.print(table)
    out.print(
        "! outside what appraisers accept, ? outside but too few rows to tell; COD, FSD, PPE10 "
        "(within 10 %) and MdAPE in per cent",
        soft_wrap=True,
    )
    for line in _places(studies, currency):
        out.print(line, markup=False, soft_wrap=True)


def verdicts_as_json(studies: Sequence[RatioStudy]) -> dict[str, Any]:
    """The verdict on each figure of a card's studies, and what the verdicts rest on."""
    return {
        "verdicts": [{"group": study.group} | verdicts(study) for study in studies],
        "accepted": {name: asdict(accepted) for name, accepted in ACCEPTED.items()},
    }


def _cell(study: RatioStudy, figure: str, heading: str, factor: float, style: str) -> str:
    value: int | None = getattr(study, f"{figure}_micro")
    found: Verdict = verdict(study, figure) if figure in ACCEPTED else "within"
    text = "-" if value is None else f"{value * factor:{style}}"
    if figure in ACCEPTED:
        text += _MARKS[found]
    return f"[{_STYLES[found]}]{text}[/]" if _STYLES[found] else text


def _places(studies: Sequence[RatioStudy], currency: str) -> list[str]:
    regions = [
        f"{study.group.removeprefix('region ')}: {study.latitude_micro / 1e6:.2f}, "
        f"{study.longitude_micro / 1e6:.2f}"
        for study in studies
        if study.latitude_micro is not None and study.longitude_micro is not None
    ]
    bands = [_price(study.lower_micro / 1e6) for study in studies if study.lower_micro is not None]
    lines = []
    if regions:
        lines.append(f"regions around (latitude, longitude) {'; '.join(regions)}")
    if bands:
        lines.append(
            f"price bands from {', '.join(bands)} {currency} of value; "
            "PRD, PRB and MKI are not judged within a band"
        )
    return lines


def _price(value: float) -> str:
    """Whole units, but for prices below a thousand, which may be a fraction of one."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
