# SPDX-License-Identifier: Apache-2.0
"""What a stretch's random draws follow from: drawn permutations, and noise to compare with.

A score that is estimated from draws could be moved by whoever knows the draws beforehand. So they
follow from the hash of a block that came after the stretch was committed (docs/spec/rewards.md
§3a). Where there is no chain, as in a forecast, `simulated_block` stands in its place.
"""

from __future__ import annotations

import hashlib

from dao.records import SeedBlock, Task
from rounds.stretch import Stretch

PERMUTATIONS = b"covalue.permutations.v2"
NOISE_PROBES = b"covalue.noise-probes.v2"
NOISE_PLAYERS = b"covalue.noise-players.v2"


def stretch_seed(stretch: Stretch, block: SeedBlock, *, label: bytes) -> bytes:
    """SHA-256(task digest | label | first round of the checkpoint (8 bytes, big endian) | block
    hash), 32 bytes. A forecast, which keeps training rounds alone, need not hold that round."""
    position = stretch.rounds[0].record.position
    length = stretch.task.terms.checkpoint_length
    first = (position.round - 1) // length * length + 1
    task, number = bytes.fromhex(position.task_digest), first.to_bytes(8, "big")
    return hashlib.sha256(task + label + number + bytes.fromhex(block.hash)).digest()


def simulated_block(task: Task, index: int) -> SeedBlock:
    """What stands for the block after checkpoint `index` (from 0) where there is no chain: number
    index + 1, hash SHA-256("covalue.simulated-block.v1" | task digest | index (8 bytes, big
    endian)). Everybody knows it beforehand: for forecasts and measurements alone."""
    source = b"covalue.simulated-block.v1" + bytes.fromhex(task.digest()) + index.to_bytes(8, "big")
    return SeedBlock(number=index + 1, hash=hashlib.sha256(source).hexdigest())
