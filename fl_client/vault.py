# SPDX-License-Identifier: Apache-2.0
"""The vault: the only process that reads the records, the BLS key and the privacy ledger.

`answer` is what a coordinator can make it do in a round, in this order: the same request as before
gets the stored bytes; the chain must have approved the task; the contributor's own limits must
allow it; the ledger must afford all of it; then the update is computed, staged, paid for in the
ledger (fsync), and only then is its receipt released (the update follows by `reveal`). Nothing in
the request can weaken the task: everything that shapes the update comes from the record that the
vote approved.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dao.cid import blob_ref, of_digest
from dao.keystore import BlsKey
from dao.records import Receipt, ReceiptBody, Task
from dao.store import Store
from fl_client.answers import AnswerStore
from fl_client.approval import ChainView, TaskOnChain, require_approved
from fl_client.ledger_file import LedgerFile
from fl_client.policy import PolicyFloor, check_policy
from fl_client.receipt_lists import ReceiptLists
from fl_client.records_file import RecordsFile
from fl_client.refusals import Code, Refused
from fl_client.service_lock import ServiceLock, folder_lock
from fl_client.wire import TrainAnswer, TrainRequest
from privacy.filters import LifetimeLimit
from privacy.ledger import LedgerState
from privacy.noise import NoiseSource, SecureNoise
from rounds.contribution import contribution, seeded_noise
from rounds.phases import event_of
from rounds.state import theta_of
from valuation.family import Family
from valuation.loading import load_family


@dataclass(frozen=True)
class VaultConfig:
    """Where a vault's things lie and what its owner allows."""

    account: str
    """The contributor's account on chain, lower case; its key is never here."""
    folder: Path
    records: Path
    witness: Path
    """File outside `folder` that remembers how far the ledger has come."""
    floor: PolicyFloor
    bundle_sha256: str
    """Hash of the installed app bundle; a task that names another one is refused."""
    noise_seed: bytes | None = None
    """Fixed noise for simulations and tests; needs `floor.allow_seeded_noise`."""


class Vault:
    """One contributor's vault over its folder. Many processes may hold one: a file lock makes
    their answers take turns."""

    def __init__(
        self,
        config: VaultConfig,
        *,
        key: BlsKey,
        store: Store,
        chain: ChainView,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        replayed: dict[str, object] | None = None,
    ) -> None:
        if config.noise_seed is not None and not config.floor.allow_seeded_noise:
            raise Refused(
                Code.POLICY,
                "a noise seed is set, but this vault does not allow seeded noise",
                hint="remove vault.noise_seed; seeded noise protects nothing",
            )
        _make_folder(config.folder)
        self.config = config
        self.public_key = key.public_key
        self.store = store
        self.chain = chain
        self._key = key
        self._clock = clock
        self._sleep = sleep
        self._answers = AnswerStore(
            config.folder / "answers", account=config.account, public_key=key.public_key
        )
        self.lists = ReceiptLists(config.folder / "answers")
        self.held_against_lists: str | None = None
        """Root of the last committed checkpoint that fits `lists` (`fl_client.reveal`)."""
        self._ledger = LedgerFile(
            config.folder / "ledger.jsonl", witness=config.witness, account=config.account
        )
        self.service_lock = ServiceLock(config.folder)
        self.records = RecordsFile(config.records, cache=config.folder / "prepared")
        self._tasks: dict[str, tuple[Task, Family]] = {}
        self.replayed: dict[str, object] = {} if replayed is None else replayed
        """What `cosign` has recomputed in this process, by task digest. Vaults that trust one
        another (those of a simulation) may share it."""

    @property
    def limit(self) -> LifetimeLimit:
        """The lifetime limit that the ledger is held against."""
        return self.config.floor.lifetime_limit

    def answer(self, request: TrainRequest) -> TrainAnswer:
        """The reply to one round. Refused (with a code) or another CovalueError otherwise."""
        with self.service_lock.answering(), folder_lock(self.config.folder):
            answer, task = self._answer(request)
        self._wait_for_grid(task.terms.answer_grid_millis)
        return answer

    def ledger_state(self) -> LedgerState:
        """What this vault has reserved and spent, checked against the witness."""
        with folder_lock(self.config.folder):
            return self._ledger.load()

    def rebuild_witness(self) -> LedgerState:
        """For the owner only: trust the ledger as it stands (see LedgerFile)."""
        with folder_lock(self.config.folder):
            return self._ledger.rebuild_witness()

    def end_task(self, task_digest: str) -> LedgerState:
        """Give back the rounds that an ended task never asked for; it is not answered any more."""
        with folder_lock(self.config.folder):
            state = self._ledger.load()
            entry = state.release(task_digest=task_digest)
            return state if entry is None else self._ledger.append(entry)

    def task(self, task_digest: str) -> tuple[Task, Family]:
        """The approved record and its model family, from the store, verified by digest."""
        if task_digest not in self._tasks:
            task = Task.parse(self.store.get(of_digest(task_digest)))
            family = load_family(task, self.store.get(task.model.setup.cid))
            self._tasks = {task_digest: (task, family)}
        return self._tasks[task_digest]

    def stored_answer(self, task_digest: str, round_number: int) -> TrainAnswer | None:
        """What this vault has for a round that its ledger paid for, None where it did not;
        Refused(ledger) when gone or damaged."""
        spending = self.ledger_state().tasks.get(task_digest)
        if spending is None or round_number not in spending.answered:
            return None
        base, update = spending.answered[round_number]
        return self._answers.load(task_digest, round_number, base_sha256=base, update_sha256=update)

    def noise_source(self, task_digest: str, round_number: int) -> NoiseSource:
        """Fresh secure noise for one update; where the vault has a `noise_seed`, what that gives
        for this round."""
        seed = self.config.noise_seed
        if seed is None:
            return SecureNoise()
        return seeded_noise(
            seed, account=self.config.account, task_digest=task_digest, number=round_number
        )

    def sign(self, message: bytes) -> bytes:
        """BLS signature (96 bytes) of a 32-byte message. Within the vault's own package only."""
        return self._key.sign(message)

    def _answer(self, request: TrainRequest) -> tuple[TrainAnswer, Task]:
        state = self._ledger.load()
        base_sha256 = hashlib.sha256(request.base).hexdigest()
        stored = self._stored(state, request, base_sha256)
        if stored is not None:
            return stored, self.task(request.task_digest)[0]
        on_chain = require_approved(
            self.chain,
            task_id=request.task_id,
            task_digest=request.task_digest,
            account=self.config.account,
            public_key=self.public_key,
        )
        task, family = self.task(request.task_digest)
        self._check_task(task, request)
        check_policy(task, self.config.floor)
        reservation = state.reserve(
            task_digest=request.task_digest, policy=task.policy, limit=self.limit
        )
        noise = self.noise_source(request.task_digest, request.round)
        update = self._compute(task, family, request, noise)
        answer = self._sealed(task, on_chain, request, base_sha256, update, noise)
        self._answers.stage(request.task_digest, request.round, answer)
        if reservation is not None:
            state = self._ledger.append(reservation)
        entry = state.answer(
            task_digest=request.task_digest,
            round_number=request.round,
            base_model_sha256=base_sha256,
            update_sha256=hashlib.sha256(update).hexdigest(),
        )
        assert entry is not None
        self._ledger.append(entry)
        return answer, task

    def _stored(
        self, state: LedgerState, request: TrainRequest, base_sha256: str
    ) -> TrainAnswer | None:
        spending = state.tasks.get(request.task_digest)
        if spending is None or request.round not in spending.answered:
            return None
        answered_base, update_sha256 = spending.answered[request.round]
        if answered_base != base_sha256:
            raise Refused(
                Code.OTHER_BASE,
                f"round {request.round} was answered on base {answered_base}, "
                f"asked again on {base_sha256}",
                hint="a second update of one round would spend privacy twice",
            )
        return self._answers.load(
            request.task_digest,
            request.round,
            base_sha256=base_sha256,
            update_sha256=update_sha256,
        )

    def _check_task(self, task: Task, request: TrainRequest) -> None:
        if task.bundle_sha256 != self.config.bundle_sha256:
            raise Refused(
                Code.WRONG_BUNDLE,
                f"the task names bundle {task.bundle_sha256}, installed is "
                f"{self.config.bundle_sha256}",
                hint="install the version of Covalue that the task was made with",
            )
        if request.round > task.total_rounds:
            raise Refused(
                Code.BAD_REQUEST,
                f"round {request.round} is beyond the task's {task.total_rounds}",
            )

    def _compute(
        self, task: Task, family: Family, request: TrainRequest, noise: NoiseSource
    ) -> bytes:
        rows = self.records.prepared(task, family)
        theta = theta_of(task, request.base)
        return contribution(task, family, rows, theta, number=request.round, noise=noise)

    def _sealed(
        self,
        task: Task,
        on_chain: TaskOnChain,
        request: TrainRequest,
        base_sha256: str,
        update: bytes,
        noise: NoiseSource,
    ) -> TrainAnswer:
        body = ReceiptBody(
            kind="covalue.receipt/1",
            position=on_chain.position(request.round),
            contributor=self.config.account,
            base_model_sha256=base_sha256,
            update=blob_ref(update),
            event=event_of(task, request.round, seeded=noise.seeded),
        )
        receipt = Receipt(body=body, signature="0x" + self.sign(body.signing_digest()).hex())
        return TrainAnswer(receipt=receipt.canonical(), update=update)

    def _wait_for_grid(self, grid_millis: int) -> None:
        """Answer on the task's time grid, so that computing time tells nothing of the records."""
        if grid_millis == 0:
            return
        grid = grid_millis / 1000
        over = self._clock() % grid
        self._sleep(grid - over)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Refused(
            Code.UNAVAILABLE,
            f"cannot make the vault's folder {folder}: {error.strerror}",
            hint="vault.path in covalue.toml names the folder; move away what stands in its place",
        ) from error
