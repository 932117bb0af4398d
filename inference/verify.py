# SPDX-License-Identifier: Apache-2.0
"""Checking an answer: offline by its signature, and against the chain where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from dao.contracts.model_registry import ModelRegistry, ReleaseStatus
from dao.errors import InputError, RecordError
from dao.messages import check_valuation
from dao.records import Valuation
from dao.strict_json import load_json
from inference.released import input_sha256


@dataclass(frozen=True)
class Check:
    """One thing that was checked of an answer."""

    name: str
    ok: bool
    detail: str


def parse_answers(data: bytes, *, name: str) -> tuple[Valuation, ...]:
    """Valuations in a file: one record, or what `POST /v1/valuations` answers. InputError."""
    try:
        parsed = load_json(data)
        items = parsed["valuations"] if _is_batch(parsed) else [parsed]
        answers = tuple(Valuation.model_validate(item) for item in items)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{name} holds no valuation: {place}: {first['msg']}",
            hint="give it the answer of POST /v1/valuations, or one entry of its valuations",
        ) from error
    except ValueError as error:
        raise InputError(f"{name} is not JSON: {error}") from error
    if not answers:
        raise InputError(f"{name} holds no valuation")
    return answers


def _is_batch(parsed: Any) -> bool:
    return isinstance(parsed, dict) and isinstance(parsed.get("valuations"), list)


def check_signature(answer: Valuation, *, expected_signer: str | None) -> Check:
    """Whether the account that the answer names signed it, and is the expected one."""
    try:
        check_valuation(answer)
    except RecordError as error:
        return Check("signature", False, error.message)
    if expected_signer is not None and answer.signer != expected_signer.lower():
        return Check(
            "signature", False, f"signed by {answer.signer}, expected {expected_signer.lower()}"
        )
    return Check("signature", True, f"signed by {answer.signer}")


def check_input(answer: Valuation, row: Mapping[str, object]) -> Check:
    """Whether the answer is about this row."""
    found = input_sha256(row)
    ok = found == answer.body.input_sha256
    detail = "the answer is about this row"
    if not ok:
        detail = f"this row hashes to {found}, the answer is about {answer.body.input_sha256}"
    return Check("input", ok, detail)


def check_release(answer: Valuation, registry: ModelRegistry, *, chain_id: int) -> Check:
    """Whether the chain released this model under this number, and whether it still stands."""
    body = answer.body
    if (body.chain_id, body.registry) != (chain_id, registry.address):
        return Check(
            "release",
            False,
            f"the answer is about chain {body.chain_id}, registry {body.registry}; "
            f"this is chain {chain_id}, registry {registry.address}",
        )
    release = registry.release_of(body.release)
    if release.status is ReleaseStatus.NONE:
        return Check("release", False, f"the chain has no release {body.release}")
    if release.model_digest != body.model_sha256:
        return Check(
            "release",
            False,
            f"release {body.release} is model {release.model_digest}, "
            f"the answer says {body.model_sha256}",
        )
    if body.issued_at < release.released_at:
        return Check("release", False, "the answer is older than the release that it names")
    status = release.status.name.lower()
    return Check(
        "release",
        release.status is ReleaseStatus.RELEASED,
        f"release {body.release} of task {release.task_id} is {status} now",
    )
