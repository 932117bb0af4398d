# SPDX-License-Identifier: Apache-2.0
"""People, terms and a small task on a deployed DAO, for tests on a real chain."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from dao import bls
from dao.chain import Call, Outcome
from dao.cid import cid_of, of_digest
from dao.contracts.governor import Support
from dao.contracts.task_types import ChainCheckpoint, ChainTerms, FinalReport
from dao.deployment import Contracts
from dao.governance import execute, list_proposals, propose, propose_task, queue, vote
from dao.records import BlobRef, Task
from demo.devnet import Devnet, dev_account

COVAL = 10**18
FOUNDERS = (0, 1, 2)
COORDINATOR, HOLDER_A, HOLDER_B, GUARDIAN, STRANGER, DEPLOYER = 3, 4, 5, 6, 7, 9
CONTRIBUTORS = (10, 11, 12, 13)
STAKE, BOND, PART_BOND, CHALLENGE_BOND, BUDGET = (
    amount * COVAL for amount in (50, 500, 20, 30, 1000)
)


def address(index: int) -> str:
    """Account `index` of the devnet, lower case as in the records."""
    return str(dev_account(index).address).lower()


DEPLOY_FILE = f"""
[[founders]]
address = "{address(0)}"
amount = "500000"
[[founders]]
address = "{address(1)}"
amount = "300000"
[[founders]]
address = "{address(2)}"
amount = "200000"
[token]
yearly_cap = "100000"
[governance]
voting_delay_seconds = 60
voting_period_seconds = 600
late_quorum_extension_seconds = 60
timelock_delay_seconds = 300
proposal_threshold = "100"
quorum_percent = 10
[contributors]
min_stake = "10"
exit_cooldown_seconds = 7200
[tasks]
challenge_window_seconds = 3600
challenge_timeout_seconds = 7200
[models]
guardian = "{address(GUARDIAN)}"
[revenue]
asset = "dev-stablecoin"
treasury = "timelock"
treasury_bps = 500
coordinator_bps = 1000
"""


def send(dao: Contracts, index: int, call: Call) -> Outcome:
    """Send from account `index` of the devnet."""
    return dao.chain.send(call, dev_account(index))


def pass_vote(devnet: Devnet, dao: Contracts, calls: Sequence[Call], text: str = "do it") -> None:
    """Propose, vote, queue and execute."""
    run_vote(devnet, dao, propose(dao, calls, text))


def run_vote(devnet: Devnet, dao: Contracts, proposing: Call) -> None:
    """Send a proposal and carry it to its execution."""
    send(dao, FOUNDERS[0], proposing)
    carry_vote(devnet, dao)


def carry_vote(devnet: Devnet, dao: Contracts) -> None:
    """Carry the newest proposal to its execution with the first founder's votes."""
    proposal = list_proposals(dao)[-1]
    devnet.advance(61)
    send(dao, FOUNDERS[0], vote(dao, proposal, Support.FOR))
    devnet.advance_to(dao.governor.vote_end(proposal.id) + 1)
    send(dao, FOUNDERS[1], queue(dao, proposal))
    devnet.advance_to(dao.governor.executable_at(proposal.id) + 1)
    send(dao, FOUNDERS[2], execute(dao, proposal))


# --- a task -------------------------------------------------------------------------------------

PART_DATA = (b"sealed rows of A", b"sealed rows of B")
PART_SALTS = (hashlib.sha256(b"salt a").hexdigest(), hashlib.sha256(b"salt b").hexdigest())


def commitment(part: int) -> str:
    """SHA-256 of "covalue.part.v1", the salt and the digest of the part's bytes."""
    digest = hashlib.sha256(PART_DATA[part]).digest()
    data = b"covalue.part.v1" + bytes.fromhex(PART_SALTS[part]) + digest
    return hashlib.sha256(data).hexdigest()


def blob(data: bytes) -> BlobRef:
    return BlobRef(cid=cid_of(data), sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def small_task(*, title: str = "Homes of a town", allow_root: str = "0x") -> Task:
    """A task record of five rounds in checkpoints of two, with two sealed parts."""
    return Task.model_validate(
        {
            "kind": "covalue.task/1",
            "title": title,
            "asset_class": "homes",
            "target": {
                "column": "price",
                "currency": "EUR",
                "scale": "log",
                "lower_micro": 10_000 * 10**6,
                "upper_micro": 10**7 * 10**6,
                "center_micro": 12_000_000,
                "spread_micro": 500_000,
            },
            "features": [
                {
                    "kind": "number",
                    "column": "area",
                    "scale": "log",
                    "lower_micro": 10**6,
                    "upper_micro": 10**9,
                    "center_micro": 4_000_000,
                    "spread_micro": 400_000,
                    "missing": "refuse",
                }
            ],
            "unit": {"kind": "row", "column": None, "max_rows": 1},
            "policy": {
                "mechanism": "gaussian-full-batch",
                "clip_norm_nano": 10**9,
                "noise_multiplier_micro": 2 * 10**6,
                "rounds": 5,
                "sampling": None,
                "survey_noise_micro": 0,
                "calibration_noise_micro": 0,
                "delta_e12": 10**7,
                "epsilon_micro": 8 * 10**6,
                "public_n": 10_000,
            },
            "model": {
                "family": "mlp",
                "parameters": 10,
                "hidden": [4],
                "update_grid_bits": 20,
                "model_grid_bits": 40,
                "setup": blob(b"setup"),
                "initial": blob(b"initial"),
                "huber_micro": 0,
            },
            "optimiser": {
                "kind": "adam",
                "eta_micro": [1000] * 5,
                "beta1_micro": 900_000,
                "beta2_micro": 999_000,
                "stabiliser_nano": 10,
            },
            "aggregation": {
                "rule": "sum",
                "survey_cells": 0,
                "tolerated": 0,
                "max_units": 4000,
                "median_norm_factor_micro": 24 * 10**6,
                "copy_correlation_micro": 500_000,
                "judge_rounds": [3],
                "judge_noise_factor_micro": 10**6,
                "noise_players": 8,
            },
            "calibration": None,
            "public_rows": None,
            "parts": [
                {"holder": address(HOLDER_A), "commitment": commitment(0)},
                {"holder": address(HOLDER_B), "commitment": commitment(1)},
            ],
            "terms": {
                "coordinator": address(COORDINATOR),
                "coordinator_bond_wei": BOND,
                "budget_wei": BUDGET,
                "stake_wei": STAKE,
                "part_bond_wei": PART_BOND,
                "challenge_bond_wei": CHALLENGE_BOND,
                "min_contributors": 3,
                "max_contributors": 10,
                "quorum_bps": 6667,
                "checkpoint_length": 2,
                "join_seconds": 3600,
                "deadline_seconds": 86_400,
                "reveal_seconds": 1800,
                "challenge_seconds": 3600,
                "allow_root": allow_root,
                "answer_grid_millis": 0,
            },
            "bundle_sha256": "ab" * 32,
            "licence": "CC-BY-4.0",
        }
    )


@dataclass
class Job:
    """A task on chain and its people: four registered contributors with BLS keys."""

    devnet: Devnet
    dao: Contracts
    task: Task
    task_id: int = 0
    secrets: dict[int, bytes] = field(default_factory=dict)

    def send(self, index: int, call: Call) -> Outcome:
        return send(self.dao, index, call)

    def open(self) -> None:
        """The vote opens the task."""
        proposing = propose_task(self.dao, self.task, of_digest(self.task.digest()))
        run_vote(self.devnet, self.dao, proposing)
        self.task_id = self.dao.ledger.task_id_of(self.task.digest())

    def fund(self, index: int, amount_wei: int, spender: str) -> None:
        """COVAL from a founder, approved for a contract."""
        self.send(FOUNDERS[0], self.dao.token.transfer(address(index), amount_wei))
        self.send(index, self.dao.token.approve(spender, amount_wei))

    def register(self, index: int) -> None:

        secret = (index * 7919).to_bytes(32, "big")
        key = bls.to_eip2537_g1(bls.public_key(secret))
        message = self.dao.registry.pop_message(address(index), key)
        proof = bls.to_eip2537_g2(bls.prove_possession(secret, message))
        self.fund(index, 2 * STAKE, self.dao.registry.address)
        self.send(
            index,
            self.dao.registry.register(
                bls_public_key=key,
                proof_of_possession=proof,
                super_node_key_hash=bytes(32),
                stake_wei=2 * STAKE,
            ),
        )
        self.secrets[index] = secret

    def post_bonds(self) -> None:
        ledger = self.dao.ledger
        self.fund(COORDINATOR, BOND, ledger.address)
        self.send(COORDINATOR, ledger.post_bond(self.task_id))
        for part, holder in enumerate((HOLDER_A, HOLDER_B)):
            self.fund(holder, PART_BOND, ledger.address)
            self.send(holder, ledger.post_part_bond(self.task_id, part))

    def start(self) -> None:
        """Open, register, join, bond, start: the task is running."""
        self.open()
        for index in CONTRIBUTORS:
            self.register(index)
            self.send(index, self.dao.ledger.join(self.task_id))
        self.post_bonds()
        self.send(COORDINATOR, self.dao.ledger.start(self.task_id))

    def sign(self, message: bytes, signers: Sequence[int]) -> tuple[int, bytes]:
        """Bitmap and aggregate signature of some contributors."""

        roster = self.dao.ledger.roster_of(self.task_id)
        bits = sum(1 << roster.index(address(index)) for index in signers)
        parts = [bls.sign(self.secrets[index], message) for index in signers]
        return bits, bls.to_eip2537_g2(bls.aggregate(parts))

    def checkpoint(self, index: int, first: int, last: int) -> ChainCheckpoint:
        return ChainCheckpoint(
            index=index,
            first_round=first,
            last_round=last,
            records_root=hashlib.sha256(f"records {index}".encode()).hexdigest(),
            model_digest=hashlib.sha256(f"model {index}".encode()).hexdigest(),
        )

    def commit(self, checkpoint: ChainCheckpoint, signers: Sequence[int] = CONTRIBUTORS) -> Outcome:
        message = self.dao.ledger.checkpoint_message(self.task_id, checkpoint)
        bits, signature = self.sign(message, signers)
        call = self.dao.ledger.commit_checkpoint(
            self.task_id, checkpoint, signers=bits, signature=signature
        )
        return self.send(STRANGER, call)

    def train(self) -> None:
        """Commit all three checkpoints."""
        for index, (first, last) in enumerate(((1, 2), (3, 4), (5, 5))):
            self.commit(self.checkpoint(index, first, last))

    def open_parts(self) -> None:
        for part, holder in enumerate((HOLDER_A, HOLDER_B)):
            self.send(holder, self.open_part_call(part))

    def open_part_call(self, part: int) -> Call:
        return self.dao.ledger.open_part(
            self.task_id,
            part,
            salt=PART_SALTS[part],
            part_digest=hashlib.sha256(PART_DATA[part]).hexdigest(),
            part_cid=cid_of(PART_DATA[part]),
        )

    def close(self, report: FinalReport, signers: Sequence[int] = CONTRIBUTORS) -> Outcome:
        message = self.dao.ledger.final_message(self.task_id, report)
        bits, signature = self.sign(message, signers)
        call = self.dao.ledger.close(self.task_id, report, signers=bits, signature=signature)
        return self.send(STRANGER, call)

    def terms(self) -> ChainTerms:
        return self.dao.ledger.terms_of(self.task_id)
