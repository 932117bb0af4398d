# SPDX-License-Identifier: Apache-2.0
"""A released model in memory: where it comes from, and what it answers."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import rfc8785
import torch

from dao.errors import NotServable, RecordError, RowError
from dao.records import ModelCard, Task
from inference.margins import margins_of
from rounds.estimate import stretch_of
from rounds.state import theta_of
from valuation.encode import encode, target_to_value
from valuation.loading import load_family
from valuation.rows import parse_row

MICRO = 1_000_000


@dataclass(frozen=True)
class Provenance:
    """What the chain says of a release, and what was proved of its bytes.

    `block` is the last block in which the release was seen standing, `seen_at` its timestamp;
    `model_cid` and the card come from the score report whose digest the chain keeps.
    """

    chain_id: int
    registry: str
    ledger: str
    block: int
    seen_at: int
    release: int
    released_at: int
    task_id: int
    task_digest: str
    model_sha256: str
    model_cid: str
    contributors: tuple[str, ...]
    epsilon_micro: int


@dataclass(frozen=True)
class Appraisal:
    """One answer in 1e-6 of the target's currency; lower <= value <= upper. `confidence_micro` is
    the probability that the value is within 10 % of the price, `fsd_micro` the standard deviation
    of value / price - 1; None where the task had no calibration."""

    input_sha256: str
    value_micro: int
    lower_micro: int
    upper_micro: int
    confidence_micro: int | None
    fsd_micro: int | None


class Appraiser(Protocol):
    """A model that values rows."""

    @property
    def task(self) -> Task: ...
    @property
    def card(self) -> ModelCard: ...

    def appraise(self, rows: Sequence[Mapping[str, object]]) -> tuple[Appraisal, ...]:
        """One answer a row, in order; RowProblem names the row and the field that is wrong."""


@dataclass(frozen=True)
class Servable:
    """A model that may be served now."""

    provenance: Provenance
    model: Appraiser


class Provider(Protocol):
    """Who knows what may be served."""

    def current(self) -> Servable:
        """The current release; NotServable with the reason where there is none."""


class FixedProvider:
    """A provider whose answer is set by hand: the fake for tests."""

    def __init__(self, answer: Servable | NotServable) -> None:
        self.answer = answer

    def current(self) -> Servable:
        """See Provider."""
        if isinstance(self.answer, NotServable):
            raise self.answer
        return self.answer


class RowProblem(RowError):
    """A RowError that also knows which row of the request it is about."""

    def __init__(self, index: int, error: RowError) -> None:
        super().__init__(field=error.field, got=error.got, expected=error.expected)
        self.index = index


def input_sha256(row: Mapping[str, object]) -> str:
    """SHA-256 of a row's canonical JSON (RFC 8785): what the signature is about. 64 hex digits.

    Raises ValueError where the row has no canonical form (an integer beyond 2**53, NaN).
    """
    return hashlib.sha256(rfc8785.dumps(dict(row))).hexdigest()  # type: ignore[arg-type]


class ReleasedModel:
    """The model of a task, ready to answer.

    Args:
        task, card: records that the chain's digests lead to.
        setup: bytes of `task.model.setup`.
        model: bytes of the released state.

    Raises RecordError where the bytes do not fit the task.
    """

    def __init__(self, *, task: Task, card: ModelCard, setup: bytes, model: bytes) -> None:
        self.task = task
        self.card = card
        self._family = load_family(task, setup)
        self._theta = theta_of(task, model)
        self._stretch = stretch_of(card.stretch_center_micro, card.stretch_slope_micro)
        self._margins = margins_of(task, self._family.process, card)
        self._lock = threading.Lock()

    def appraise(self, rows: Sequence[Mapping[str, object]]) -> tuple[Appraisal, ...]:
        """See Appraiser. Rows are valued one by one in nothing but their own values, so an
        answer does not depend on what else stands in the request."""
        hashes, frames = [], []
        for index, row in enumerate(rows):
            try:
                frames.append(parse_row(self.task, row))
            except RowError as error:
                raise RowProblem(index, error) from error
            hashes.append(_hash_checked(index, row))
        # torch's thread count is one per process; a model in use must not be entered twice
        with self._lock:
            torch.set_num_threads(1)
            return tuple(
                self._appraise(frame, digest) for frame, digest in zip(frames, hashes, strict=True)
            )

    def _appraise(self, frame: pd.DataFrame, digest: str) -> Appraisal:
        row = encode(self.task, frame, with_target=False)
        prediction = self._family.predict(self._family.prepare(row), self._theta)
        z = self._stretch.apply(prediction)
        if not math.isfinite(z[0]):
            raise RecordError("the model gives no finite value for a row within its schema")
        margin = self._margins.of(row, prediction, z)
        target = self.task.target
        value, lower, upper = target_to_value(target, np.array([z[0], margin.lower, margin.upper]))
        # the stretch, or errors that lean to one side, may leave the estimate itself outside
        return Appraisal(
            input_sha256=digest,
            value_micro=round(value * MICRO),
            lower_micro=min(math.floor(lower * MICRO), round(value * MICRO)),
            upper_micro=max(math.ceil(upper * MICRO), round(value * MICRO)),
            confidence_micro=margin.confidence_micro,
            fsd_micro=margin.fsd_micro,
        )


def _hash_checked(index: int, row: Mapping[str, object]) -> str:
    try:
        return input_sha256(row)
    except ValueError as error:  # rfc8785 refuses what JSON cannot carry exactly
        large = next(
            (n for n, v in row.items() if isinstance(v, int) and abs(v) > 2**53 - 1), "row"
        )
        raise RowProblem(
            index,
            RowError(
                field=large, got="an integer beyond 2**53", expected="a number that JSON can carry"
            ),
        ) from error
