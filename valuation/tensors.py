# SPDX-License-Identifier: Apache-2.0
"""Set-up blobs: named arrays as safetensors, checked on the way in."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dao.errors import RecordError

MAX_SETUP_BYTES = 256 << 20
"""A set-up blob above this is refused before it is read."""

Layout = Mapping[str, tuple[str, int]]
"""Name of each array: NumPy dtype and number of axes."""
Arrays = dict[str, npt.NDArray[np.generic]]


def pack(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """Arrays as one safetensors blob, little-endian, without metadata."""
    return bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def read_arrays(data: bytes) -> Arrays:
    """All arrays of a blob.

    Raises:
        RecordError: not safetensors, or too large.
    """
    if len(data) > MAX_SETUP_BYTES:
        raise RecordError(f"set-up: {len(data)} bytes, expected at most {MAX_SETUP_BYTES}")
    try:
        arrays: Arrays = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise RecordError(f"set-up: not a safetensors blob: {error}") from error
    return arrays


def unpack(data: bytes, layout: Layout) -> Arrays:
    """Read a blob that must hold exactly the arrays of the layout, all finite.

    Raises:
        RecordError: not safetensors, too large, another name, type or shape, NaN or infinity.
    """
    arrays = read_arrays(data)
    if set(arrays) != set(layout):
        raise RecordError(
            f"set-up: holds {', '.join(sorted(arrays))}; expected {', '.join(sorted(layout))}"
        )
    for name, (dtype, axes) in layout.items():
        array = arrays[name]
        if array.dtype != np.dtype(dtype) or array.ndim != axes:
            raise RecordError(
                f"set-up: {name} is {array.dtype} with {array.ndim} axes; expected {dtype} with "
                f"{axes}"
            )
        if not np.isfinite(array).all():
            raise RecordError(f"set-up: {name} holds NaN or infinity")
    return arrays
