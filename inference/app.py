# SPDX-License-Identifier: Apache-2.0
"""The HTTP face of a released model.

Statuses: 200; 400 not JSON; 408 body too slow; 413 body too large; 422 a row or the shape of the
request is wrong (names row, field, what came and what is allowed); 503 nothing may be served (with
the reason).
A fault of ours is 500 with one sentence; its traceback goes to the log, never to the client.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from dao.errors import CovalueError, InputError, NotServable
from inference.answers import (
    EXAMPLE_ROW,
    CurrentModel,
    Health,
    Problem,
    Valuations,
    describe,
    unsigned,
)
from inference.limits import (
    BodyTooLarge,
    BodyTooSlow,
    Limits,
    NotJson,
    Row,
    parse_rows,
    read_body,
)
from inference.released import Provider, RowProblem
from inference.signing import AnswerSigner

logger = logging.getLogger("covalue.inference")

_DESCRIPTION = """
Signed valuations from a model that members of the DAO voted to release. It was trained on
private records that never left their holders, under differential privacy.

`GET /v1/models/current` says which fields a row needs. Each answer carries an EIP-712
signature over the row's hash, value, interval, time and release; `covalue model verify`
checks it.
"""


def create_app(
    provider: Provider,
    signer: AnswerSigner,
    limits: Limits | None = None,
    *,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The API over a provider of released models; nothing in it is global.

    Args:
        provider: asked at each request; its NotServable becomes a 503.
        signer: signs every answer.
        limits: bounds of one request.
        clock: Unix seconds, for `issued_at`.
    """
    bounds = limits or Limits()
    app = FastAPI(
        title="Covalue",
        version="1",
        description=_DESCRIPTION,
        license_info={"name": "see licence in GET /v1/models/current"},
    )

    def value(rows: list[Row]) -> Valuations:
        servable = provider.current()
        appraisals = servable.model.appraise(rows)
        # a chain may run ahead of the wall clock; an answer is never older than its release
        issued_at = max(int(clock()), servable.provenance.seen_at)
        return Valuations(
            valuations=tuple(
                signer.sign(unsigned(servable, appraisal, issued_at=issued_at))
                for appraisal in appraisals
            )
        )

    @app.post(
        "/v1/valuations",
        response_model=Valuations,
        responses=_problems(400, 408, 413, 422, 503),
        openapi_extra=_request_body(bounds),
        summary="Value one row or many",
    )
    async def valuations(request: Request) -> Valuations:
        """Send one row, or `{"rows": [...]}`; every row gets its own signed answer."""
        body = await read_body(request, bounds)
        return await run_in_threadpool(lambda: value(parse_rows(body, max_rows=bounds.max_rows)))

    @app.get(
        "/v1/models/current",
        response_model=CurrentModel,
        responses=_problems(503),
        summary="The released model and where it comes from",
    )
    def current_model() -> CurrentModel:
        """Release, digest, task, epsilon, contributors, block, and what a row must hold."""
        return describe(provider.current(), signer=signer.address)

    @app.get("/healthz", response_model=Health, summary="Is the process alive?")
    def healthz() -> Health:
        """Always 200 while the process answers; `serving` says whether there is a model."""
        try:
            release = provider.current().provenance.release
        except NotServable as reason:
            return Health(serving=False, release=None, reason=reason.message)
        return Health(serving=True, release=release, reason=None)

    app.add_exception_handler(CovalueError, _refused)
    app.add_exception_handler(Exception, _broken)
    return app


def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, CovalueError)
    problem = Problem(error=error.message, hint=error.hint)
    if isinstance(error, RowProblem):
        problem = Problem(
            error=error.message,
            hint="GET /v1/models/current lists the fields and what they may hold",
            row=error.index,
            field=error.field,
            got=error.got,
            expected=error.expected,
        )
    status = _status(error)
    if status == 500:
        return _broken(_, error)
    # the rest of such a body is not read, so the connection cannot be used again
    unread = isinstance(error, BodyTooLarge | BodyTooSlow)
    headers = {"connection": "close"} if unread else None
    return JSONResponse(problem.model_dump(exclude_none=True), status, headers)


def _status(error: CovalueError) -> int:
    match error:
        case BodyTooLarge():
            return 413
        case BodyTooSlow():
            return 408
        case NotJson():
            return 400
        case InputError():
            return 422
        case NotServable():
            return 503
    return 500


def _broken(_: Request, error: Exception) -> JSONResponse:
    logger.error("a request failed", exc_info=error)
    return JSONResponse({"error": "the server failed to answer; its operator can see why"}, 500)


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    meaning = {
        400: "The body is not JSON (NaN and Infinity are not).",
        408: "The body did not arrive in time.",
        413: "The body is too large; it was not read.",
        422: "A row, or the shape of the request, is wrong.",
        503: "Nothing may be served now: no release, a suspension, a revocation, wrong bytes.",
    }
    return {status: {"model": Problem, "description": meaning[status]} for status in statuses}


def _request_body(limits: Limits) -> dict[str, Any]:
    """OpenAPI of the body, which is read by hand for strictness."""
    row = {"type": "object", "additionalProperties": {"type": ["number", "string", "null"]}}
    many = {
        "type": "object",
        "required": ["rows"],
        "additionalProperties": False,
        "properties": {
            "rows": {"type": "array", "items": row, "minItems": 1, "maxItems": limits.max_rows}
        },
    }
    return {
        "requestBody": {
            "required": True,
            "description": f"At most {limits.max_body_bytes} bytes and {limits.max_rows} rows.",
            "content": {
                "application/json": {
                    "schema": {"oneOf": [many, row]},
                    "examples": {
                        "one row": {"value": EXAMPLE_ROW},
                        "many rows": {"value": {"rows": [EXAMPLE_ROW, EXAMPLE_ROW]}},
                    },
                }
            },
        }
    }
