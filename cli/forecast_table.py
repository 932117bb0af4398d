# SPDX-License-Identifier: Apache-2.0
"""A forecast on a terminal, and for `--json`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cli.ratio_table import tell_studies, verdicts_as_json
from dao.records import RatioStudy
from demo.forecast_outcome import Outcome
from demo.forecast_payouts import Payouts, by_size, told_draws
from demo.forecast_task import Forecast
from valuation.metrics import Metrics

_WEI = 10**18
_DIVISIONS = {
    "places": "each contributor has a stretch of the map, sizes differ",
    "sizes": "units in random hands, sizes differ",
    "alike": "units in random hands, as many for each",
}


def tell_forecast(out: Console, found: Forecast, *, picture: Path | None) -> None:
    """Print one line a setting, then ratio study and payouts of the first."""
    first = found.outcomes[0]
    kind = "imagined" if found.imagined else "given"
    calibrating = f", {first.calibrated_rows} calibrate" if first.calibrated_rows else ""
    out.print(
        f"{first.trained_rows} {kind} rows train{calibrating}, {first.after.rows} others judge; "
        f"{_DIVISIONS[found.division]}",
        soft_wrap=True,
    )
    if found.imagined:
        out.print(
            "rows are imagined from the public ones, in a world such as these suggest: real rows "
            "are rougher, so read it as an upper estimate",
            style="yellow",
            soft_wrap=True,
        )
    if found.refused_rows:
        out.print(f"{found.refused_rows} given rows break the task's schema and do not count")
    out.print(
        f"{first.start}: R2 {first.before.r2:.3f}, median error {first.before.mdape:.1%}, "
        f"within 10 %: {first.before.ppe10:.0%}"
    )
    out.print(_settings_table(found.outcomes))
    if any(outcome.intervals is not None for outcome in found.outcomes):
        out.print(
            "interval: median width over estimate; covers: share of test prices that lie within",
            soft_wrap=True,
        )
    for outcome in found.outcomes:
        for remark in outcome.remarks:
            out.print(f"warning: {remark}", style="yellow", markup=False, soft_wrap=True)
    currency = first.task.target.currency
    if len(found.outcomes) > 1:
        out.print("\nThe field's measures over all test rows, K contributors, T rounds:")
        studies = [_whole_study(outcome) for outcome in found.outcomes]
        tell_studies(out, studies, currency=currency)
    out.print(f"\nRatio study ({_named(first)}):")
    tell_studies(out, first.card.studies, currency=currency)
    if first.payouts is not None:
        _tell_payouts(out, first, first.payouts)
    if picture is not None:
        out.print(f"pictures: {picture}", markup=False, soft_wrap=True)


def _settings_table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    headings: tuple[str, ...] = ("K", "rounds", "epsilon", "noise", "d", "R2", "MdAPE", "PPE10")
    paid = any(outcome.payouts is not None for outcome in outcomes)
    calibrated = any(outcome.intervals is not None for outcome in outcomes)
    if calibrated:
        headings += ("interval", "covers")
    if paid:
        headings += ("paid", "of budget")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for outcome in outcomes:
        policy, after = outcome.task.policy, outcome.after
        cells = [
            str(outcome.setting.contributors),
            str(policy.rounds),
            _epsilon(outcome),
            f"{policy.noise_multiplier_micro / 1e6:.3g}",
            str(outcome.task.model.parameters),
            f"{after.r2:.3f}",
            f"{after.mdape:.1%}",
            f"{after.ppe10:.0%}",
        ]
        if calibrated:
            judged = outcome.intervals
            cells.append("-" if judged is None else f"{judged.width:.0%}")
            cells.append("-" if judged is None else f"{judged.covered:.1%}")
        if outcome.payouts is not None:
            cells.append(f"{outcome.payouts.paid}/{len(outcome.payouts.payouts_wei)}")
            cells.append(f"{outcome.payouts.total_wei / outcome.payouts.budget_wei:.0%}")
        table.add_row(*cells)
    return table


def _whole_study(outcome: Outcome) -> RatioStudy:
    """The study of all test rows, under the setting's name."""
    name = f"K {outcome.setting.contributors}, eps {_epsilon(outcome)}, T {outcome.setting.rounds}"
    return outcome.card.studies[0].model_copy(update={"group": name})


def _tell_payouts(out: Console, outcome: Outcome, payouts: Payouts) -> None:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for heading in ("units each", "contributors", "paid", "mean payout", "of budget", "of stake"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in by_size(payouts):
        table.add_row(
            f"{each.least_units}-{each.most_units}",
            str(each.contributors),
            str(each.paid),
            f"{each.mean_payout_wei / _WEI:,.2f}",
            f"{each.mean_payout_wei / payouts.budget_wei:.2%}" if payouts.budget_wei else "-",
            f"{each.mean_payout_wei / payouts.stake_wei:.2f}x" if payouts.stake_wei else "-",
        )
    out.print(
        f"\nPayouts ({_named(outcome)}): budget {payouts.budget_wei / _WEI:,.2f}, stake "
        f"{payouts.stake_wei / _WEI:,.2f} each; {payouts.paid} of {len(payouts.payouts_wei)} score "
        "above what pure noise reaches and are paid",
        soft_wrap=True,
    )
    out.print(told_draws(payouts) + ".", soft_wrap=True)
    out.print(table)


def _named(outcome: Outcome) -> str:
    setting = outcome.setting
    return f"{setting.contributors} contributors, {setting.rounds} rounds, epsilon " + _epsilon(
        outcome
    )


def _epsilon(outcome: Outcome) -> str:
    return f"{outcome.task.policy.epsilon_micro / 1e6:.4g}"


def forecast_as_json(found: Forecast) -> dict[str, object]:
    """Everything that was found; the figures of the first setting stand at the top too."""
    first = found.outcomes[0]
    return {
        "rows": "imagined" if found.imagined else "given",
        "refused_rows": found.refused_rows,
        "trained_rows": first.trained_rows,
        "calibrated_rows": first.calibrated_rows,
        "test_rows": first.after.rows,
        "division": found.division,
        "public_only": _figures(first.before),
        "trained": _figures(first.after),
        "settings": [_as_json(outcome) for outcome in found.outcomes],
    }


def _as_json(outcome: Outcome) -> dict[str, object]:
    policy, payouts = outcome.task.policy, outcome.payouts
    return {
        "contributors": outcome.setting.contributors,
        "rounds": policy.rounds,
        "training_rounds": policy.rounds,
        "total_rounds": outcome.task.total_rounds,
        "epsilon": policy.epsilon_micro / 1e6,
        "delta": policy.delta_e12 / 1e12,
        "noise_multiplier": policy.noise_multiplier_micro / 1e6,
        "clip_norm": policy.clip_norm_nano / 1e9,
        "parameters": outcome.task.model.parameters,
        "task_sha256": outcome.card.task_digest,
        "model_sha256": outcome.model_sha256,
        "trained_rows": outcome.trained_rows,
        "calibrated_rows": outcome.calibrated_rows,
        "public_only": _figures(outcome.before),
        "trained": _figures(outcome.after),
        "r2_by_round": list(outcome.curve),
        "intervals": None if outcome.intervals is None else asdict(outcome.intervals),
        "remarks": list(outcome.remarks),
        "payouts": None if payouts is None else _payouts_as_json(payouts),
        "studies": [study.model_dump(mode="json") for study in outcome.card.studies],
        **verdicts_as_json(outcome.card.studies),
    }


def _figures(metrics: Metrics) -> dict[str, float | None]:
    """JSON has no word for a figure that has no meaning."""
    return {name: None if math.isnan(value) else value for name, value in metrics.as_dict().items()}


def _payouts_as_json(payouts: Payouts) -> dict[str, object]:
    return {
        "budget_wei": str(payouts.budget_wei),
        "stake_wei": str(payouts.stake_wei),
        "total_wei": str(payouts.total_wei),
        "paid": payouts.paid,
        "seed_blocks": "simulated",
        "contributors": [
            {
                "units": units,
                "score_pico": score,
                "standard_error_pico": error,
                "threshold_pico": threshold,
                "payout_wei": str(payout),
            }
            for units, score, error, threshold, payout in zip(
                payouts.units.tolist(),
                payouts.scores_pico,
                payouts.standard_errors_pico,
                payouts.thresholds_pico,
                payouts.payouts_wei,
                strict=True,
            )
        ],
    }
