# SPDX-License-Identifier: Apache-2.0
"""Which rows belong together: the rows of each privacy unit, capped, in file order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Units:
    """Rows that count, unit by unit.

    Attributes:
        order: int64[m], the rows that count, grouped by unit, file order within; None where these
            are all rows as they stand.
        sizes: int64[u], how many rows each unit has; None where every unit has one.
        rows: m, how many rows count.
    """

    order: Ints | None
    sizes: Ints | None
    rows: int

    def segment(self) -> Ints:
        """int64[m]: the unit's number, from 0, of each row that counts."""
        if self.sizes is None:
            return np.arange(self.rows)
        return np.repeat(np.arange(len(self.sizes)), self.sizes)


def group_rows(labels: Ints, max_rows: int) -> Units:
    """Rows of equal label are one unit, of which the first `max_rows` count. labels: int64[n]."""
    n = len(labels)
    if n == 0:
        return Units(None, None, 0)
    order: Ints | None = None
    ordered = labels
    if (labels[1:] < labels[:-1]).any():
        ordered = np.sort(labels)
    new_unit = ordered[1:] != ordered[:-1]
    if new_unit.all():
        # Of units of one row the order does not matter.
        return Units(None, None, n)
    if ordered is not labels:
        order = np.argsort(labels, kind="stable")
    starts = np.concatenate(([0], np.flatnonzero(new_unit) + 1))
    sizes = np.diff(starts, append=n)
    if sizes.max() <= max_rows:
        return Units(order, sizes, n)
    rank = np.arange(n) - np.repeat(starts, sizes)
    counted = np.flatnonzero(rank < max_rows)
    sizes = np.minimum(sizes, max_rows)
    rows = counted if order is None else order[counted]
    return Units(rows, None if max_rows == 1 else sizes, len(rows))
