# SPDX-License-Identifier: Apache-2.0
"""How accuracy is measured: who holds which rows, the task that is drafted for them, its training.

For every seed: 80/20 split; 500 rows of the train side are declared public; the rest is divided
by geography (k-means) among K contributors; the task is drafted from the public rows alone and
trained in process by the federation's own engine and step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dao.errors import InputError
from dao.records import BlobRef, Task
from demo.forecast import judge, train_in_process
from privacy import accounting
from valuation.build import build_task
from valuation.draft import draft_task
from valuation.encode import Encoded, encode
from valuation.loading import load_family
from valuation.metrics import Metrics
from valuation.private_rows import divide_rows
from valuation.public_fit import PublicFit
from valuation.rows import check_frame
from valuation.schema import Floats, Ints
from valuation.task_text import render_draft
from valuation.taskfile import parse_taskfile

PUBLIC_ROWS = 500

Edit = tuple[str, str]
"""A text of a drafted task file, and what stands there instead."""


@dataclass(frozen=True)
class Split:
    """Row numbers of one seed's split; `owner` says whose each private row is."""

    test: Ints
    public: Ints
    private: Ints
    owner: Ints


class Blobs:
    """Content kept in memory by its SHA-256, for one measurement."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def put(self, data: bytes) -> BlobRef:
        """Keep bytes. The CID is shaped like one and means nothing here."""
        digest = hashlib.sha256(data).hexdigest()
        self.content[digest] = data
        return BlobRef(cid="b" + "a" * 58, sha256=digest, size=len(data))


def split_rows(
    frame: pd.DataFrame, *, seed: int, contributors: int, keep: int | None, public_rows: int
) -> Split:
    """The protocol's split; with `keep` only so many private rows remain."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(frame))
    held = len(frame) // 5
    test, train = order[:held], order[held:]
    public, private = train[:public_rows], train[public_rows:]
    if keep is not None:
        private = np.sort(random.choice(private, keep, replace=False))
    return Split(test, public, private, _owners(frame.iloc[private], contributors, seed))


def two_region_split(frame: pd.DataFrame, *, seed: int) -> Split:
    """The usual split, but the 500 public rows come from two of ten regions of the train side, and
    all other rows of the train side are private."""
    whole = split_rows(frame, seed=seed, contributors=10, keep=None, public_rows=0)
    random = np.random.default_rng(seed + 1_000)
    regions = random.choice(10, 2, replace=False)
    inside: Ints = np.flatnonzero(np.isin(whole.owner, regions))
    public = random.choice(inside, 500, replace=False)
    rest = np.setdiff1d(np.arange(len(whole.private)), public)
    return Split(whole.test, whole.private[public], whole.private[rest], whole.owner[rest])


def _owners(rows: pd.DataFrame, contributors: int, seed: int) -> Ints:
    from sklearn.cluster import KMeans

    if contributors == 1:
        return np.zeros(len(rows), dtype=np.int64)
    if not {"latitude", "longitude"} <= set(rows.columns):
        return np.random.default_rng(seed).integers(0, contributors, len(rows))
    degrees = rows[["latitude", "longitude"]].astype(float).to_numpy()
    middle = degrees.mean(axis=0)
    places = (degrees - middle) * [1.0, np.cos(np.radians(middle[0]))]
    found = KMeans(contributors, n_init=2, random_state=seed).fit_predict(places)
    return np.asarray(found, dtype=np.int64)


def make_task(
    public: pd.DataFrame,
    *,
    target: str,
    family: str,
    epsilon: float,
    public_n: int,
    contributors: int,
    blobs: Blobs,
    fits: PublicFit | None = None,
    edits: Sequence[Edit] = (),
) -> Task:
    """Draft a task from the public rows, as `covalue task new` does, and build it.

    Args:
        public_n: units that are expected in all.
        fits: what tasks from the same public rows share.
        edits: what a person would change in the drafted file.

    Raises:
        InputError: the drafted file does not hold what an edit is to replace.
    """
    text = render_draft(
        draft_task(public, target=target),
        title="Accuracy",
        asset_class="homes",
        public_rows="public.csv",
        family=family,
        public_n=public_n,
        contributors=contributors,
        epsilon=epsilon,
    )
    data = public.to_csv(index=False).encode()
    return build_task(
        parse_taskfile(edited(text, edits)),
        data,
        blobs.put,
        bundle_sha256="0" * 64,
        accounting=accounting,
        fits=fits,
    )


def edited(text: str, edits: Sequence[Edit]) -> str:
    """A drafted task file after a person's edits, one after the other.

    Raises:
        InputError: the file does not hold what an edit is to replace.
    """
    for old, new in edits:
        if old not in text:
            raise InputError(
                f"the drafted task holds no {old!r}",
                hint="`covalue task new` writes the file that is edited",
            )
        text = text.replace(old, new)
    return text


def accepted(task: Task, frame: pd.DataFrame) -> Encoded:
    """The rows of a table that fit the task, encoded."""
    check = check_frame(task, frame, with_target=True)
    return encode(task, frame[check.accepted], with_target=True)


def train_and_judge(
    task: Task, blobs: Blobs, frame: pd.DataFrame, split: Split, *, seed: int
) -> Metrics:
    """Train a task on the split's private rows, less those that calibrate, and judge it on the
    test rows."""
    family = load_family(task, blobs.content[task.model.setup.sha256])
    prepared = []
    for k in range(int(split.owner.max()) + 1):
        rows = accepted(task, frame.iloc[split.private[split.owner == k]])
        prepared.append(divide_rows(task, family, rows))
    initial = blobs.content[task.model.initial.sha256]
    theta = train_in_process(task, family, initial, prepared, seed=seed)
    return judge(task, family, theta, family.prepare(accepted(task, frame.iloc[split.test])))


def columns_of(rows: Encoded) -> Floats:
    """float64[n, attributes and coordinates]: what a peer learns from."""
    return np.hstack([rows.attributes, rows.locations])
