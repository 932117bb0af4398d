# SPDX-License-Identifier: Apache-2.0
"""How much of each update is heard, docs/spec/rounds.md §2a."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from tests.independent.facts import must
from tests.independent.terms import Integers, Kind, Terms

WHOLE = 10**6


def kept_micro(
    terms: Terms, kind: Kind, updates: dict[int, Integers], sizes: list[float] | None
) -> dict[int, int]:
    """Millionths of each counted update, by roster place, that are heard."""
    square = {
        place: float(Fraction(sum(each * each for each in update), 4**kind.bits))
        for place, update in updates.items()
    }
    noise = kind.noise**2 * kind.length
    q = kind.noise**2 * math.sqrt(2 * kind.length)
    n = {place: 1.0 if sizes is None else sizes[place] for place in updates}
    lengths = sorted(math.sqrt(max(0.0, square[place] - noise + q)) / n[place] for place in updates)
    if not lengths:
        return {}
    most = terms.record["aggregation"]["median_norm_factor_micro"] / 1e6
    most *= lengths[(len(lengths) - 1) // 2]
    if sizes is not None:
        most = min(most, kind.sensitivity)
    found = {}
    for place, each in square.items():
        share = math.sqrt((noise + 6 * q + (n[place] * most) ** 2) / each) if each else 1.0
        found[place] = min(WHOLE, math.floor(WHOLE * share))
    return found


def heard(
    terms: Terms,
    record: Any,
    accounts: list[str],
    updates: dict[int, Integers],
    sizes: list[float] | None,
) -> dict[int, Integers]:
    """Updates by roster place as the step hears them, by what the record says was kept."""
    number = record["position"]["round"]
    place, kind = f"round {number}, norm_clips", terms.kind(number)
    said = {each["contributor"]: each["kept_micro"] for each in record["norm_clips"]}
    order = [account for at, account in enumerate(accounts) if at in updates and account in said]
    must([each["contributor"] for each in record["norm_clips"]] == order, place, "who, or order")
    must(all(0 <= each < WHOLE for each in said.values()), place, "not a share")
    found = {}
    for at, micro in kept_micro(terms, kind, updates, sizes).items():
        share = said.get(accounts[at], WHOLE)
        must(abs(share - micro) <= 1, place, f"{share} of {accounts[at]}, should be {micro}")
        found[at] = updates[at]
        if share < WHOLE:
            found[at] = [round(float(each) * (share / 1e6)) for each in updates[at]]
    return found
