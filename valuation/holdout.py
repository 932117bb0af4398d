# SPDX-License-Identifier: Apache-2.0
"""Which units are kept out of training to calibrate intervals.

A unit's own content and public bytes decide, so no other unit's presence changes what becomes of
it, and contributors, forecasts and repeated runs come to the same division.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from dao.records import Task
from valuation.schema import Bools

_PURPOSE = b"covalue.calibration.v1\x00"


def calibrates(task: Task, unit_keys: NDArray[np.uint64]) -> Bools:
    """bool[n] of rows: SHA-256(purpose | SHA-256 of the set-up | key, 8 bytes little endian), read
    as a fraction of its first 8 bytes (little endian), is below the task's share. Without a
    calibration nobody's."""
    if task.calibration is None:
        return np.zeros(len(unit_keys), dtype=np.bool_)
    salt = _PURPOSE + bytes.fromhex(task.model.setup.sha256)
    bound = (task.calibration.share_micro << 64) // 1_000_000
    distinct, of_row = np.unique(unit_keys, return_inverse=True)
    chosen = [
        int.from_bytes(hashlib.sha256(salt + int(key).to_bytes(8, "little")).digest()[:8], "little")
        < bound
        for key in distinct
    ]
    return np.array(chosen, dtype=np.bool_)[of_row]
