# SPDX-License-Identifier: Apache-2.0
"""Nearest-neighbour mixing and the trimmed mean: a sum that few attackers cannot move far.

Allouah, Farhadkhani, Guerraoui, Gupta, Pinot and Stephan (2023), "Fixing by Mixing: A Recipe for
Optimal Byzantine ML under Heterogeneity": every update is replaced by the mean of its K - f nearest
ones, itself included, f being the attackers that are tolerated. Then Yin, Chen, Ramchandran and
Bartlett (2018): of every coordinate the f smallest and the f largest mixed values are dropped, and
the rest is averaged.

Who is whose neighbour and which values are dropped are yes or no, and must come out alike on every
processor. Distances come from one Gram matrix together with a bound on its rounding; those that are
nearer to each other than the bound are told apart by correctly rounded sums (`math.fsum`). A
neighbourhood's sum is that of its updates from the first place to the last. Where the updates are
whole numbers so small that no order of adding rounds, as those on a grid are, one matrix product
gives the same bits. What ties goes by place.

Given these decisions the aggregate is linear in the updates: it is a sum of what each one says,
coordinate by coordinate, times a weight (`mixing_weights`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rounds.state import Floats

Bools = NDArray[np.bool_]

BLOCK = 1024
"""Coordinates that are worked at together: 64 updates of them fit a processor's second cache."""

_LONGEST = 1e300
_ROUNDING = 2.0**-53
_EXACT = ((float(1 << 24), np.float32), (float(1 << 53), np.float64))
"""Below which whole numbers add up exactly, in the faster arithmetic first."""


def nearest_neighbours(updates: Floats, *, tolerated: int) -> Bools:
    """bool[K, K]: whether update j (column) is among the K - f nearest of update i (row).

    Args:
        updates: float64[K, d], finite; fastest where they are whole numbers, in steps of a grid.
        tolerated: f, the attackers that are assumed, with 2 f < K.

    Every row starts with its own update; then comes `math.fsum((u_i - u_j)**2)`, then the place.

    Raises:
        ValueError: not such updates, or too many tolerated.
    """
    count, length = updates.shape
    if not 0 <= 2 * tolerated < count:
        raise ValueError(f"tolerated is {tolerated} of {count}, expected 0 <= 2 tolerated < count")
    gram = updates @ updates.T
    if not (np.abs(gram) < _LONGEST).all():
        raise ValueError("updates: not finite, or too long to be squared")
    kept = count - tolerated
    squares = np.diagonal(gram)
    lengths = squares[:, None] + squares
    distances = lengths - 2.0 * gram
    # Three sums of `length` products (Higham 2002, §3.1), and the rounding of what defines them.
    errors = 4.0 * (length + 32) * _ROUNDING * lengths
    np.fill_diagonal(distances, -1.0)
    np.fill_diagonal(errors, 0.0)
    nearer, farther = distances + errors, distances - errors
    surely: Bools = nearer < np.partition(farther, kept - 1, axis=1)[:, kept - 1, None]
    perhaps = ~surely & (farther <= np.partition(nearer, kept - 1, axis=1)[:, kept - 1, None])
    known: dict[tuple[int, int], float] = {}
    for row in range(count):
        open_places = kept - int(surely[row].sum())
        candidates = np.flatnonzero(perhaps[row]).tolist()
        if open_places < len(candidates):
            candidates.sort(key=lambda place: _distance(updates, row, place, known))
        surely[row, candidates[:open_places]] = True
    return surely


def mixing_weights(updates: Floats, *, tolerated: int) -> Floats:
    """float64[K, d]: what each coordinate of each update counts, on average 1.

    `mixing_weights(u) * u`, added up over the K updates, is K times the trimmed mean of the mixed
    updates: it stands where the sum of the updates stood.

    Weights are whole numbers, times K / ((K - 2 f) (K - f)). Arguments and errors as
    `nearest_neighbours`.
    """
    count, length = updates.shape
    kept = count - 2 * tolerated
    neighbours = nearest_neighbours(updates, tolerated=tolerated).astype(np.float64)
    weights = np.empty((count, length))
    scale = count / (kept * (count - tolerated))
    for columns, sums in _neighbourhood_sums(updates, neighbours):
        # Whole numbers up to K: float32 holds them.
        counted = _untrimmed(sums, tolerated).astype(np.float32)
        times = neighbours.T.astype(np.float32) @ counted.T
        np.multiply(times, scale, out=weights[:, columns], dtype=np.float64)
    return weights


def nnm_trimmed_mean(updates: Floats, *, tolerated: int) -> Floats:
    """float64[d]: the trimmed mean of the mixed updates, without the weights that it comes to.

    Arguments and errors as `nearest_neighbours`.
    """
    count, length = updates.shape
    neighbours = nearest_neighbours(updates, tolerated=tolerated).astype(np.float64)
    mean = np.empty(length)
    for columns, sums in _neighbourhood_sums(updates, neighbours):
        sums.sort(axis=1)
        middle = sums[:, tolerated : count - tolerated]
        np.sum(middle, axis=1, dtype=np.float64, out=mean[columns])
    mean /= (count - 2 * tolerated) * (count - tolerated)
    return mean


def _distance(
    updates: Floats, row: int, place: int, known: dict[tuple[int, int], float]
) -> tuple[float, int]:
    """Squared distance and place; a row's own comes before all others."""
    if row == place:
        return -1.0, place
    pair = (min(row, place), max(row, place))
    if pair not in known:
        difference = updates[row] - updates[place]
        known[pair] = math.fsum(difference * difference)
    return known[pair], place


def _neighbourhood_sums(updates: Floats, neighbours: Floats) -> Iterator[tuple[slice, Floats]]:
    """For a few coordinates at a time, float64[B, K]: the sum over each row's neighbours."""
    count, length = updates.shape
    for start in range(0, length, BLOCK):
        columns = slice(start, min(start + BLOCK, length))
        block = updates[:, columns]
        largest = count * max(float(block.max()), -float(block.min()))
        whole = bool((np.rint(block) == block).all())
        exact = next((dtype for bound, dtype in _EXACT if whole and largest < bound), None)
        if exact is not None:
            yield columns, block.T.astype(exact) @ neighbours.T.astype(exact)
            continue
        sums = np.zeros((block.shape[1], count))
        for place in range(count):
            sums += block[place, :, None] * neighbours[:, place]
        yield columns, sums


def _untrimmed(sums: Floats, tolerated: int) -> Bools:
    """bool[B, K]: whether a value is neither among the f smallest of its row nor among the f
    largest, by value, then by place."""
    count = sums.shape[1]
    ordered = np.sort(sums, axis=1)
    low, high = ordered[:, tolerated], ordered[:, count - tolerated - 1]
    counted: Bools = (sums >= low[:, None]) & (sums <= high[:, None])
    if tolerated == 0:
        return counted
    also_low, also_high = ordered[:, tolerated - 1], ordered[:, count - tolerated]
    tied = np.flatnonzero((also_low == low) | (also_high == high))
    if len(tied):
        order = np.argsort(sums[tied], axis=1, kind="stable")
        among = np.zeros((len(tied), count), dtype=np.bool_)
        np.put_along_axis(among, order[:, tolerated : count - tolerated], True, axis=1)
        counted[tied] = among
    return counted
