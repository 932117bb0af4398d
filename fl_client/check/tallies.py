# SPDX-License-Identifier: Apache-2.0
"""Counts over a file that is seen once, block by block, in bounded memory."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fl_client.check.report import Example, Rejection, UnseenValue, UnseenWords
from valuation.columns import Fault, Reading
from valuation.schema import Bools, Floats, Ints

EXAMPLES = 100
"""Cells quoted for one reason."""
LONGEST_VALUE = 120
"""A quoted cell is cut after so many characters."""
_WORDS = 1_000
_DIGEST_BYTES = 16


class Fingerprints:
    """Which texts are equal, by 128-bit digests: 24 bytes a text, however long it is.

    Two different texts among n are taken for equal with probability below n^2 / 2^129.
    """

    def __init__(self) -> None:
        self._digests = bytearray()
        self._lines = array("q")

    def add(self, texts: Iterable[str], lines: Sequence[int]) -> None:
        """One text a line."""
        for text in texts:
            self._digests += hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()
        self._lines.extend(lines)

    def groups(self) -> Groups:
        """Texts that are equal, together."""
        keys = np.frombuffer(bytes(self._digests), dtype="<u8").reshape(-1, 2)
        lines = np.frombuffer(self._lines, dtype=np.int64)
        order = np.lexsort((keys[:, 1], keys[:, 0]))  # stable: within a group in file order
        keys = keys[order]
        new = np.ones(len(order), dtype=np.bool_)
        new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
        starts = np.flatnonzero(new)
        sizes = np.diff(np.append(starts, len(order)))
        return Groups(starts, sizes, lines[order])


@dataclass(frozen=True)
class Groups:
    """Equal texts side by side: group g holds the lines `lines[starts[g]:][:sizes[g]]`, in file
    order. int64[g], int64[g], int64[n]."""

    starts: Ints
    sizes: Ints
    lines: Ints

    @property
    def first_lines(self) -> Ints:
        """int64[g]: where each text stood first."""
        return self.lines[self.starts]


class Sample:
    """Rows of numbers, all of them or a random share: each row stays with equal probability.

    Holds at most 2 * `limit` rows, so a file that has no more is kept whole.
    """

    def __init__(self, columns: int, *, limit: int = 50_000, seed: int = 0) -> None:
        self._limit = limit
        self._random = np.random.default_rng(seed)
        self._share = 1.0
        self._keys: Floats = np.zeros(0)
        self._rows: Floats = np.zeros((0, columns))

    def add(self, rows: Floats) -> None:
        """float64[n, columns]."""
        keys = self._random.random(len(rows))
        kept = keys < self._share
        self._keys = np.concatenate([self._keys, keys[kept]])
        self._rows = np.concatenate([self._rows, rows[kept]])
        while len(self._rows) > 2 * self._limit:
            self._share /= 2
            kept = self._keys < self._share
            self._keys, self._rows = self._keys[kept], self._rows[kept]

    @property
    def rows(self) -> Floats:
        """float64[m, columns], in file order."""
        return self._rows

    @property
    def whole(self) -> bool:
        """Every row is there."""
        return self._share == 1.0


class Rejections:
    """Refused cells, by column and broken bound."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], tuple[list[int], list[Example]]] = {}

    def add(self, reading: Reading, cells: Sequence[str], lines: Sequence[int]) -> None:
        """The faults of one column in one block."""
        for fault in np.unique(reading.faults).tolist():
            if fault == Fault.NONE:
                continue
            key = (reading.column, reading.broke[Fault(fault)], reading.expected)
            count, examples = self._found.setdefault(key, ([0], []))
            at = np.flatnonzero(reading.faults == fault)
            count[0] += len(at)
            for i in at[: EXAMPLES - len(examples)].tolist():
                examples.append(Example(lines[i], cells[i][:LONGEST_VALUE]))

    def result(self) -> tuple[Rejection, ...]:
        """The most frequent reason first."""
        found = [
            Rejection(column, broke, expected, count[0], tuple(examples))
            for (column, broke, expected), (count, examples) in self._found.items()
        ]
        return tuple(sorted(found, key=lambda each: -each.rows))


@dataclass
class Words:
    """Words of a category column that the task does not list."""

    column: str
    counted_as_other: bool
    further_rows: int = 0
    found: dict[str, list[int]] = field(default_factory=dict)
    """Rows and first line of each."""

    def add(self, unseen: Bools, cells: Sequence[str], lines: Sequence[int]) -> None:
        """`unseen`: bool[n], the cells that hold such a word."""
        for i in np.flatnonzero(unseen).tolist():
            word = cells[i].strip()
            if word in self.found:
                self.found[word][0] += 1
            elif len(self.found) < _WORDS:
                self.found[word] = [1, lines[i]]
            else:
                self.further_rows += 1

    def result(self) -> UnseenWords:
        """The most frequent word first."""
        ranked = sorted(self.found.items(), key=lambda pair: (-pair[1][0], pair[1][1]))
        rows = self.further_rows + sum(count for count, _ in self.found.values())
        values = tuple(
            UnseenValue(word[:LONGEST_VALUE], count, line)
            for word, (count, line) in ranked[:EXAMPLES]
        )
        return UnseenWords(self.column, rows, self.counted_as_other, values, self.further_rows)


@dataclass
class Extent:
    """What a column holds: is it empty, is it all the same?"""

    column: str
    rows: int = 0
    missing: int = 0
    usable: int = 0
    least: float = float("inf")
    greatest: float = float("-inf")

    def add(self, missing: Bools, values: npt.NDArray[np.float64]) -> None:
        """`values`: float64[n], NaN where there is none."""
        self.rows += len(values)
        self.missing += int(missing.sum())
        known = values[~np.isnan(values)]
        self.usable += len(known)
        if len(known):
            self.least = min(self.least, float(known.min()))
            self.greatest = max(self.greatest, float(known.max()))
