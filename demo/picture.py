# SPDX-License-Identifier: Apache-2.0
"""One picture of a finished task: the training curve and the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bar:
    """One contributor in the picture. `score` in squared standardised error; `threshold` is what
    noise in its name hardly ever reaches."""

    label: str
    score: float
    threshold: float
    paid: bool


def draw(
    path: Path,
    *,
    curve: Sequence[float],
    lines: dict[str, float],
    bars: Sequence[Bar],
    title: str,
) -> None:
    """Write a PNG: R2 on the test rows after each round (left), score by contributor (right).

    `curve` holds one R2 per round, the first before training; `lines` are levels to compare with.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
    left.plot(range(len(curve)), curve, color="#1b4965", linewidth=2.2, label="this task")
    styles = ("--", "-.", ":")
    for (label, level), style in zip(lines.items(), styles, strict=False):
        left.axhline(level, linestyle=style, color="#888888", linewidth=1.2, label=label)
    left.set(xlabel="round", ylabel="R² on the test rows", title="Training under privacy")
    low = min([*curve, *(level for level in lines.values() if level > 0)])
    left.set_ylim(max(low - 0.05, -0.2), 1.0)
    left.legend(loc="best", framealpha=0.9, edgecolor="none")
    colours = ["#2a9d8f" if bar.paid else "#c1121f" for bar in bars]
    right.barh([bar.label for bar in bars], [bar.score for bar in bars], color=colours)
    places = range(len(bars))
    right.scatter(
        [bar.threshold for bar in bars], places, marker="|", s=260, color="#333333", zorder=3
    )
    right.invert_yaxis()
    right.set(
        xlabel="score (mark: what pure noise reaches; red: nothing is paid)",
        title="What each contributor's updates were worth",
    )
    right.xaxis.set_major_locator(ticker.MaxNLocator(nbins=6))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
