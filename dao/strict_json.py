# SPDX-License-Identifier: Apache-2.0
"""JSON from strangers, read strictly and without running out of stack."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 32
"""Nesting that is accepted. Records and requests need fewer than ten levels."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
"""One that never ends reaches to the end of the text: else each of its marks would be tried as the
start of another, in quadratic time."""
_BRACKET = re.compile(r"[\[\]{}]")


def load_json(data: bytes) -> Any:
    """The value of UTF-8 JSON bytes (RFC 8259).

    ValueError for anything else: NaN and infinities, a name twice in one object, nesting beyond
    MAX_DEPTH, text with half a surrogate pair, an integer too long for Python.

    Depth is checked before parsing: py_ecc raises Python's recursion limit so far that the
    parser of the standard library would overflow the C stack, which kills the process.
    """
    text = data.decode("utf-8")
    _check_depth(text)
    value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket.group() in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep")


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice in one object")
    return found
