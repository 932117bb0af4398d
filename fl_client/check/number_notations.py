# SPDX-License-Identifier: Apache-2.0
"""Numbers that a column of numbers cannot read, since they are written with a unit, with separated
thousands or with a decimal comma: told, never read, for 1,200 is one number in Boston and another
in Berlin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

_LONGEST = 40
_THOUSANDS = re.compile(
    r"[+-]?(?:[0-9]{1,3}(?:([,.'’ \u00a0\u202f_])[0-9]{3})(?:\1[0-9]{3})+"
    r"|[0-9]{1,3}(?:['’ \u00a0\u202f_][0-9]{3})"
    r"|[0-9]{1,3},[0-9]{3}(?=\.))(?:[.,][0-9]+)?"
)
_DECIMAL_COMMA = re.compile(r"[+-]?(?:[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]*),[0-9]+")
_EITHER = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
_BEFORE = r"(?:(?:[A-Z]{0,3}[$€£¥₹₩₽₺₪]|[A-Z]{3}|[~<>≈]|ca\.?) ?)"
_NUMBER = r"[+-]?(?:[0-9]+(?:[,.'’ \u00a0\u202f_][0-9]+)*|\.[0-9]+)"
_AFTER = r"(?: ?[^\d\s.,:;/'’_+-][^\d\n]{0,15}[23]?)"
_WITH_UNIT = re.compile(rf"{_BEFORE}{_NUMBER}{_AFTER}?|{_NUMBER}{_AFTER}")


class Notation(StrEnum):
    """How a number is written that is not plain digits with a decimal point."""

    UNIT = "unit"
    """12 m, 85 m², $99, 99 EUR, 12 %."""
    THOUSANDS = "thousands separator"
    """1,234,567; 1,234.50; 1 200; 1'200."""
    DECIMAL_COMMA = "decimal comma"
    """12,5; 1.234,50."""
    EITHER = "comma"
    """1,200: a separator of thousands or a decimal comma."""


def notation_of(cell: str) -> Notation | None:
    """What keeps a cell from being read as a number, where it looks like one; None where the cell
    is plain, or no number in any of these notations."""
    text = cell.strip()[:_LONGEST]
    for notation, pattern in (
        (Notation.EITHER, _EITHER),
        (Notation.THOUSANDS, _THOUSANDS),
        (Notation.DECIMAL_COMMA, _DECIMAL_COMMA),
        (Notation.UNIT, _WITH_UNIT),
    ):
        if pattern.fullmatch(text):
            return notation
    return None


@dataclass
class NotationCounts:
    """The cells of one column that are no plain numbers, by notation."""

    rows: dict[Notation, int] = field(default_factory=dict)
    first: dict[Notation, str] = field(default_factory=dict)

    def add(self, cells: Sequence[str]) -> None:
        """Cells that were refused as no numbers."""
        for cell in cells:
            notation = notation_of(cell)
            if notation is not None:
                self.rows[notation] = self.rows.get(notation, 0) + 1
                self.first.setdefault(notation, cell.strip()[:_LONGEST])

    def told(self, column: str, expected: str) -> list[tuple[Notation, str]]:
        """For a person: each notation, what is probably wrong and what to write instead.

        `expected` says what the task wants in a cell."""
        return [
            (
                notation,
                f"{column} holds {_NAMES[notation]} on {rows:,} row{'' if rows == 1 else 's'}, such"
                f" as {self.first[notation]!r}: {self._instead(notation, expected)}",
            )
            for notation, rows in sorted(self.rows.items(), key=lambda each: -each[1])
        ]

    def _instead(self, notation: Notation, expected: str) -> str:
        if notation is Notation.UNIT:
            return f"write the number alone, in the task's own unit ({expected})"
        if notation is not Notation.EITHER:
            return f"write {_plain(self.first[notation], notation)}, with no separator but a point"
        sure = {Notation.THOUSANDS, Notation.DECIMAL_COMMA} & self.rows.keys()
        if len(sure) == 1:
            kind = sure.pop()
            return f"as in {self.first[kind]!r}, that is {_plain(self.first[notation], kind)}"
        both = " or ".join(
            _plain(self.first[notation], kind)
            for kind in (Notation.THOUSANDS, Notation.DECIMAL_COMMA)
        )
        return f"that may be {both}: write plain digits with a decimal point"


def _plain(text: str, notation: Notation) -> str:
    """The number in plain digits with a decimal point."""
    if notation is Notation.DECIMAL_COMMA:
        return text.replace(".", "").replace(",", ".")
    separator = next(each for each in text.lstrip("+-") if not each.isdigit())
    return text.replace(separator, "").replace(",", ".")


_NAMES = {
    Notation.UNIT: "numbers with a unit or sign",
    Notation.THOUSANDS: "separated thousands",
    Notation.DECIMAL_COMMA: "decimal commas",
    Notation.EITHER: "numbers with a comma",
}
