# SPDX-License-Identifier: Apache-2.0
"""Bodies that must be refused, and how little of them is read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dao.errors import InputError
from inference.limits import BodyTooLarge, BodyTooSlow, Limits, NotJson, parse_rows, read_body

LIMIT = 1000
BOUNDS = Limits(max_body_bytes=LIMIT)


class FakeBody:
    """A request that counts the bytes taken from it."""

    def __init__(self, chunks: int, *, headers: Mapping[str, str]) -> None:
        self.headers = headers
        self.taken = 0
        self._chunks = chunks

    async def stream(self) -> AsyncIterator[bytes]:
        for _ in range(self._chunks):
            self.taken += 100
            yield b"x" * 100


def test_a_declared_length_above_the_limit_is_refused_unread() -> None:
    body = FakeBody(500_000, headers={"content-length": str(50_000_000)})
    with pytest.raises(BodyTooLarge, match="50000000 bytes, allowed are 1000"):
        asyncio.run(read_body(body, BOUNDS))
    assert body.taken == 0


@pytest.mark.parametrize("headers", [{}, {"content-length": "10"}, {"content-length": "-5"}])
def test_an_undeclared_or_false_length_is_cut_off_at_the_limit(headers: dict[str, str]) -> None:
    body = FakeBody(500_000, headers=headers)
    with pytest.raises(BodyTooLarge):
        asyncio.run(read_body(body, BOUNDS))
    assert body.taken <= LIMIT + 100


def test_a_body_of_exactly_the_limit_is_read() -> None:
    assert asyncio.run(read_body(FakeBody(10, headers={}), BOUNDS)) == b"x" * LIMIT


def test_a_body_that_drips_is_given_up() -> None:
    class Dripping(FakeBody):
        async def stream(self) -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

    with pytest.raises(BodyTooSlow, match=r"within 0\.05 seconds"):
        asyncio.run(read_body(Dripping(1, headers={}), Limits(body_seconds=0.05)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rows",
        "{",
        '{"a": 1,}',
        "{'a': 1}",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"rows": [{"a": -Infinity}]}',
        '{"a": 1, "a": 2}',
        '{"rows": [{"a": 1, "a": 1}]}',
        '{"a": "\\ud800"}',
        "[" * 100_000,
        '{"a": ' + "9" * 5000 + "}",
    ],
)
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(NotJson):
        parse_rows(text.encode(), max_rows=10)


@pytest.mark.parametrize("body", [b'{"a": "\xff"}', '{"a": 1}'.encode("utf-16")])
def test_another_encoding_is_refused(body: bytes) -> None:
    with pytest.raises(NotJson):
        parse_rows(body, max_rows=10)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "a list"),
        (None, "null"),
        (3, "a number"),
        ("row", "text"),
        ({"rows": []}, "0 rows"),
        ({"rows": [{}] * 11}, "11 rows"),
        ({"rows": {"a": 1}}, "an object"),
        ({"rows": [{"a": 1}, 7]}, r"rows\[1\]: got a number"),
        ({"rows": [{"a": 1}], "model": 2}, "model"),
    ],
)
def test_another_shape_is_refused_and_named(value: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_rows(json.dumps(value).encode(), max_rows=10)
    assert not isinstance(caught.value, NotJson)


@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=5).filter(lambda name: name != "rows"),
            st.none() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, width=32)
            .filter(lambda number: abs(number) < 1e300) | st.text(max_size=5),
        ),
        min_size=1,
        max_size=5,
    )
)  # fmt: skip
def test_rows_arrive_as_they_were_sent(rows: list[dict[str, object]]) -> None:
    try:
        many = json.dumps({"rows": rows}, ensure_ascii=False, allow_nan=False).encode()
        single = json.dumps(rows[0], ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return
    assert parse_rows(many, max_rows=5) == rows
    assert parse_rows(single, max_rows=5) == [rows[0]]
