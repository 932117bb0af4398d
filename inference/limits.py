# SPDX-License-Identifier: Apache-2.0
"""What a request may cost, and the strict reading of its body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from dao.errors import InputError
from dao.strict_json import load_json

Row = Mapping[str, object]


@dataclass(frozen=True)
class Limits:
    """Bounds of one request.

    Attributes:
        max_body_bytes: a longer body is refused before it is read.
        max_rows: rows in one request; each is signed by itself.
        body_seconds: how long a body may take to arrive.
    """

    max_body_bytes: int = 1 << 20
    max_rows: int = 256
    body_seconds: float = 20.0


class BodyTooLarge(InputError):
    """The body passes the limit; it was not read to its end."""


class BodyTooSlow(InputError):
    """The body did not arrive in time; what came of it is dropped."""


class Body(Protocol):
    """What is read of a Starlette request."""

    @property
    def headers(self) -> Mapping[str, str]: ...

    def stream(self) -> AsyncIterator[bytes]: ...


async def read_body(request: Body, limits: Limits) -> bytes:
    """The body, at most `max_body_bytes` of it in memory, for at most `body_seconds`.

    A declared length above the limit is refused without reading; an undeclared one (chunked)
    as soon as the limit is passed. Raises BodyTooLarge or BodyTooSlow.
    """
    limit_bytes = limits.max_body_bytes
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(f"{int(declared)}", limit_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit_bytes:
                    raise _too_large("more", limit_bytes)
    except TimeoutError as error:
        raise BodyTooSlow(
            f"the body did not arrive within {limits.body_seconds:g} seconds",
            hint="send it again over a faster connection, or fewer rows at once",
        ) from error
    return bytes(body)


def _too_large(came: str, limit_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body has {came} bytes, allowed are {limit_bytes}",
        hint="send fewer rows per request",
    )


class NotJson(InputError):
    """The body is not JSON (RFC 8259)."""


def parse_rows(body: bytes, *, max_rows: int) -> list[Row]:
    """Rows of a request: one object, or `{"rows": [object, ...]}`.

    Refuses what `dao.strict_json` refuses (NotJson), and any other shape or number of rows
    (InputError). Values are checked against the schema elsewhere (`valuation.rows.parse_row`).
    """
    try:
        parsed = load_json(body)
    except ValueError as error:
        raise NotJson(
            f"the body is not JSON: {_reason(error)}",
            hint='expected {"rows": [{"field": value, ...}, ...]} or one such row',
        ) from error
    if not isinstance(parsed, dict):
        raise InputError(
            f"the body is {_kind(parsed)}, expected an object",
            hint='send {"rows": [{"field": value, ...}, ...]} or one such row',
        )
    if "rows" not in parsed:
        return [parsed]
    rows = parsed["rows"]
    extra = sorted(set(parsed) - {"rows"})
    if extra:
        raise InputError(f"beside rows came {', '.join(extra)[:100]}, expected rows alone")
    if not isinstance(rows, list) or not 1 <= len(rows) <= max_rows:
        came = f"{len(rows)} rows" if isinstance(rows, list) else _kind(rows)
        raise InputError(f"rows: got {came}, expected a list of 1 to {max_rows} rows")
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"rows[{index}]: got {_kind(row)}, expected an object")
    return rows


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    if isinstance(error, UnicodeEncodeError):
        return "it holds half a surrogate pair"
    return str(error)[:200]


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
