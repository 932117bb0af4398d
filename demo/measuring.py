# SPDX-License-Identifier: Apache-2.0
"""Looking at a finished task with the test rows that nobody trained on."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from audit.published import PublishedContent, read_blob, read_checkpoint, read_records
from dao.deployment import Contracts
from dao.records import CategoryFeature, DateFeature, ModelCard, SignedRoundRecord, Task
from dao.store import Store
from demo.baselines import Quality, compare, quality
from demo.split import Split
from demo.tasking import acceptable
from rounds.estimate import stretch_of
from rounds.state import theta_of
from valuation.encode import encode
from valuation.loading import load_family
from valuation.schema import feature_columns


@dataclass(frozen=True)
class Measured:
    """R2 on the test rows before training and after each round; the final table; who was left out,
    by address, in words."""

    curve: tuple[float, ...]
    qualities: tuple[Quality, ...]
    excluded: dict[str, str]


def measure_task(
    task: Task, store: Store, dao: Contracts, task_id: int, split: Split, *, card: ModelCard
) -> Measured:
    """Read every round's model from the store and judge it on the test rows; the last one's
    estimates are those that are released, stretched as its card says."""
    family = load_family(task, read_blob(store, task.model.setup, place="set-up"))
    test = encode(task, acceptable(task, split.test), with_target=True)
    prepared = family.prepare(test)
    records = committed_records(store, dao, task_id)
    content = PublishedContent(store)
    for signed in records:
        content.learn(signed.record)
    states = [read_blob(store, task.model.initial, place="initial model")]
    states += [content[signed.record.model.sha256] for signed in records]
    estimates = [family.predict(prepared, theta_of(task, state)) for state in states]
    curve = tuple(quality("", task, predicted=estimate, test=test).r2 for estimate in estimates)
    stretch = stretch_of(card.stretch_center_micro, card.stretch_slope_micro)
    released = stretch.apply(estimates[-1])
    trained = quality("this task's model", task, predicted=released, test=test)
    others = compare(
        task,
        family,
        public=acceptable(task, split.public),
        contributors=tuple(acceptable(task, rows) for rows in split.contributors),
        test=test,
    )
    return Measured(curve=curve, qualities=(trained, *others), excluded=_exclusions(records))


def committed_records(store: Store, dao: Contracts, task_id: int) -> list[SignedRoundRecord]:
    """The records of all rounds that the chain has committed, in order."""
    count = dao.ledger.task_of(task_id).checkpoint_count
    records: list[SignedRoundRecord] = []
    for index in range(count):
        committed = dao.ledger.checkpoint_of(task_id, index)
        checkpoint = read_checkpoint(store, committed.records_root, index=index)
        records += read_records(store, checkpoint)
    return records


def first_test_row(task: Task, rows: pd.DataFrame) -> dict[str, object]:
    """One test row as a consumer would send it: numbers as numbers, missing values left out."""
    row: dict[str, object] = {}
    for feature in task.features:
        words = isinstance(feature, CategoryFeature | DateFeature)
        for column in feature_columns((feature,)):
            text = str(rows.iloc[0][column])
            if text:
                row[column] = text if words else float(text)
    return row


def _exclusions(records: list[SignedRoundRecord]) -> dict[str, str]:
    """The first exclusion of each contributor."""
    found: dict[str, str] = {}
    for signed in records:
        for each in signed.record.exclusions:
            number = signed.record.position.round
            found.setdefault(each.contributor, f"round {number}: {each.reason}")
    return found
