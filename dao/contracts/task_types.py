# SPDX-License-Identifier: Apache-2.0
"""Structs of the TaskLedger, with the names and spellings of `dao.records`: digests are 64 hex
digits, roots 0x and 64 hex digits, times Unix seconds of the chain, amounts wei of COVAL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self


class TaskState(IntEnum):
    """None -> Open -> Running -> Revealing -> Closed -> Finalised; Aborted from the middle four."""

    NONE = 0
    OPEN = 1
    RUNNING = 2
    REVEALING = 3
    CLOSED = 4
    FINALISED = 5
    ABORTED = 6


def _digest(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _root(value: bytes) -> str:
    return "0x" + value.hex()


@dataclass(frozen=True)
class ChainPart:
    """A sealed validation part: who holds it, and the commitment to it."""

    holder: str
    commitment: str


@dataclass(frozen=True)
class ChainTerms:
    """What `openTask` takes. The two deadlines are absolute; the windows are durations."""

    task_digest: str
    task_cid: str
    coordinator: str
    coordinator_bond_wei: int
    budget_wei: int
    stake_wei: int
    part_bond_wei: int
    rounds: int
    checkpoint_length: int
    min_contributors: int
    max_contributors: int
    quorum_bps: int
    join_deadline: int
    deadline: int
    reveal_window_seconds: int
    challenge_window_seconds: int
    challenge_bond_wei: int
    allow_root: str
    parts: tuple[ChainPart, ...]

    def to_abi(self) -> dict[str, Any]:
        return {
            "taskDigest": _digest(self.task_digest),
            "taskCid": self.task_cid,
            "coordinator": self.coordinator,
            "coordinatorBond": self.coordinator_bond_wei,
            "budget": self.budget_wei,
            "stake": self.stake_wei,
            "partBond": self.part_bond_wei,
            "rounds": self.rounds,
            "checkpointLength": self.checkpoint_length,
            "minContributors": self.min_contributors,
            "maxContributors": self.max_contributors,
            "quorumBps": self.quorum_bps,
            "joinDeadline": self.join_deadline,
            "deadline": self.deadline,
            "revealWindow": self.reveal_window_seconds,
            "challengeWindow": self.challenge_window_seconds,
            "challengeBond": self.challenge_bond_wei,
            "allowRoot": _digest(self.allow_root),
            "parts": [
                {"holder": part.holder, "commitment": _digest(part.commitment)}
                for part in self.parts
            ],
        }

    @classmethod
    def from_abi(cls, found: Mapping[str, Any]) -> Self:
        return cls(
            task_digest=found["taskDigest"].hex(),
            task_cid=found["taskCid"],
            coordinator=found["coordinator"],
            coordinator_bond_wei=found["coordinatorBond"],
            budget_wei=found["budget"],
            stake_wei=found["stake"],
            part_bond_wei=found["partBond"],
            rounds=found["rounds"],
            checkpoint_length=found["checkpointLength"],
            min_contributors=found["minContributors"],
            max_contributors=found["maxContributors"],
            quorum_bps=found["quorumBps"],
            join_deadline=found["joinDeadline"],
            deadline=found["deadline"],
            reveal_window_seconds=found["revealWindow"],
            challenge_window_seconds=found["challengeWindow"],
            challenge_bond_wei=found["challengeBond"],
            allow_root=_root(found["allowRoot"]),
            parts=tuple(
                ChainPart(holder=part["holder"], commitment=part["commitment"].hex())
                for part in found["parts"]
            ),
        )


@dataclass(frozen=True)
class ChainCheckpoint:
    """A committed stretch. `records_root` is the digest of the Checkpoint record."""

    index: int
    first_round: int
    last_round: int
    records_root: str
    model_digest: str

    def to_abi(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "firstRound": self.first_round,
            "lastRound": self.last_round,
            "recordsRoot": _digest(self.records_root),
            "modelDigest": _digest(self.model_digest),
        }

    @classmethod
    def from_abi(cls, found: Mapping[str, Any]) -> Self:
        return cls(
            index=found["index"],
            first_round=found["firstRound"],
            last_round=found["lastRound"],
            records_root=found["recordsRoot"].hex(),
            model_digest=found["modelDigest"].hex(),
        )


@dataclass(frozen=True)
class FinalReport:
    """The result of a task. `score_digest` is the digest of the ScoreReport record."""

    score_digest: str
    score_cid: str
    payout_root: str
    payout_total_wei: int
    share_root: str
    epsilon_micro: int

    def to_abi(self) -> dict[str, Any]:
        return {
            "scoreDigest": _digest(self.score_digest),
            "scoreCid": self.score_cid,
            "payoutRoot": _digest(self.payout_root),
            "payoutTotal": self.payout_total_wei,
            "shareRoot": _digest(self.share_root),
            "epsilonMicro": self.epsilon_micro,
        }

    @classmethod
    def from_abi(cls, found: Mapping[str, Any]) -> Self:
        return cls(
            score_digest=found["scoreDigest"].hex(),
            score_cid=found["scoreCid"],
            payout_root=_root(found["payoutRoot"]),
            payout_total_wei=found["payoutTotal"],
            share_root=_root(found["shareRoot"]),
            epsilon_micro=found["epsilonMicro"],
        )


@dataclass(frozen=True)
class ChainTask:
    """Where a task stands. Times that have not come are 0; `model_digest` is that of the last
    committed model."""

    state: TaskState
    task_digest: str
    coordinator: str
    rounds: int
    roster_size: int
    last_round: int
    checkpoint_count: int
    parts_opened: int
    bond_posted: bool
    challenged: bool
    opened_at: int
    started_at: int
    deadline: int
    reveal_deadline: int
    challenge_deadline: int
    ended_at: int
    model_digest: str

    @classmethod
    def from_abi(cls, found: Mapping[str, Any]) -> Self:
        return cls(
            state=TaskState(found["state"]),
            task_digest=found["taskDigest"].hex(),
            coordinator=found["coordinator"],
            rounds=found["rounds"],
            roster_size=found["rosterSize"],
            last_round=found["lastRound"],
            checkpoint_count=found["checkpointCount"],
            parts_opened=found["partsOpened"],
            bond_posted=found["bondPosted"],
            challenged=found["challenged"],
            opened_at=found["openedAt"],
            started_at=found["startedAt"],
            deadline=found["deadline"],
            reveal_deadline=found["revealDeadline"],
            challenge_deadline=found["challengeDeadline"],
            ended_at=found["endedAt"],
            model_digest=found["modelDigest"].hex(),
        )


@dataclass(frozen=True)
class PartStatus:
    """A sealed part and what became of it; digest and CID are empty until it is opened."""

    holder: str
    commitment: str
    bonded: bool
    opened: bool
    part_digest: str
    part_cid: str

    @classmethod
    def from_abi(cls, found: Mapping[str, Any]) -> Self:
        return cls(
            holder=found["holder"],
            commitment=found["commitment"].hex(),
            bonded=found["bonded"],
            opened=found["opened"],
            part_digest=found["partDigest"].hex() if found["opened"] else "",
            part_cid=found["partCid"],
        )


@dataclass(frozen=True)
class OpenedPartEvent:
    """What a holder published: the salt stands in the event only."""

    part: int
    salt: str
    part_digest: str
    part_cid: str


@dataclass(frozen=True)
class ChainChallenge:
    """An open challenge: who made it and when, and where its evidence lies."""

    challenger: str
    opened_at: int
    evidence_digest: str
    evidence_cid: str
