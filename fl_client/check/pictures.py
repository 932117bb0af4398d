# SPDX-License-Identifier: Apache-2.0
"""Pictures of a report, drawn by hand as inline SVG: no library, no script, nothing loaded.

Labels come from files, so each is escaped and stripped of what does not print.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from dao.calldata import plain_text
from fl_client.check.drift import Bar, LocationDrift

PUBLIC, OWN = "#9aa5b1", "#1f6feb"
_WIDTH, _HEIGHT = 420, 130
_ROW = 22
_LABEL = 150
_LONGEST = 24
_MAP = 300


def text(value: object) -> str:
    """Foreign text for a page."""
    return html.escape(plain_text(str(value)).replace("\n", " "))


def share(value: float) -> str:
    """A share in per cent, with as many digits as it needs."""
    percent = 100 * value
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.2g} %"


def histogram(bars: Sequence[Bar]) -> str:
    """Pairs of columns, public and own, in the order of the classes."""
    top = max(max(bar.public, bar.own) for bar in bars) or 1.0
    step = _WIDTH / len(bars)
    drawn = []
    for i, bar in enumerate(bars):
        for j, (value, colour) in enumerate(((bar.public, PUBLIC), (bar.own, OWN))):
            height = _HEIGHT * value / top
            drawn.append(
                f'<rect x="{step * (i + 0.08 + 0.42 * j):.1f}" y="{_HEIGHT - height:.1f}" '
                f'width="{step * 0.42:.1f}" height="{height:.1f}" fill="{colour}"/>'
            )
        drawn.append(_hover(step * i, 0, step, _HEIGHT, bar))
    first, last = text(bars[0].label), text(bars[-1].label)
    drawn.append(
        f'<text x="0" y="{_HEIGHT + 15}">{first}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 15}" text-anchor="end">{last}</text>'
    )
    return _picture(_WIDTH, _HEIGHT + 20, drawn)


def word_bars(bars: Sequence[Bar]) -> str:
    """Pairs of rows, public and own, one pair a word."""
    top = max(max(bar.public, bar.own) for bar in bars) or 1.0
    drawn = []
    for i, bar in enumerate(bars):
        y = i * _ROW
        label = bar.label if len(bar.label) <= _LONGEST else bar.label[: _LONGEST - 1] + "\u2026"
        drawn.append(f'<text x="0" y="{y + 14}">{text(label)}</text>')
        for j, (value, colour) in enumerate(((bar.public, PUBLIC), (bar.own, OWN))):
            width = (_WIDTH - _LABEL) * value / top
            drawn.append(
                f'<rect x="{_LABEL}" y="{y + 2 + 9 * j}" width="{width:.1f}" height="8" '
                f'fill="{colour}"/>'
            )
        drawn.append(_hover(0, y, _WIDTH, _ROW, bar))
    return _picture(_WIDTH, _ROW * len(bars), drawn)


def place_map(location: LocationDrift) -> str:
    """A map of cells, north up: grey squares are public rows, blue ones are own."""
    cells = 1 + max(max(cell.east, cell.north) for cell in location.map)
    size = _MAP / cells
    tops = (
        max(cell.public for cell in location.map) or 1.0,
        max(cell.own for cell in location.map) or 1.0,
    )
    drawn = []
    for cell in location.map:
        x, y = cell.east * size, _MAP - (cell.north + 1) * size
        for value, top, colour, part in (
            (cell.public, tops[0], PUBLIC, 1.0),
            (cell.own, tops[1], OWN, 0.55),
        ):
            if value > 0:
                edge = size * part
                opacity = 0.25 + 0.75 * (value / top) ** 0.5
                drawn.append(
                    f'<rect x="{x + (size - edge) / 2:.1f}" y="{y + (size - edge) / 2:.1f}" '
                    f'width="{edge:.1f}" height="{edge:.1f}" fill="{colour}" '
                    f'fill-opacity="{opacity:.2f}"/>'
                )
    return _picture(_MAP, _MAP, drawn)


def _hover(x: float, y: float, width: float, height: float, bar: Bar) -> str:
    told = f"{bar.label}: public {share(bar.public)}, yours {share(bar.own)}"
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill-opacity="0"><title>{text(told)}</title></rect>'
    )


def _picture(width: float, height: float, drawn: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'role="img">{"".join(drawn)}</svg>'
    )
