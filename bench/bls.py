# SPDX-License-Identifier: Apache-2.0
"""BLS signatures of a round of 16 against py_ecc, with equal bytes.

    python -m bench.bls

A round: each of 16 vaults signs its receipt, and the 16 receipts are verified, as `close_round` and
the audit do it (in one batch). A checkpoint: all sign one digest, the signatures are added up, the
aggregate is verified. py_ecc does the same, one signature after the other where it knows no batch.
In CPU seconds of one thread; ours is the median of several turns.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from py_ecc.bls.ciphersuites import G2ProofOfPossession as Suite

from dao import bls

ROSTER, TURNS = 16, 9
BAR = 70.0
Row = dict[str, Any]
Work = Callable[[], list[bytes]]
SECRETS = [1 + int.from_bytes(hashlib.sha256(b"key %d" % n).digest()[1:]) for n in range(ROSTER)]
RECEIPTS = [hashlib.sha256(b"receipt %d" % n).digest() for n in range(ROSTER)]
STRETCH = hashlib.sha256(b"checkpoint").digest()


def rows() -> list[Row]:
    """Every row of the bars on signatures."""
    return [
        _row("sign and verify a round of 16 receipts", _our_round, _their_round),
        _row("sign, add up and verify a checkpoint of 16", _our_checkpoint, _their_checkpoint),
    ]


def _row(name: str, ours: Work, theirs: Work) -> Row:
    ours()  # what is loaded at the first use
    seconds = []
    for _ in range(TURNS):
        our_bytes, taken = _timed(ours)
        seconds.append(taken)
    their_bytes, peer = _timed(theirs)
    own = float(np.median(seconds))
    equal = our_bytes == their_bytes
    return {
        "name": name,
        "ours": f"{1e3 * own:.1f} ms",
        "peer": f"py_ecc: {1e3 * peer:.0f} ms, {'equal' if equal else 'OTHER'} bytes",
        "value": peer / own,
        "unit": "times faster",
        "bar": f">= {BAR:g}, equal bytes",
        "holds": equal and peer / own >= BAR,
    }


def _timed(work: Work) -> tuple[list[bytes], float]:
    start = time.process_time()
    made = work()
    return made, time.process_time() - start


def _must(valid: bool) -> None:
    if not valid:
        raise RuntimeError("a signature that was just made does not verify")


def _secret(number: int) -> bytes:
    return number.to_bytes(32)


OUR_KEYS = [bls.public_key(_secret(each)) for each in SECRETS]


def _our_round() -> list[bytes]:
    made = [bls.sign(_secret(key), each) for key, each in zip(SECRETS, RECEIPTS, strict=True)]
    _must(all(bls.verify_many(list(zip(OUR_KEYS, RECEIPTS, made, strict=True)))))
    return made


def _their_round() -> list[bytes]:
    made = [Suite.Sign(key, each) for key, each in zip(SECRETS, RECEIPTS, strict=True)]
    for key, message, signature in zip(OUR_KEYS, RECEIPTS, made, strict=True):
        _must(Suite.Verify(key, message, signature))  # type: ignore[arg-type]
    return [bytes(each) for each in made]


def _our_checkpoint() -> list[bytes]:
    made = [bls.sign(_secret(key), STRETCH) for key in SECRETS]
    total = bls.aggregate(made)
    _must(bls.fast_aggregate_verify(OUR_KEYS, STRETCH, total))
    return [*made, total]


def _their_checkpoint() -> list[bytes]:
    made = [Suite.Sign(key, STRETCH) for key in SECRETS]
    total = Suite.Aggregate(made)
    _must(Suite.FastAggregateVerify(OUR_KEYS, STRETCH, total))  # type: ignore[arg-type]
    return [*(bytes(each) for each in made), bytes(total)]


def main() -> int:
    """Measure and print; 1 where a row falls short."""
    from rich.console import Console

    from bench.suite import show

    measured = rows()
    show("BLS signatures", measured, Console())
    return 0 if all(row["holds"] for row in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
