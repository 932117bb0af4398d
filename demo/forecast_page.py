# SPDX-License-Identifier: Apache-2.0
"""A forecast as one HTML page that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from demo.forecast_outcome import Outcome
from demo.forecast_payouts import Payouts, by_size, told_draws
from demo.forecast_task import Forecast
from valuation.accepted import ACCEPTED, verdict

_WEI = 1e18
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222 }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem }
th, td { padding: .15rem .7rem; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left }
.outside { color: #c1121f; font-weight: 600 } .unclear { color: #b08900 }
svg { max-width: 100%; height: auto }
"""
_FIGURES = (
    ("median_ratio", "median ratio", 1e-6, ".3f"),
    ("cod", "COD", 1e-6, ".1f"),
    ("prd", "PRD", 1e-6, ".3f"),
    ("prb", "PRB", 1e-6, "+.3f"),
    ("mki", "MKI", 1e-6, ".3f"),
    ("fsd", "FSD", 1e-4, ".0f"),
    ("ppe10", "PPE10", 1e-4, ".0f"),
    ("mdape", "MdAPE", 1e-4, ".1f"),
    ("r2", "R²", 1e-6, ".3f"),
)
"""Figure, heading, factor on micro, format."""


def forecast_page(found: Forecast, picture: str) -> str:
    """The page; `picture` is an SVG document, taken as it is."""
    first = found.outcomes[0]
    title = escape(first.task.title)
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>",
        f"<style>{_STYLE}</style><h1>{title}</h1>",
        f"<p>{_rows_told(found)}</p>",
        _settings(found.outcomes),
        *(
            f"<p class='unclear'>{escape(remark)}</p>"
            for outcome in found.outcomes
            for remark in outcome.remarks
        ),
        picture[picture.index("<svg") :],
        f"<h2>Ratio study: {_named(first)}</h2>",
        _studies(first),
    ]
    if first.payouts is not None:
        parts += [f"<h2>Payouts: {_named(first)}</h2>", _payouts(first.payouts)]
    return "\n".join(parts) + "\n"


def _rows_told(found: Forecast) -> str:
    first = found.outcomes[0]
    told = f"{first.trained_rows} rows train, "
    if first.calibrated_rows:
        told += f"{first.calibrated_rows} calibrate the intervals, "
    told += f"{first.after.rows} others judge. "
    if found.imagined:
        told += (
            "The rows are imagined from the public ones, in a world such as these suggest. Real "
            "rows are rougher: read it as an upper estimate. "
        )
    if found.refused_rows:
        told += f"{found.refused_rows} given rows break the task's schema and do not count. "
    return told + f"{first.start.capitalize()}: R² {first.before.r2:.3f}."


def _settings(outcomes: Sequence[Outcome]) -> str:
    headings = ["contributors", "rounds", "epsilon", "noise multiplier", "parameters"]
    headings += ["R²", "median error", "within 10 %", "interval", "covers", "paid", "of budget"]
    return _table(headings, [_setting(outcome) for outcome in outcomes])


def _setting(outcome: Outcome) -> list[str]:
    policy, payouts, judged = outcome.task.policy, outcome.payouts, outcome.intervals
    return [
        str(outcome.setting.contributors),
        str(policy.rounds),
        f"{policy.epsilon_micro / 1e6:.4g}",
        f"{policy.noise_multiplier_micro / 1e6:.3g}",
        str(outcome.task.model.parameters),
        f"{outcome.after.r2:.3f}",
        f"{outcome.after.mdape:.1%}",
        f"{outcome.after.ppe10:.0%}",
        "-" if judged is None else f"{judged.width:.0%}",
        "-" if judged is None else f"{judged.covered:.1%}",
        "-" if payouts is None else f"{payouts.paid}",
        "-" if payouts is None else f"{payouts.total_wei / max(payouts.budget_wei, 1):.0%}",
    ]


def _studies(outcome: Outcome) -> str:
    rows = []
    for study in outcome.card.studies:
        cells = [escape(study.group), str(study.rows)]
        for name, _, factor, style in _FIGURES:
            value: int | None = getattr(study, f"{name}_micro")
            text = "-" if value is None else f"{value * factor:{style}}"
            judged = verdict(study, name) if name in ACCEPTED else "within"
            cells.append(f"<span class='{judged}'>{text}</span>")
        rows.append(cells)
    accepted = ["accepted", ""]
    for name, _, factor, style in _FIGURES:
        span = ACCEPTED.get(name)
        accepted.append(
            f"{span.lower_micro * factor:{style}} to {span.upper_micro * factor:{style}}"
            if span
            else ""
        )
    return _table(["group", "rows", *(heading for _, heading, _, _ in _FIGURES)], [accepted, *rows])


def _payouts(payouts: Payouts) -> str:
    rows = [
        [
            f"{each.least_units} to {each.most_units}",
            str(each.contributors),
            str(each.paid),
            f"{each.mean_payout_wei / _WEI:,.2f}",
            f"{each.mean_payout_wei / max(payouts.budget_wei, 1):.2%}",
            f"{each.mean_payout_wei / payouts.stake_wei:.2f}" if payouts.stake_wei else "-",
        ]
        for each in by_size(payouts)
    ]
    told = (
        f"<p>Budget {payouts.budget_wei / _WEI:,.2f} tokens, stake {payouts.stake_wei / _WEI:,.2f} "
        f"each. {payouts.paid} of {len(payouts.payouts_wei)} contributors score above what pure "
        f"noise reaches. {told_draws(payouts)}.</p>"
    )
    headings = ["units each", "contributors", "paid", "mean payout", "of budget", "of stake"]
    return told + _table(headings, rows)


def _named(outcome: Outcome) -> str:
    policy = outcome.task.policy
    return (
        f"{outcome.setting.contributors} contributors, {policy.rounds} rounds, epsilon "
        f"{policy.epsilon_micro / 1e6:.4g}"
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML; headings are ours."""
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
