# SPDX-License-Identifier: Apache-2.0
"""Tasks from the vote to the payout (TaskLedger)."""

from __future__ import annotations

from collections.abc import Sequence

from dao.chain import Call
from dao.contracts.binding import ZERO_ADDRESS, Owned, proof_bytes
from dao.contracts.task_types import (
    ChainChallenge,
    ChainCheckpoint,
    ChainTask,
    ChainTerms,
    FinalReport,
    OpenedPartEvent,
    PartStatus,
)
from dao.errors import ChainError


class TaskLedger(Owned):
    """Documented in contracts/src/interfaces/ITaskLedger.sol."""

    artefact_name = "TaskLedger"

    # --- reads --------------------------------------------------------------------------

    def task_of(self, task_id: int, *, block: int | None = None) -> ChainTask:
        return ChainTask.from_abi(self._read("taskOf", task_id, block=block))

    def terms_of(self, task_id: int, *, block: int | None = None) -> ChainTerms:
        return ChainTerms.from_abi(self._read("termsOf", task_id, block=block))

    def part_of(self, task_id: int, part: int, *, block: int | None = None) -> PartStatus:
        return PartStatus.from_abi(self._read("partOf", task_id, part, block=block))

    def roster_of(self, task_id: int, *, block: int | None = None) -> tuple[str, ...]:
        """Accounts in the order of the signers' bits; frozen by the start."""
        return tuple(self._read("rosterOf", task_id, block=block))

    def roster_keys(self, task_id: int, *, block: int | None = None) -> tuple[bytes, ...]:
        """BLS keys in the same order, 128 bytes each (EIP-2537)."""
        return tuple(self._read("rosterKeys", task_id, block=block))

    def is_joined(self, task_id: int, account: str, *, block: int | None = None) -> bool:
        return bool(self._read("isJoined", task_id, account, block=block))

    def aggregate_key_of(self, task_id: int, *, block: int | None = None) -> bytes:
        """Sum of the roster's keys, 128 bytes."""
        key: bytes = self._read("aggregateKeyOf", task_id, block=block)
        return key

    def checkpoint_of(
        self, task_id: int, index: int, *, block: int | None = None
    ) -> ChainCheckpoint:
        return ChainCheckpoint.from_abi(self._read("checkpointOf", task_id, index, block=block))

    def checkpoint_signers(self, task_id: int, index: int, *, from_block: int) -> int:
        """Who co-signed a committed checkpoint: bit i is place i in the roster. ChainError where it is
        not committed since `from_block`."""
        found = self.events(
            "CheckpointCommitted", from_block=from_block, where={"taskId": task_id, "index": index}
        )
        if not found:
            raise ChainError(
                f"no checkpoint {index} of task {task_id} since block {from_block}",
                hint="ask from the block in which the contracts were deployed",
            )
        return int(found[0].arguments["signers"])

    def final_of(self, task_id: int, *, block: int | None = None) -> FinalReport:
        """The result of a closed task; all zero before."""
        return FinalReport.from_abi(self._read("finalOf", task_id, block=block))

    def challenge_of(self, task_id: int, *, from_block: int) -> ChainChallenge | None:
        """The open challenge with the CID of its evidence, which stands in its event alone; None
        where there is none. ChainError where it was made before `from_block`."""
        found = self._read("challengeOf", task_id)
        if found["challenger"] == ZERO_ADDRESS:
            return None
        events = self.events("Challenged", from_block=from_block, where={"taskId": task_id})
        if not events:
            raise ChainError(
                f"task {task_id} was challenged before block {from_block}",
                hint="ask from the block in which the contracts were deployed",
            )
        return ChainChallenge(
            challenger=found["challenger"],
            opened_at=found["openedAt"],
            evidence_digest=found["evidenceDigest"].hex(),
            evidence_cid=events[-1].arguments["evidenceCid"],
        )

    def owed_of(self, task_id: int, account: str, *, block: int | None = None) -> int:
        """What an account can withdraw of lost challenge bonds, in wei."""
        return int(self._read("owedOf", task_id, account, block=block))

    def task_id_of(self, task_digest: str, *, block: int | None = None) -> int:
        """The id of a task record's digest (64 hex digits); 0 if it was never opened."""
        return int(self._read("taskIdOf", bytes.fromhex(task_digest), block=block))

    def task_count(self, *, block: int | None = None) -> int:
        """Number of tasks ever opened; also the last id."""
        return int(self._read("taskCount", block=block))

    def registry(self, *, block: int | None = None) -> str:
        address: str = self._read("registry", block=block)
        return address

    def distributor(self, *, block: int | None = None) -> str:
        address: str = self._read("distributor", block=block)
        return address

    def token(self, *, block: int | None = None) -> str:
        address: str = self._read("token", block=block)
        return address

    def challenge_timeout_seconds(self, *, block: int | None = None) -> int:
        return int(self._read("challengeTimeout", block=block))

    def checkpoint_message(self, task_id: int, checkpoint: ChainCheckpoint) -> bytes:
        """The 32 bytes that the roster signs for a checkpoint."""
        message: bytes = self._read("checkpointMessage", task_id, checkpoint.to_abi())
        return message

    def final_message(self, task_id: int, report: FinalReport) -> bytes:
        """The 32 bytes that the roster signs for the result."""
        message: bytes = self._read("finalMessage", task_id, report.to_abi())
        return message

    def round_record_digest(self, task_id: int, *, round: int, digest: str) -> bytes:
        """The EIP-712 digest that the coordinator signs for a round record."""
        found: bytes = self._read("roundRecordDigest", task_id, round, bytes.fromhex(digest))
        return found

    def opened_parts(self, task_id: int, *, from_block: int) -> tuple[OpenedPartEvent, ...]:
        """The parts that were opened, with their salts, in the order of opening."""
        return tuple(
            OpenedPartEvent(
                part=event.arguments["part"],
                salt=event.arguments["salt"].hex(),
                part_digest=event.arguments["partDigest"].hex(),
                part_cid=event.arguments["partCid"],
            )
            for event in self.events("PartOpened", from_block=from_block, where={"taskId": task_id})
        )

    def checkpoint_blocks(self, task_id: int, *, from_block: int) -> dict[int, int]:
        """Number of the block in which each checkpoint was committed, by the checkpoint's index."""
        events = self.events("CheckpointCommitted", from_block=from_block, where={"taskId": task_id})
        return {event.arguments["index"]: event.log.block for event in events}

    # --- writes -------------------------------------------------------------------------

    def open_task(self, terms: ChainTerms) -> Call:
        """Only the timelock can send it: put it into a proposal."""
        return self._call(
            "openTask", terms.to_abi(), description=f"open the task {terms.task_digest}"
        )

    def post_bond(self, task_id: int) -> Call:
        return self._call("postBond", task_id, description=f"post the bond of task {task_id}")

    def post_part_bond(self, task_id: int, part: int) -> Call:
        return self._call(
            "postPartBond",
            task_id,
            part,
            description=f"post the bond of part {part} of task {task_id}",
        )

    def join(self, task_id: int, allow_proof: Sequence[str] = ()) -> Call:
        return self._call(
            "join", task_id, proof_bytes(allow_proof), description=f"join task {task_id}"
        )

    def leave(self, task_id: int) -> Call:
        return self._call("leave", task_id, description=f"leave task {task_id}")

    def start(self, task_id: int) -> Call:
        return self._call("start", task_id, description=f"start task {task_id}")

    def commit_checkpoint(
        self, task_id: int, checkpoint: ChainCheckpoint, *, signers: int, signature: bytes
    ) -> Call:
        """Bit i of `signers` is place i in the roster; the signature is G2, 256 bytes. The keys of the
        absent, which the call carries, are read from the chain."""
        return self._call(
            "commitCheckpoint",
            task_id,
            checkpoint.to_abi(),
            signers,
            self._absent_keys(task_id, signers),
            signature,
            description=f"commit rounds {checkpoint.first_round} to {checkpoint.last_round} "
            f"of task {task_id}",
        )

    def open_part(
        self, task_id: int, part: int, *, salt: str, part_digest: str, part_cid: str
    ) -> Call:
        return self._call(
            "openPart",
            task_id,
            part,
            bytes.fromhex(salt),
            bytes.fromhex(part_digest),
            part_cid,
            description=f"open part {part} of task {task_id}",
        )

    def close(self, task_id: int, report: FinalReport, *, signers: int, signature: bytes) -> Call:
        return self._call(
            "close",
            task_id,
            report.to_abi(),
            signers,
            self._absent_keys(task_id, signers),
            signature,
            description=f"commit the result of task {task_id}",
        )

    def _absent_keys(self, task_id: int, signers: int) -> bytes:
        """Keys of the roster's members whose bits are not set, 128 bytes each."""
        keys = self.roster_keys(task_id)
        return b"".join(key for place, key in enumerate(keys) if not signers >> place & 1)

    def challenge(self, task_id: int, *, evidence_digest: str, evidence_cid: str) -> Call:
        """Takes the challenge bond; approve it before."""
        return self._call(
            "challenge",
            task_id,
            bytes.fromhex(evidence_digest),
            evidence_cid,
            description=f"challenge task {task_id}",
        )

    def resolve(self, task_id: int, *, upheld: bool) -> Call:
        """Only the timelock can send it: put it into a proposal."""
        verdict = "uphold" if upheld else "reject"
        return self._call(
            "resolve", task_id, upheld, description=f"{verdict} the challenge of task {task_id}"
        )

    def prove_equivocation(
        self,
        task_id: int,
        *,
        round: int,
        digest_a: str,
        signature_a: bytes,
        digest_b: str,
        signature_b: bytes,
    ) -> Call:
        """Two digests that the coordinator signed (65 bytes each) for one round."""
        return self._call(
            "proveEquivocation",
            task_id,
            round,
            bytes.fromhex(digest_a),
            signature_a,
            bytes.fromhex(digest_b),
            signature_b,
            description=f"prove two records for round {round} of task {task_id}",
        )

    def abort(self, task_id: int) -> Call:
        return self._call("abort", task_id, description=f"abort task {task_id}")

    def finalise(self, task_id: int) -> Call:
        return self._call("finalise", task_id, description=f"finalise task {task_id}")

    def withdraw_owed(self, task_id: int) -> Call:
        return self._call("withdrawOwed", task_id, description=f"withdraw what task {task_id} owes")
