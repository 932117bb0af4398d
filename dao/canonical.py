# SPDX-License-Identifier: Apache-2.0
"""The base of records, and the types of their fields: canonical bytes, integers only."""

from __future__ import annotations

import hashlib
import re
from datetime import date
from typing import Annotated, Self

import rfc8785
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationError,
)

from dao.errors import RecordError
from dao.strict_json import load_json

MAX_RECORD_BYTES = 1 << 20
"""Records must fit one block, so that digest and CID say the same."""


def _parse_decimal(value: object) -> object:
    if isinstance(value, str):
        if not re.fullmatch(r"0|-?[1-9][0-9]{0,99}", value):
            raise ValueError("expected a decimal integer without leading zeros")
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("expected a decimal integer")
    return value


def _check_date(text: str) -> str:
    date.fromisoformat(text)
    return text


BigInt = Annotated[int, BeforeValidator(_parse_decimal), PlainSerializer(str, return_type=str)]
"""An integer of any size; a decimal string in JSON."""
Amount = Annotated[BigInt, Field(ge=0, lt=1 << 256)]
"""A uint256; a decimal string in JSON."""
SafeInt = Annotated[int, Field(strict=True, ge=-(2**53) + 1, le=2**53 - 1)]
Count = Annotated[int, Field(strict=True, ge=0, le=2**53 - 1)]
Positive = Annotated[int, Field(strict=True, ge=1, le=2**53 - 1)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", strict=True)]
"""SHA-256, 64 lower-case hex digits, no prefix."""
Address = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{40}$", strict=True)]
"""An account or contract, lower case (no checksum case, so that there is one spelling)."""
Hex = Annotated[str, StringConstraints(pattern=r"^0x([0-9a-f]{2})*$", strict=True)]
Cid = Annotated[str, StringConstraints(pattern=r"^b[a-z2-7]{20,100}$", strict=True)]
"""CIDv1 in base32."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, strict=True)]
IsoDate = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", strict=True),
    AfterValidator(_check_date),
]
"""A day of the calendar, YYYY-MM-DD."""


class Record(BaseModel):
    """Base: frozen, unknown fields refused, canonical bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def canonical(self) -> bytes:
        """Canonical JSON (RFC 8785), UTF-8."""
        return rfc8785.dumps(self.model_dump(mode="json"))

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, 64 hex digits."""
        return hashlib.sha256(self.canonical()).hexdigest()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read canonical bytes; anything else (other spelling, unknown field) is RecordError."""
        name = cls.__name__
        if len(data) > MAX_RECORD_BYTES:
            raise RecordError(f"{name}: {len(data)} bytes, expected at most {MAX_RECORD_BYTES}")
        try:
            record = cls.model_validate(load_json(data))
        except (ValidationError, ValueError) as error:
            raise RecordError(f"{name}: not a valid record: {_first_problem(error)}") from error
        if record.canonical() != data:
            raise RecordError(f"{name}: the bytes are not canonical JSON (RFC 8785)")
        return record


def _first_problem(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)
