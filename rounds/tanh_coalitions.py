# SPDX-License-Identifier: Apache-2.0
"""Values of all 2^K coalitions of a `TanhNetwork`.

What the first layer gives is linear in the parameters, so a coalition's is the sum of its members',
and exp of it the product of their exp: with F_i = exp(-2 X W_i) computed once per member, the first
hidden layer of a coalition is 1 / (1 + F_0 * product of its F_i) elementwise, without a matrix
product and without an exp. Coalitions go in the order of their codes (bit i: member i is in): those
of the lowest bits are tabled, and each step of the others costs one product with an earlier one, so
that a rounding is carried through at most K of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from rounds.state import Floats
from rounds.tanh_network import Activations, TanhNetwork, blocks, with_ones
from valuation.family import JudgeRows

_TABLED = 3
"""Members whose coalitions are tabled, and valued at once."""
_LARGEST_EXPONENT = 700.0
"""exp of it and of its negative are normal numbers of float64."""


def every_coalition_value(
    network: TanhNetwork, base: Floats, members: Floats, rows: JudgeRows
) -> Floats | None:
    """float64[2^K]: minus the mean squared error of base [d] + the sum of members [K, d] in each
    coalition, in the order of codes. None where a product could leave the range of float64, as it
    does where weights have exploded; such coalitions are to be valued one by one."""
    first, *tails = network.folded(np.vstack((base, members)))
    # [K + 1, e]: of each the weights after the first layer.
    tail = np.concatenate([each.reshape(len(each), -1) for each in tails], axis=1)
    tabled = min(_TABLED, len(members))
    errors = np.zeros(1 << len(members))
    for part in blocks(len(rows.residual), network.rows_at_once(1 << tabled)):
        # [K + 1, h, n]: arguments of s.
        arguments = first @ with_ones(rows.inputs[part])
        if not np.max(np.sum(np.abs(arguments), axis=0)) <= _LARGEST_EXPONENT:
            return None
        block = _Block(network, np.exp(-arguments), tail, tabled)
        errors += block.squared_errors(rows.residual[part])
    return np.asarray(-errors / len(rows.residual))


class _Block:
    """Rows of which the activations of some coalitions fit into the cache."""

    def __init__(self, network: TanhNetwork, factors: Floats, tail: Floats, tabled: int) -> None:
        """Of each member, the base first: factors [K + 1, h, n], exp of minus the arguments of the
        first s; tail [K + 1, e], what it adds to the folded weights after the first layer."""
        self._at_once, self._chunks = 1 << tabled, 1 << (len(factors) - 1 - tabled)
        self._low = torch.from_numpy(_table(factors[: 1 + tabled], np.multiply))
        self._high = _Walk(np.ones(factors.shape[1:]), factors[1 + tabled :], np.multiply)
        self._low_tail = _table(tail[: 1 + tabled], np.add)
        self._high_tail = _Walk(np.zeros(tail.shape[1]), tail[1 + tabled :], np.add)
        self._own_tail = np.empty_like(self._low_tail)
        self._folded = network.unflattened(self._own_tail)
        self._activations = Activations(network, self._at_once, factors.shape[2])

    def squared_errors(self, residual: Floats) -> Floats:
        """float64[2^K]: sums over the rows, whose residual is [n]."""
        found = np.empty((self._chunks, self._at_once))
        errors = np.empty((self._at_once, 1, len(residual)))
        one, first = torch.ones((), dtype=torch.float64), self._activations.first_torch
        for code in range(self._chunks):
            self._high.go_to(code)
            self._high_tail.go_to(code)
            np.add(self._low_tail, self._high_tail.held, out=self._own_tail)
            torch.addcmul(one, self._low, torch.from_numpy(self._high.held), out=first)
            torch.reciprocal(first, out=first)
            self._activations.finish(self._folded, out=errors)
            errors -= residual
            np.einsum("ckn,ckn->c", errors, errors, out=found[code])
        return found.ravel()


class _Walk:
    """The start combined with the parts of a code's bits, for codes 0, 1, 2, ... in turn.

    A code is the earlier one that lacks its lowest bit, combined with that bit's part; `held` is
    the present one's.
    """

    def __init__(self, start: Floats, parts: Floats, combine: np.ufunc) -> None:
        self.held = start
        self._parts, self._combine, self._room = parts, combine, np.empty_like(parts)
        # At place j: that of the present code's bits j and above.
        self._above = [start] * (len(parts) + 1)

    def go_to(self, code: int) -> None:
        """To the code after the present one; or stay at 0."""
        if code == 0:
            return
        lowest = (code & -code).bit_length() - 1
        self.held = self._room[lowest]
        self._combine(self._above[lowest + 1], self._parts[lowest], out=self.held)
        self._above[: lowest + 1] = [self.held] * (lowest + 1)


def _table(parts: Floats, combine: Callable[..., Floats]) -> Floats:
    """float64[2^L, ...] of parts [L + 1, ...]: the first combined with those of a code's bits."""
    found = np.empty((1 << (len(parts) - 1), *parts.shape[1:]))
    found[0] = parts[0]
    for bit, part in enumerate(parts[1:]):
        combine(found[: 1 << bit], part, out=found[1 << bit : 2 << bit])
    return found
