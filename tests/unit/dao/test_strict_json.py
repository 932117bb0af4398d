# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import py_ecc  # noqa: F401 - raises the recursion limit, as in every process of ours
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dao.errors import RecordError
from dao.records import BlobRef
from dao.strict_json import MAX_DEPTH, load_json

TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=20,
)


@given(TREES)
def test_what_json_writes_is_read(value: object) -> None:
    assert load_json(json.dumps(value).encode()) == value
    assert load_json(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


@pytest.mark.parametrize("opening", ["[", '{"a":', '["[", {"]": '])
def test_deep_nesting_is_refused_and_does_not_kill_the_process(opening: str) -> None:
    with pytest.raises(ValueError, match="levels deep"):
        load_json((opening * 300_000).encode())


def test_depth_counts_brackets_outside_of_strings_only() -> None:
    assert load_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(ValueError, match="levels deep"):
        load_json(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
    text = "[{" * 1000 + '\\"'
    assert load_json(json.dumps({"a": text}).encode()) == {"a": text}


@pytest.mark.parametrize(
    "data",
    [b"", b"NaN", b"[Infinity]", b"[-Infinity]", b'{"a":1,"a":1}', b'"\xff"', b'"\\udc00"',
     b"9" * 5000, b"[1]x", b"'a'"],
)  # fmt: skip
def test_what_is_not_strict_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        load_json(data)


@pytest.mark.parametrize("tail", [b"", b"\\", b"[" * 40])
def test_a_string_that_never_ends_is_refused_at_once(tail: bytes) -> None:
    """A megabyte of escaped quotation marks: hours, were each tried as another beginning."""
    with pytest.raises(ValueError):
        load_json(b'"' + b'\\"' * 500_000 + tail)


def test_a_record_of_nested_brackets_is_a_record_error() -> None:
    with pytest.raises(RecordError, match="levels deep"):
        BlobRef.parse(b"[" * 1_000_000)
