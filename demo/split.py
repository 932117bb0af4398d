# SPDX-License-Identifier: Apache-2.0
"""Divides one data set into the roles of the demo: public, sealed, test and ten contributors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

PUBLIC_ROWS = 500
SEALED_ROWS = 500
"""Per sealed part; fewer where the data set is small."""
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Split:
    """Row sets of the demo; together they are the source's rows, each once."""

    public: pd.DataFrame
    sealed: tuple[pd.DataFrame, pd.DataFrame]
    test: pd.DataFrame
    contributors: tuple[pd.DataFrame, ...]
    told: str
    """How the contributors' rows were divided, in words."""

    def by_size(self) -> list[int]:
        """Indices of the contributors, the largest first (ties: the lower index)."""
        return sorted(range(len(self.contributors)), key=lambda i: (-len(self.contributors[i]), i))


def split_rows(
    frame: pd.DataFrame,
    *,
    contributors: int,
    seed: int,
    location: tuple[str, str] | None,
    categories: tuple[str, ...],
) -> Split:
    """Shuffle by `seed`, cut off test, public and sealed rows, divide the rest.

    `location` names the latitude and longitude columns: then the division is by k-means
    clusters. Else by the category column with the most distinct values, whole values going to
    the emptiest contributor; else at random. `frame` holds strings.
    """
    order = np.random.default_rng(seed).permutation(len(frame))
    test_count = int(len(frame) * TEST_SHARE)
    public_count = min(PUBLIC_ROWS, len(frame) // 8)
    sealed_count = min(SEALED_ROWS, len(frame) // 20)
    cuts = np.cumsum([test_count, public_count, sealed_count, sealed_count])
    test, public, first, second, rest = (
        frame.iloc[part].reset_index(drop=True) for part in np.split(order, cuts)
    )
    owner, told = _owners(
        rest, contributors=contributors, seed=seed, location=location, categories=categories
    )
    return Split(
        public=public,
        sealed=(first, second),
        test=test,
        contributors=tuple(
            rest[owner == index].reset_index(drop=True) for index in range(contributors)
        ),
        told=told,
    )


def _owners(
    rest: pd.DataFrame,
    *,
    contributors: int,
    seed: int,
    location: tuple[str, str] | None,
    categories: tuple[str, ...],
) -> tuple[np.ndarray, str]:
    if location is not None:
        return _by_geography(rest, contributors, seed, location)
    if categories:
        column = max(categories, key=lambda name: (rest[name].nunique(), name))
        counts = rest[column].value_counts()
        if len(counts) >= contributors:
            return _by_category(rest, contributors, column, counts)
    owner = np.random.default_rng(seed + 1).integers(0, contributors, len(rest))
    return owner, f"{contributors} contributors at random (no location, no large category)"


def _by_geography(
    rest: pd.DataFrame, contributors: int, seed: int, location: tuple[str, str]
) -> tuple[np.ndarray, str]:
    from sklearn.cluster import KMeans

    latitude, longitude = (pd.to_numeric(rest[name]).to_numpy(float) for name in location)
    east = (longitude - longitude.mean()) * np.cos(np.deg2rad(latitude.mean()))
    points = np.column_stack([latitude - latitude.mean(), east])
    owner = KMeans(contributors, n_init=2, random_state=seed).fit_predict(points)
    return np.asarray(owner), f"{contributors} contributors by geography (k-means on location)"


def _by_category(
    rest: pd.DataFrame, contributors: int, column: str, counts: pd.Series
) -> tuple[np.ndarray, str]:
    loads = [0] * contributors
    home: dict[str, int] = {}
    for value, count in counts.items():
        index = loads.index(min(loads))
        home[str(value)] = index
        loads[index] += int(count)
    owner = rest[column].map(lambda value: home.get(str(value), 0)).to_numpy(int)
    return owner, f"{contributors} contributors by the category {column!r} (no location column)"
