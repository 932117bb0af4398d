# SPDX-License-Identifier: Apache-2.0
"""The demo's task: drafted from the public rows, with two sealed parts."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import pandas as pd

from dao.messages import part_commitment
from dao.records import Task
from dao.store import Store
from demo.cast import Cast
from demo.data import Source
from demo.folder import DemoFolder
from demo.options import DemoOptions
from demo.split import Split, split_rows
from fl_client.bundle import bundle_sha256
from privacy import accounting
from valuation.build import build_task
from valuation.draft import Draft, draft_task
from valuation.rows import check_frame
from valuation.task_text import render_draft
from valuation.taskfile import CategorySection, LocationSection, PartSection, parse_taskfile


@dataclass(frozen=True)
class SealedPart:
    """Validation rows that stay with their holder until the end."""

    rows: bytes
    salt: str
    """64 hex digits."""

    @property
    def digest(self) -> str:
        """SHA-256 of the rows."""
        return hashlib.sha256(self.rows).hexdigest()

    @property
    def commitment(self) -> str:
        """What the task names (docs/SPEC.md section 3)."""
        return part_commitment(salt=self.salt, part_sha256=self.digest)


@dataclass(frozen=True)
class Prepared:
    """The task and the rows of everyone's role."""

    task: Task
    split: Split
    parts: tuple[SealedPart, SealedPart]


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """UTF-8 CSV with a header."""
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text.encode()


def prepare(
    source: Source, options: DemoOptions, *, cast: Cast, folder: DemoFolder, store: Store
) -> Prepared:
    """Divide the rows, draft and build the task; task.toml and public.csv go into the folder."""
    draft = draft_task(source.frame, target=source.target, currency=source.currency)
    split = split_rows(
        source.frame,
        contributors=options.contributor_count,
        seed=options.seed,
        location=_location(draft),
        categories=tuple(
            each.column for each in draft.features if isinstance(each, CategorySection)
        ),
    )
    parts = tuple(
        SealedPart(rows=csv_bytes(rows), salt=secrets.token_hex(32)) for rows in split.sealed
    )
    public = csv_bytes(split.public)
    (folder.root / "public.csv").write_bytes(public)
    text = render_draft(
        draft_task(split.public, target=source.target, currency=source.currency),
        title=f"Demo: {source.target}",
        asset_class=source.asset_class,
        public_rows="public.csv",
        family=options.family,
        public_n=_rounded(sum(len(rows) for rows in split.contributors)),
        contributors=options.contributor_count,
        epsilon=options.epsilon,
        coordinator=cast.coordinator.address,
    )
    folder.task_file.write_text(text)
    drafted = parse_taskfile(text)
    rounds = options.rounds or drafted.privacy.rounds
    length = drafted.terms.checkpoint_length
    taskfile = drafted.model_copy(
        update={
            "part": tuple(
                PartSection(holder=holder.address, commitment=part.commitment)
                for holder, part in zip(cast.part_holders, parts, strict=True)
            ),
            "privacy": drafted.privacy.model_copy(update={"rounds": rounds}),
            "terms": drafted.terms.model_copy(
                update={
                    "challenge_time": "1 day",
                    "min_contributors": min(3, options.contributor_count),
                    "checkpoint_length": min(length, rounds) if rounds else length,
                }
            ),
        }
    )
    task = build_task(
        taskfile,
        public,
        store.put,
        bundle_sha256=bundle_sha256(),
        accounting=accounting,
    )
    store.put(task.canonical())
    return Prepared(task=task, split=split, parts=(parts[0], parts[1]))


def acceptable(task: Task, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that the task's schema accepts."""
    accepted = check_frame(task, frame, with_target=True).accepted
    return frame[accepted].reset_index(drop=True)


def _location(draft: Draft) -> tuple[str, str] | None:
    for each in draft.features:
        if isinstance(each, LocationSection):
            return each.latitude, each.longitude
    return None


def _rounded(count: int) -> int:
    """A public number near the true one: two significant digits."""
    scale: int = 10 ** max(len(str(count)) - 2, 0)
    return max(count // scale, 1) * scale
