# SPDX-License-Identifier: Apache-2.0
"""Arrays that begin on a cache line: vector instructions read and write them fastest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LINE = 8
"""Numbers of 8 bytes in a cache line."""


def aligned(size: int) -> NDArray[np.float64]:
    """An array of `size` numbers with nothing set."""
    buffer = np.empty(size + LINE)
    start = -buffer.__array_interface__["data"][0] % (8 * LINE) // 8
    return buffer[start : start + size]
