# SPDX-License-Identifier: Apache-2.0
"""What may be served now, read from the chain; what is served, proved against it.

Promise 10: the API serves only the current release, and only bytes that hash to the digest on
chain. The path of proof: ModelRegistry.current() names task and model digest; the TaskLedger
names the digests of task and score report; those records name set-up and model, and each blob
is hashed before it is used. Where any step fails, nothing is served, and the reason is said.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from audit.published import read_blob, read_report, read_task
from dao.canonical import Record
from dao.chain import Block, Chain
from dao.contracts.model_registry import ModelRegistry, Release, ReleaseStatus
from dao.contracts.task_ledger import TaskLedger
from dao.errors import ChainError, CovalueError, NotServable, RecordError
from dao.store import Store
from inference.released import Provenance, ReleasedModel, Servable

_WHY_NOT = {
    ReleaseStatus.NONE: "no model has been released yet",
    ReleaseStatus.SUSPENDED: "release {number} is suspended",
    ReleaseStatus.REVOKED: "release {number} was revoked",
}


@dataclass(frozen=True)
class TaskDigests:
    """What the TaskLedger keeps of a finalised task."""

    task_digest: str
    score_digest: str


class ReleaseSource(Protocol):
    """The chain as the provider needs it."""

    @property
    def chain_id(self) -> int: ...
    @property
    def registry_address(self) -> str: ...
    @property
    def ledger_address(self) -> str: ...

    def current(self) -> tuple[Block, Release]:
        """Latest block, and the current release at that block."""

    def digests(self, task_id: int, *, block: int) -> TaskDigests:
        """Digests of a task and of its score report."""


class ChainReleases:
    """A ReleaseSource over RPC."""

    def __init__(self, chain: Chain, *, registry: str, ledger: str) -> None:
        self._chain = chain
        self._registry = ModelRegistry(chain, registry)
        self._ledger = TaskLedger(chain, ledger)

    @property
    def chain_id(self) -> int:
        return self._chain.chain_id

    @property
    def registry_address(self) -> str:
        return self._registry.address

    @property
    def ledger_address(self) -> str:
        return self._ledger.address

    def current(self) -> tuple[Block, Release]:
        """See ReleaseSource. Both come from one block, so they cannot contradict each other."""
        block = self._chain.block()
        return block, self._registry.current(block=block.number)

    def digests(self, task_id: int, *, block: int) -> TaskDigests:
        """See ReleaseSource."""
        return TaskDigests(
            task_digest=self._ledger.terms_of(task_id, block=block).task_digest,
            score_digest=self._ledger.final_of(task_id, block=block).score_digest,
        )


class ChainProvider:
    """Serves the current release from a store; asks the chain again after `refresh_seconds`.

    A model is loaded once per release and dropped at the first sign of another. An unreachable
    chain means that nothing is served: what cannot be checked is not released. Thread-safe.
    """

    def __init__(
        self,
        source: ReleaseSource,
        store: Store,
        *,
        refresh_seconds: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._store = store
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._checked_at = -float("inf")
        self._loaded: Servable | None = None
        self._refusal: NotServable | None = None

    def current(self) -> Servable:
        """The current release; NotServable with the reason where there is none."""
        with self._lock:
            if self._clock() - self._checked_at >= self._refresh_seconds:
                self._check()
                self._checked_at = self._clock()
            if self._refusal is not None:
                # a fresh exception each time: a kept one would gather tracebacks
                raise NotServable(self._refusal.message, hint=self._refusal.hint)
            if self._loaded is None:
                raise NotServable("no release was checked yet")
            return self._loaded

    def _check(self) -> None:
        try:
            block, release = self._source.current()
        except ChainError as error:
            self._refuse(f"the chain cannot be read: {error.message}", hint=error.hint)
            return
        if release.status is not ReleaseStatus.RELEASED:
            self._refuse(
                _WHY_NOT[release.status].format(number=release.number),
                hint="members vote on releases: covalue model list shows them",
            )
            return
        loaded = self._loaded
        if loaded is not None and _is(loaded, release):
            seen = replace(loaded.provenance, block=block.number, seen_at=block.timestamp)
            self._loaded = replace(loaded, provenance=seen)
            self._refusal = None
            return
        try:
            self._loaded = self._load(release, block)
            self._refusal = None
        except CovalueError as error:
            self._refuse(
                f"release {release.number} cannot be proved: {error.message}", hint=error.hint
            )

    def _refuse(self, reason: str, *, hint: str | None) -> None:
        self._loaded = None
        self._refusal = NotServable(reason, hint=hint)

    def _load(self, release: Release, block: Block) -> Servable:
        digests = self._source.digests(release.task_id, block=block.number)
        task = read_task(self._store, digests.task_digest)
        _require_digest(task, digests.task_digest, what="task")
        report = read_report(self._store, digests.score_digest)
        _require_digest(report, digests.score_digest, what="score report")
        if (report.task_digest, report.task_id) != (digests.task_digest, release.task_id):
            raise RecordError(f"the score report is about task {report.task_id}, another task")
        if report.model.sha256 != release.model_digest:
            raise RecordError(
                f"the score report names model {report.model.sha256}, "
                f"the chain released {release.model_digest}"
            )
        return Servable(
            provenance=Provenance(
                chain_id=self._source.chain_id,
                registry=self._source.registry_address,
                ledger=self._source.ledger_address,
                block=block.number,
                seen_at=block.timestamp,
                release=release.number,
                released_at=release.released_at,
                task_id=release.task_id,
                task_digest=digests.task_digest,
                model_sha256=release.model_digest,
                model_cid=report.model.cid,
                contributors=tuple(result.contributor for result in report.results),
                epsilon_micro=release.epsilon_micro,
            ),
            model=ReleasedModel(
                task=task,
                card=report.card,
                setup=read_blob(self._store, task.model.setup, place="set-up"),
                model=read_blob(self._store, report.model, place="model"),
            ),
        )


def _require_digest(record: Record, digest: str, *, what: str) -> None:
    """A store is trusted to find content, not to tell what it is."""
    if record.digest() != digest:
        raise RecordError(f"the {what} has digest {record.digest()}, expected {digest}")


def _is(loaded: Servable, release: Release) -> bool:
    seen = loaded.provenance
    return (seen.release, seen.task_id, seen.model_sha256) == (
        release.number,
        release.task_id,
        release.model_digest,
    )
