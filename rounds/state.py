# SPDX-License-Identifier: Apache-2.0
"""Bytes of updates and model states, and the numbers they stand for.

An update is little-endian int64 on the grid of its release: in training d of them on the grid
2^-update_grid_bits. A model state is `state_vectors` vectors of d on the grid 2^-model_grid_bits:
theta for newton; theta, m, v for adam. A number is float64(integer) * 2^-bits; every integer lies
strictly between -2^62 and 2^62.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dao.errors import RecordError, TaskError
from dao.records import Task
from privacy.mechanism import Release

LIMIT = 1 << 62
WORD_BYTES = 8

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def state_vectors(task: Task) -> int:
    """Vectors in a model state: 1 (newton) or 3 (adam: theta, m, v)."""
    return 1 if task.optimiser.kind == "newton" else 3


def update_bytes(release: Release) -> int:
    """Length of an update's bytes."""
    return WORD_BYTES * release.length


def decode_update(release: Release, data: bytes) -> Ints:
    """int64[length]. RecordError where the length or an integer is out of bounds."""
    values = _decode(data, expected=release.length, what="update")
    _check_range(values, what="update")
    return values


def update_to_float(release: Release, update: Ints) -> Floats:
    """float64 of an update's integers, any shape."""
    numbers: Floats = np.ldexp(update.astype(np.float64), -release.grid_bits)
    return numbers


def decode_state(task: Task, data: bytes) -> Ints:
    """int64[S, d]. RecordError where the length or an integer is out of bounds."""
    count, d = state_vectors(task), task.model.parameters
    values = _decode(data, expected=count * d, what="model state").reshape(count, d)
    _check_range(values, what="model state")
    if count == 3 and (values[2] < 0).any():
        raise RecordError("model state: Adam's second moment is negative, expected at least 0")
    return values


def encode_state(state: Ints) -> bytes:
    """Little-endian bytes of int64[S, d]."""
    return state.astype("<i8").tobytes()


def state_to_float(task: Task, state: Ints) -> Floats:
    """float64 of a state's integers, any shape."""
    numbers: Floats = np.ldexp(state.astype(np.float64), -task.model.model_grid_bits)
    return numbers


def state_from_float(task: Task, vectors: Floats) -> Ints:
    """Round half to even onto the model's grid, any shape.

    TaskError where a number leaves the range: the task's constants let the model diverge.
    """
    scaled = np.rint(np.ldexp(vectors, task.model.model_grid_bits))
    if not (np.abs(scaled) < float(LIMIT)).all():
        raise TaskError(
            "the model left the range of its grid",
            hint="the task's step sizes, gains or grid do not fit its gradients",
        )
    return scaled.astype(np.int64)


def theta_of(task: Task, state: bytes) -> Floats:
    """float64[d]: the parameters of a model state's bytes."""
    return state_to_float(task, decode_state(task, state)[0])


def initial_state(task: Task, theta: Floats) -> bytes:
    """A task's initial state: theta on the grid, Adam's moments 0."""
    vectors = np.zeros((state_vectors(task), task.model.parameters))
    vectors[0] = theta
    return encode_state(state_from_float(task, vectors))


def sum_updates(updates: Sequence[Ints], *, length: int) -> Floats:
    """The exact integer sum of updates, each coordinate rounded once to float64 (grid not applied).

    int64 holds the sum unless someone works at the edge of the range; then Python's integers do.
    """
    if not updates:
        return np.zeros(length)
    stacked = np.stack(updates)
    largest = sum(int(np.abs(update).max()) for update in updates)
    if largest < 1 << 63:
        return np.asarray(np.sum(stacked, axis=0, dtype=np.int64)).astype(np.float64)
    return np.array([float(each) for each in np.sum(stacked.astype(object), axis=0)])


def _decode(data: bytes, *, expected: int, what: str) -> Ints:
    if len(data) != WORD_BYTES * expected:
        raise RecordError(
            f"{what}: {len(data)} bytes, expected {WORD_BYTES * expected} ({expected} int64)"
        )
    return np.frombuffer(data, dtype="<i8").astype(np.int64)


def _check_range(values: Ints, *, what: str) -> None:
    outside = np.flatnonzero((values >= LIMIT) | (values <= -LIMIT))
    if len(outside):
        raise RecordError(
            f"{what}: integer {int(outside[0])} is {int(values.reshape(-1)[outside[0]])},"
            " expected between -2^62 and 2^62"
        )
