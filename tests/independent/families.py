# SPDX-License-Identifier: Apache-2.0
"""The set-up blob and the two model families it makes, docs/spec/valuation.md §3 to §7."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.independent.facts import must
from tests.independent.rows import Array, Rows

TYPES = {"F64": "<f8", "F32": "<f4"}


def read_setup(data: bytes) -> dict[str, Array]:
    """The arrays of a safetensors file, as float64."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    must("__metadata__" not in header, "set-up", "metadata where there is none")
    found = {}
    for name, each in header.items():
        start, end = each["data_offsets"]
        part = np.frombuffer(data[8 + size + start : 8 + size + end], TYPES[each["dtype"]])
        found[name] = part.reshape(each["shape"]).astype(np.float64)
        must(bool(np.isfinite(part).all()), "set-up", f"{name} is not finite")
    return found


@dataclass(frozen=True)
class JudgingRows:
    """n rows that judge: inputs n x p of the family's module, residuals y = z - offset."""

    inputs: Array
    residuals: Array


def squares(x: Array, y: Array) -> Array:
    """Squared distances between the rows of two matrices."""
    found = np.zeros((len(x), len(y)))
    for column in range(x.shape[1]):
        found += (x[:, None, column] - y[None, :, column]) ** 2
    return found


def _matern32(q: Array) -> Array:
    r = np.sqrt(3 * (q + 1e-10))
    return (1 + r) * np.exp(-r)


def _matern52(q: Array) -> Array:
    r = np.sqrt(5 * (q + 1e-10))
    return (1 + r + r**2 / 3) * np.exp(-r)


def covariance(
    setup: dict[str, Array], x: Array, u: Array, x_other: Array, u_other: Array
) -> Array:
    """k between rows (attributes scaled, locations) and others, §3."""
    s, lengths = setup["amplitudes"], setup["attribute_lengths"]
    found = s[0] * (x @ x_other.T + 1) / max(x.shape[1], 1)
    alike = _matern52(squares(x / lengths, x_other / lengths))
    found = found + s[1] * alike
    if u.shape[1]:
        g, apart = setup["location_lengths"], squares(u, u_other)
        near = [_matern32(apart / g[i] ** 2) for i in range(3)]
        found = found + s[2] * near[0] + s[3] * near[1] + s[4] * alike * near[2]
    return found


def scaled_attributes(setup: dict[str, Array], attributes: Array) -> Array:
    """Attributes as the public process takes them, §4."""
    moved = (attributes - setup["attribute_center"]) / setup["attribute_scale"]
    return np.clip(moved, -4, 4)


def _to_anchors(setup: dict[str, Array], x: Array, u: Array) -> Array:
    return covariance(setup, x, u, setup["anchor_attributes"], setup["anchor_locations"])


def kernel_inputs(setup: dict[str, Array], x: Array, u: Array) -> Array:
    """Inputs of the kernel family for rows that are scaled already, §5."""
    to_landmarks = covariance(
        setup, x, u, setup["landmark_attributes"], setup["landmark_locations"]
    )
    return np.hstack([to_landmarks, _to_anchors(setup, x, u)]) @ setup["projection"]


def judged_rows(task: Any, setup: dict[str, Array], rows: Rows) -> JudgingRows:
    """Inputs and residuals of rows in the family of the task."""
    x = scaled_attributes(setup, rows.attributes)
    offset = _to_anchors(setup, x, rows.locations) @ setup["alpha"]
    if task["model"]["family"] == "kernel":
        inputs = kernel_inputs(setup, x, rows.locations)
    else:
        angles = rows.locations @ setup["frequencies"] + setup["phases"]
        waves = math.sqrt(2) * np.cos(angles)
        inputs = np.hstack([rows.attributes, waves, offset[:, None]])
    return JudgingRows(inputs, rows.targets - offset)


def public_judges(setup: dict[str, Array]) -> JudgingRows | None:
    """The public rows that were kept out of the fit; None where there are none."""
    if not len(setup.get("judge_residual", ())):
        return None
    return JudgingRows(setup["judge_inputs"], setup["judge_residual"])


def layers(task: Any, theta: Array, inputs: int) -> list[tuple[Array, Array]]:
    """Weights [out, in] and biases of the mlp, §6."""
    found, at, width = [], 0, inputs
    for out in (*task["model"]["hidden"], 1):
        weight = theta[at : at + out * width].reshape(out, width)
        at += out * width
        found.append((weight, theta[at : at + out]))
        at, width = at + out, out
    must(at == theta.size, "task", "parameters do not fit the widths")
    return found


def outputs(task: Any, theta: Array, inputs: Array) -> Array:
    """f(inputs; theta) without the offset, n values."""
    if task["model"]["family"] == "kernel":
        return inputs @ theta
    value = inputs
    every = layers(task, theta, inputs.shape[1])
    for weight, bias in every[:-1]:
        value = np.tanh(value @ weight.T + bias)
    weight, bias = every[-1]
    return 0.25 * (value @ weight.T + bias)[:, 0]
