# SPDX-License-Identifier: Apache-2.0
"""Pictures of a forecast: accuracy against what was varied, the field's measures, payouts."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dao.errors import InputError
from demo.forecast_outcome import Outcome
from demo.forecast_page import forecast_page
from demo.forecast_task import Forecast
from valuation.accepted import ACCEPTED

_COLOURS = ("#1b4965", "#2a9d8f", "#e76f51", "#8d5a97", "#b08900", "#6c757d")
_MOST_LINES = len(_COLOURS)
_COLUMNS = 2
_WEI = 1e18
_FARTHEST = 3.0
"""Figures farther off are drawn at so many half widths of the accepted range."""

Panel = Callable[[Any], None]
"""Draws on matplotlib axes."""


def require_drawing(path: Path) -> None:
    """Refuse what cannot be drawn, before minutes of training.

    Raises:
        InputError: another ending than .html or .png, no such folder, or no matplotlib.
    """
    if path.suffix.lower() not in (".html", ".png"):
        raise InputError(
            f"{path}: pictures are written as .html or .png", hint="Give --out forecast.html."
        )
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no such folder", hint="Make it, or give another --out.")
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(
            "pictures need matplotlib, which is not installed",
            hint="pip install 'covalue[demo]', or leave out --out: the tables need nothing more",
        )


def draw_forecast(path: Path, found: Forecast) -> None:
    """Write all pictures to a .png, or with the tables beside them to a .html that loads nothing.

    Raises:
        InputError: the file cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind == "html":
        content = forecast_page(found, _drawn(found, "svg").decode("utf-8")).encode("utf-8")
    else:
        content = _drawn(found, "png")
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}", hint="Give another --out."
        ) from error


def _drawn(found: Forecast, kind: str) -> bytes:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = _panels(found)
    rows = -(-len(panels) // _COLUMNS)
    # Titles come from strangers: a dollar sign is no formula here.
    with pyplot.rc_context({"text.parse_math": False, "svg.hashsalt": "covalue"}):
        figure, grid = pyplot.subplots(
            rows,
            _COLUMNS,
            figsize=(6.0 * _COLUMNS, 4.2 * rows),
            layout="constrained",
            squeeze=False,
        )
        for axes, panel in zip(grid.flat, panels, strict=False):
            panel(axes)
            axes.spines[["top", "right"]].set_visible(False)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        rows_told = "imagined" if found.imagined else "given"
        figure.suptitle(f"{found.outcomes[0].task.title}: forecast on {rows_told} rows")
        drawn = io.BytesIO()
        figure.savefig(
            drawn, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else {}
        )
        pyplot.close(figure)
    return drawn.getvalue()


def _contributors(outcome: Outcome) -> float:
    return outcome.setting.contributors


def _rounds(outcome: Outcome) -> float:
    return outcome.setting.rounds


def _protection(outcome: Outcome) -> float:
    """What was asked for: what two settings of one epsilon spend differs in the last digits."""
    return outcome.setting.epsilon or round(outcome.task.policy.epsilon_micro / 1e6, 2)


@dataclass(frozen=True)
class _Varied:
    """One of the things that settings differ in."""

    name: str
    symbol: str
    of: Callable[[Outcome], float]


_VARIED = (
    _Varied("contributors", "K", _contributors),
    _Varied("epsilon", "ε", _protection),
    _Varied("rounds", "T", _rounds),
)


def _panels(found: Forecast) -> list[Panel]:
    outcomes = found.outcomes
    panels: list[Panel] = [
        partial(_against, outcomes=outcomes, varied=varied)
        for varied in _VARIED
        if len({varied.of(each) for each in outcomes}) > 1
    ]
    panels.append(partial(_curves, outcomes=outcomes))
    panels.append(partial(_measures, outcomes=outcomes))
    panels.append(partial(_groups, outcome=outcomes[0]))
    if outcomes[0].payouts is not None:
        panels.append(partial(_payouts, outcome=outcomes[0]))
    return panels


def _against(axes: Any, *, outcomes: Sequence[Outcome], varied: _Varied) -> None:
    """R2 against one of the things that vary, a line for each combination of the others."""
    others = [
        each
        for each in _VARIED
        if each is not varied and len({each.of(outcome) for outcome in outcomes}) > 1
    ]
    lines: dict[tuple[float, ...], list[tuple[float, float]]] = {}
    for outcome in outcomes:
        key = tuple(other.of(outcome) for other in others)
        lines.setdefault(key, []).append((varied.of(outcome), outcome.after.r2))
    for colour, (key, points) in zip(_COLOURS, sorted(lines.items()), strict=False):
        named = ", ".join(
            f"{other.symbol} {value:.3g}" for other, value in zip(others, key, strict=True)
        )
        x, y = zip(*sorted(points), strict=True)
        axes.plot(x, y, "o-", color=colour, label=named or "trained")
    if len(lines) > _MOST_LINES:
        axes.plot([], [], " ", label=f"and {len(lines) - _MOST_LINES} more")
    start = outcomes[0]
    axes.axhline(start.before.r2, linestyle="--", color="#888888", label=start.start)
    axes.set(
        xlabel=varied.name,
        ylabel="R² on the test rows",
        xscale="log",
        title=f"Against {varied.name}",
    )
    ticks = sorted({varied.of(each) for each in outcomes})
    axes.set_xticks(ticks, [f"{tick:.4g}" for tick in ticks])
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize="small")


def _curves(axes: Any, *, outcomes: Sequence[Outcome]) -> None:
    for colour, each in zip(_COLOURS, outcomes, strict=False):
        axes.plot(range(len(each.curve)), each.curve, color=colour, label=_named(each))
    if len(outcomes) > _MOST_LINES:
        axes.plot([], [], " ", label=f"and {len(outcomes) - _MOST_LINES} more")
    axes.set(xlabel="training round", ylabel="R² on the test rows", title="Round by round")
    axes.legend(frameon=False, fontsize="small", loc="lower right")


def _measures(axes: Any, *, outcomes: Sequence[Outcome]) -> None:
    """Every figure that has an accepted range, drawn on that range."""
    names = list(ACCEPTED)
    axes.axvspan(-1.0, 1.0, color="#2a9d8f", alpha=0.15)
    for colour, each in zip(_COLOURS, outcomes, strict=False):
        places, values = [], []
        for row, name in enumerate(names):
            value = getattr(each.card.studies[0], f"{name}_micro")
            if value is not None:
                lower, upper = ACCEPTED[name].lower_micro, ACCEPTED[name].upper_micro
                placed = (value - (lower + upper) / 2.0) / ((upper - lower) / 2.0)
                values.append(min(max(placed, -_FARTHEST), _FARTHEST))
                places.append(row)
        axes.plot(values, places, "o", color=colour, label=_named(each))
    axes.set_yticks(
        range(len(names)),
        [
            f"{name.replace('_', ' ').upper() if len(name) < 4 else name.replace('_', ' ')}\n"
            f"{ACCEPTED[name].lower_micro / 1e6:g} to {ACCEPTED[name].upper_micro / 1e6:g}"
            for name in names
        ],
        fontsize="small",
    )
    axes.invert_yaxis()
    axes.set_xlim(-1.05 * _FARTHEST, 1.05 * _FARTHEST)
    axes.set_xticks([-1.0, 0.0, 1.0], ["lower end", "middle", "upper end"])
    axes.set(title="The field's measures on what appraisers accept")
    axes.legend(frameon=False, fontsize="small", loc="lower left")


def _groups(axes: Any, *, outcome: Outcome) -> None:
    """Median ratio by region and price band, with its 95 % interval."""
    studies = [each for each in outcome.card.studies if each.median_ratio_micro is not None]
    middles = [(each.median_ratio_micro or 0) / 1e6 for each in studies]
    errors = [1.96 * (each.median_ratio_error_micro or 0) / 1e6 for each in studies]
    accepted = ACCEPTED["median_ratio"]
    axes.axvspan(
        accepted.lower_micro / 1e6, accepted.upper_micro / 1e6, color="#2a9d8f", alpha=0.15
    )
    axes.axvline(1.0, color="#888888", linewidth=1)
    axes.errorbar(middles, range(len(studies)), xerr=errors, fmt="o", color=_COLOURS[0], capsize=3)
    axes.set_yticks(range(len(studies)), [each.group for each in studies], fontsize="small")
    axes.invert_yaxis()
    axes.set(
        xlabel="median of estimate / price", title=f"By region and price band ({_named(outcome)})"
    )


def _payouts(axes: Any, *, outcome: Outcome) -> None:
    payouts = outcome.payouts
    assert payouts is not None
    amounts = [amount / _WEI for amount in payouts.payouts_wei]
    axes.scatter(payouts.units, amounts, s=16, color=_COLOURS[1])
    axes.axhline(payouts.stake_wei / _WEI, linestyle="--", color="#c1121f", label="stake")
    axes.set(
        xlabel="units that a contributor brings",
        ylabel="payout in tokens",
        title=f"Payouts: {payouts.paid} of {len(amounts)} paid ({_named(outcome)})",
    )
    axes.legend(frameon=False, fontsize="small")


def _named(outcome: Outcome) -> str:
    return (
        f"K {outcome.setting.contributors}, ε {_protection(outcome):.3g}, "
        f"T {outcome.setting.rounds}"
    )
