# SPDX-License-Identifier: Apache-2.0
"""Columns that name an owner or a property: numbers that mean no quantity, and rows that may have
to be protected together."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAMES = frozenset(
    {"id", "pid", "uid", "guid", "uuid", "apn", "parcel"}
    | {"owner", "seller", "vendor", "customer", "client", "holder"}
)
_LEAST_SHARE = 0.02
"""Of the rows: a column with fewer different values groups rows by a kind, not by an owner."""


def names_a_unit(column: str) -> bool:
    """Whether a column's name ends as names of identifiers and of owners do: seller_id, Owner."""
    words = re.split(r"[^a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", column).lower())
    return next((word for word in reversed(words) if word), "") in _NAMES


def unit_remark(column: str, texts: Sequence[str]) -> str:
    """What to know of a column that seems to name an owner or a property with several rows; empty
    where it does not."""
    filled = [text for text in texts if text]
    distinct = len(set(filled))
    if not names_a_unit(column) or distinct == len(filled) or distinct < _LEAST_SHARE * len(texts):
        return ""
    return (
        f"{column!r} stands on several rows with one value: if that is one owner or one property, "
        'make it the privacy unit (kind = "column"), or each of its rows is protected for itself'
    )
