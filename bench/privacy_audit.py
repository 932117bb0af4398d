# SPDX-License-Identifier: Apache-2.0
"""What the empirical audit proves of a default task's epsilon, and whether it notices faults.

A kernel task of epsilon 8, drafted from 500 public rows, of which three rows of a unit count, is
attacked as a vault attacks itself: as it is, and with a fault planted in the function that vaults
run. The peer of every row is the claim.

    COVALUE_DATA=FOLDER python -m bench.privacy_audit
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

import rounds.contribution
from dao.records import BlobRef, PrivacyUnit, Task
from demo.market import TARGET, generate_market
from fl_client.privacy_audit import PrivacyAudit, audit_mechanism
from privacy import accounting
from privacy.engine import Engine
from privacy.mechanism import Release, least_grid_bits, private_update
from privacy.noise import NoiseSource, SecureNoise
from valuation.build import build_task
from valuation.draft import draft_task
from valuation.encode import encode
from valuation.family import Family
from valuation.loading import load_family
from valuation.private_rows import PrivateRows, divide_rows
from valuation.rows import check_frame, parse_csv
from valuation.schema import Floats, Ints
from valuation.task_text import render_draft
from valuation.taskfile import parse_taskfile
from valuation.unit_counts import survey_histogram

EPSILON = 8.0
PUBLIC_ROWS, PRIVATE_ROWS, MAX_ROWS = 500, 1000, 3


class Blobs:
    """Content by its SHA-256. The CID is shaped like one and means nothing here."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def put(self, data: bytes) -> BlobRef:
        """Keep bytes."""
        digest = hashlib.sha256(data).hexdigest()
        self.content[digest] = data
        return BlobRef(cid="b" + "a" * 58, sha256=digest, size=len(data))


def halved(total: Floats, release: Release, *, noise: NoiseSource) -> bytes:
    """private_update with half the noise, on the grid that the task names."""
    deviation = 0.5 * release.deviation
    bits = least_grid_bits(deviation)
    quiet = dataclasses.replace(release, deviation=deviation, grid_bits=bits)
    finer = np.frombuffer(private_update(total, quiet, noise=noise), dtype="<i8")
    update: Floats = np.rint(np.ldexp(finer.astype(float), release.grid_bits - bits))
    return update.astype("<i8").tobytes()


CLIPPED_SUM: Callable[..., Floats] = Engine.clipped_sum


def unclipped(*data: Any, clip_norm: float, **others: Any) -> Floats:
    """Engine.clipped_sum that hardly ever clips."""
    return CLIPPED_SUM(*data, clip_norm=1e6 * clip_norm, **others)


def by_row(*data: Any, **others: Any) -> Floats:
    """Engine.clipped_sum that takes every row for a unit."""
    *rows, units = data
    return CLIPPED_SUM(*rows, np.arange(len(units)), **others)


def by_row_in_survey(cells: Ints, units: Ints, **others: Any) -> Floats:
    """survey_histogram that counts every row as a unit."""
    return survey_histogram(cells, np.arange(len(units)), **others)


FAULTS: dict[str, tuple[object, str, Any]] = {
    "noise halved": (rounds.contribution, "private_update", halved),
    "clip skipped": (Engine, "clipped_sum", unclipped),
    "rows clipped in place of units": (Engine, "clipped_sum", by_row),
}
SMALL_FAULTS: dict[str, tuple[object, str, Any]] = {
    "rows counted in the survey": (rounds.contribution, "survey_histogram", by_row_in_survey),
}
"""In a part that costs so little that epsilon may stay below the claim: its noise is refuted."""


def market() -> tuple[pd.DataFrame, str]:
    """California's sales from the folder COVALUE_DATA, or else generated ones; their target."""
    folder = os.environ.get("COVALUE_DATA")
    if folder is None:
        return generate_market(PUBLIC_ROWS + PRIVATE_ROWS, 0), TARGET
    frame = pd.read_csv(Path(folder) / "california_housing.csv")
    chosen = np.random.default_rng(0).permutation(len(frame))[: PUBLIC_ROWS + PRIVATE_ROWS]
    return frame.iloc[chosen], "median_house_value"


def prepare() -> tuple[Task, Family, PrivateRows, bytes]:
    """The task, its family, a contributor's rows, and the initial model."""
    frame, target = market()
    public = frame.iloc[:PUBLIC_ROWS].to_csv(index=False).encode()
    blobs = Blobs()
    text = render_draft(
        draft_task(parse_csv(public, name="public"), target=target),
        title="Audit",
        asset_class="homes",
        public_rows="public.csv",
        family="kernel",
        public_n=20_000,
        contributors=10,
        epsilon=EPSILON,
    )
    task = build_task(
        parse_taskfile(text),
        public,
        blobs.put,
        bundle_sha256="0" * 64,
        accounting=accounting,
    )
    family = load_family(task, blobs.content[task.model.setup.sha256])
    private = parse_csv(frame.iloc[PUBLIC_ROWS:].to_csv(index=False).encode(), name="private")
    accepted = check_frame(task, private, with_target=True).accepted
    rows = divide_rows(task, family, encode(task, private[accepted], with_target=True))
    unit = PrivacyUnit(kind="row", column=None, max_rows=MAX_ROWS)
    task = task.model_copy(update={"unit": unit})
    return task, family, rows, blobs.content[task.model.initial.sha256]


def row(name: str, audit: PrivacyAudit, *, faulty: bool, seconds: float) -> dict[str, Any]:
    """One line of the table: `value` is the lower bound as a share of the claim."""
    claimed, proven = audit.claimed_epsilon_micro / 1e6, audit.proven_epsilon_micro / 1e6
    sign = ">" if faulty else "<="
    return {
        "name": f"audit-privacy, {name} ({seconds:.0f} s)",
        "ours": f"epsilon at least {proven:.3f} ({audit.confidence:.0%})",
        "peer": f"claimed epsilon {claimed:.3f}",
        "value": proven / claimed,
        "unit": "proven / claimed",
        "bar": f"{sign} 1",
        "holds": (proven > claimed and not audit.holds) if faulty else audit.holds,
    }


def limit_row(name: str, audit: PrivacyAudit, *, seconds: float) -> dict[str, Any]:
    """One line: `value` is the limit of the noise as a share of the claimed noise."""
    found = audit.sharpest
    return {
        "name": f"audit-privacy, {name} ({seconds:.0f} s)",
        "ours": f"{found.kind} noise at most {found.bound.sigma:.3f} ({audit.confidence:.0%})",
        "peer": f"claimed noise {found.sigma:.3f}",
        "value": found.bound.sigma / found.sigma,
        "unit": "limit / claimed",
        "bar": "< 1",
        "holds": found.kind == "survey" and not audit.holds,
    }


def rows() -> list[dict[str, Any]]:
    """Measure: the mechanism as it is, and each fault."""
    task, family, private, initial = prepare()
    faults, found = FAULTS | SMALL_FAULTS, []
    for name in ("as it is", *faults):
        started = time.perf_counter()
        with contextlib.ExitStack() as stack:
            if name in faults:
                owner, place, fault = faults[name]
                stack.enter_context(mock.patch.object(owner, place, fault))
            audit = audit_mechanism(
                task, family, private, initial=initial, noise=lambda _: SecureNoise()
            )
        seconds = time.perf_counter() - started
        if name in SMALL_FAULTS:
            found.append(limit_row(name, audit, seconds=seconds))
        else:
            found.append(row(name, audit, faulty=name in FAULTS, seconds=seconds))
    return found


if __name__ == "__main__":
    measured = rows()
    sys.stdout.write("".join(json.dumps(each) + "\n" for each in measured))
    sys.exit(0 if all(each["holds"] for each in measured) else 1)
