# SPDX-License-Identifier: Apache-2.0
"""Numbers in another notation than plain digits: found so that a draft can say so.

They are told, never read: 1.234 is one number in Boston and another in Berlin, and a task is read
by people who write either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SIGN = r"(?:[$€£¥₹₩₽₺₪]|[A-Z]{3})"
_DIGITS = r"(?:\d{1,3}(?:[,.'’ \u00a0\u202f]\d{3})+|\d+)(?:[.,]\d+)?"
_NOTATION = re.compile(rf"[+-]?(?:{_SIGN} ?)?[+-]?{_DIGITS}(?: ?(?:%|{_SIGN}))?", re.ASCII)
_PLAIN = re.compile(r"[+-]?\d*\.?\d*", re.ASCII)


def is_foreign_number(text: str) -> bool:
    """Whether a cell is a number with separated thousands, a decimal comma, a currency or a per
    cent sign: 1,234.50, 1.234,50, 12,5, $99, 99 EUR, 12 %."""
    return _NOTATION.fullmatch(text) is not None and _PLAIN.fullmatch(text) is None


def foreign_numbers_remark(column: str, cells: Sequence[str], *, share: float) -> str:
    """Why a column that holds such numbers is left out of a draft, and what to do; empty where
    fewer than `share` of the cells are numbers of any notation."""
    example = foreign_number_in(cells, share=share)
    if example is None:
        return ""
    return (
        f"{column!r} is left out: its numbers are written such as {example!r}, expected plain "
        "digits with a decimal point; write them so, in the contributors' rows too, and draft again"
    )


def foreign_number_in(cells: Sequence[str], *, share: float) -> str | None:
    """The first such cell where at least `share` of the cells are numbers of any notation."""
    foreign = [cell for cell in cells if is_foreign_number(cell)]
    plain = sum(_PLAIN.fullmatch(cell) is not None for cell in cells)
    if not foreign or len(foreign) + plain < share * len(cells):
        return None
    return foreign[0][:40]
