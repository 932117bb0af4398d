# SPDX-License-Identifier: Apache-2.0
"""A distribution known by its shares below a few edges.

Between the edges it is a monotone cubic (Fritsch and Carlson 1980) in asinh of the value, which is
linear near 0 and logarithmic in the tails; each open end is taken to reach e times the last edge.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from valuation.schema import Floats

_BISECTIONS = 80
ATOMS = 400


class Distribution:
    """`at_edges`, float64[e], are the shares below `edges`, float64[e], both rising."""

    def __init__(self, edges: Floats, at_edges: Floats) -> None:
        self.edges, self.at_edges = edges, at_edges
        self._unit = float(np.median(np.abs(edges)))
        knots = np.arcsinh(edges / self._unit)
        self._knots = np.concatenate([[knots[0] - 1.0], knots, [knots[-1] + 1.0]])
        shares = np.concatenate([[0.0], at_edges, [1.0]])
        self._curve = PchipInterpolator(self._knots, shares)

    def below(self, values: Floats) -> Floats:
        """Share of the distribution below each value, any shape."""
        where = np.clip(np.arcsinh(values / self._unit), self._knots[0], self._knots[-1])
        return np.asarray(self._curve(where), dtype=np.float64)

    def quantile(self, share: float) -> float:
        """The value below which that share lies; infinite where it is in an open-ended bin."""
        if share < self.at_edges[0]:
            return -np.inf
        if share > self.at_edges[-1]:
            return np.inf
        return float(self._inverse(np.array([share]))[0])

    def atoms(self) -> Floats:
        """float64[ATOMS]: quantiles at (i + 1/2) / ATOMS; equal weights on them stand for it."""
        return self._inverse((np.arange(ATOMS) + 0.5) / ATOMS)

    def _inverse(self, shares: Floats) -> Floats:
        low = np.full(len(shares), self._knots[0])
        high = np.full(len(shares), self._knots[-1])
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2.0
            under = self._curve(middle) < shares
            low, high = np.where(under, middle, low), np.where(under, high, middle)
        values: Floats = self._unit * np.sinh((low + high) / 2.0)
        return values
