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
    tabled = min(_TABLED, len(members))
    tail = _Tail(network, tails, tabled)
    errors = np.zeros(1 << len(members))
    for part in blocks(len(rows.residual), network.rows_at_once(1 << tabled)):
        # [K + 1, h, n]: arguments of s.
        arguments = first @ with_ones(rows.inputs[part])
        if not np.max(np.sum(np.abs(arguments), axis=0)) <= _LARGEST_EXPONENT:
            return None
        block = _Block(network, np.exp(-arguments), tabled)
        errors += block.squared_errors(tail, rows.residual[part])
    return np.asarray(-errors / len(rows.residual))


class _Tail:
    """The folded weights after the first layer, of the tabled coalitions together with the members
    of a code."""

    def __init__(self, network: TanhNetwork, tails: list[Floats], tabled: int) -> None:
        # [K + 1, e]: of the base and of each member.
        flat = np.concatenate([each.reshape(len(each), -1) for each in tails], axis=1)
        self._low = _table(flat[: 1 + tabled], np.add)
        self._high = _Walk(np.zeros(flat.shape[1]), flat[1 + tabled :], np.add)
        self._sum = np.empty_like(self._low)
        self._layers = network.unflattened(self._sum)

    def of(self, code: int) -> list[Floats]:
        """Of each layer, [c, b, a + 1]; until the next code is asked for."""
        self._high.go_to(code)
        np.add(self._low, self._high.held, out=self._sum)
        return self._layers


class _Block:
    """Rows of which the activations of the tabled coalitions fit into the cache."""

    def __init__(self, network: TanhNetwork, factors: Floats, tabled: int) -> None:
        """factors [K + 1, h, n]: exp of minus the arguments of the first s, the base's first."""
        self._at_once, self._chunks = 1 << tabled, 1 << (len(factors) - 1 - tabled)
        self._low = torch.from_numpy(_table(factors[: 1 + tabled], np.multiply))
        self._high = _Walk(np.ones(factors.shape[1:]), factors[1 + tabled :], np.multiply)
        self._activations = Activations(network, self._at_once, factors.shape[2])

    def squared_errors(self, tail: _Tail, residual: Floats) -> Floats:
        """float64[2^K]: sums over the rows, whose residual is [n]."""
        found = np.empty((self._chunks, self._at_once))
        errors = np.empty((self._at_once, 1, len(residual)))
        one, first = torch.ones((), dtype=torch.float64), self._activations.first_torch
        for code in range(self._chunks):
            self._high.go_to(code)
            torch.addcmul(one, self._low, torch.from_numpy(self._high.held), out=first)
            torch.reciprocal(first, out=first)
            self._activations.finish(tail.of(code), out=errors)
            errors -= residual
            np.vecdot(errors[:, 0], errors[:, 0], out=found[code])
        return found.ravel()


class _Walk:
    """The start combined with the parts of a code's bits, for codes 0, 1, 2, ... in turn.

    A code is the earlier one that lacks its lowest bit, combined with that bit's part; `held` is
    the present one's.
    """

    def __init__(self, start: Floats, parts: Floats, combine: np.ufunc) -> None:
        self._start, self._parts, self._combine = start, parts, combine
        self._room = np.empty_like(parts)
        self.go_to(0)

    def go_to(self, code: int) -> None:
        """To the code after the present one, or back to 0."""
        if code == 0:
            self.held = self._start
            # At place j: that of the present code's bits j and above.
            self._above = [self._start] * (len(self._parts) + 1)
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
