# SPDX-License-Identifier: Apache-2.0
"""A small task with contributors who answer: the world that the tests of `rounds` play in.

The family is a plain torch module on given inputs (`plain_family`). Signatures are keyed hashes:
`rounds` takes the verification as a function, and the BLS backends have tests of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from dao.cid import blob_ref
from dao.records import (
    AdamOptimiser,
    Aggregation,
    BlobRef,
    Calibration,
    ModelSpec,
    NewtonOptimiser,
    NumberFeature,
    Position,
    PrivacyPolicy,
    PrivacyUnit,
    Receipt,
    ReceiptBody,
    RoundRecord,
    SeedBlock,
    SignedRoundRecord,
    Target,
    Task,
    Terms,
)
from privacy.accounting import plan_noise, policy_epsilon_micro
from privacy.engine import clipped_sum
from privacy.mechanism import clip_norm, least_grid_bits, noise_deviation, private_update
from privacy.noise import SeededNoise
from rounds.close import Closed, CloseInput, close_round
from rounds.exclusion import Answer, RosterMember
from rounds.history import History
from rounds.phases import event_of, kind_of, release_of
from rounds.replay import ReplayInput, ReplayPoint, replay_stretch
from rounds.rules import steps_of
from rounds.state import initial_state, theta_of
from rounds.step import Steps
from tests.unit.rounds.plain_family import PlainFamily
from valuation.family import JudgeRows

DELTA_E12 = 10_000_000
BLOCK = SeedBlock(number=7, hash="5eed" * 16)
"""What random draws of scores follow from."""


def make_task(
    *,
    parameters: int,
    rounds: int = 6,
    optimiser: str = "newton",
    epsilon: float = 8.0,
    clip: float = 1.0,
    public_n: int = 400,
    judge_rounds: tuple[int, ...] = (),
    initial: bytes | None = None,
    survey_cells: int = 0,
    calibration: Calibration | None = None,
    **aggregation: int,
) -> Task:
    noise = plan_noise(
        epsilon,
        delta_e12=DELTA_E12,
        rounds=rounds,
        sampling=None,
        survey=survey_cells > 0,
        calibrate=calibration is not None,
    )
    policy = PrivacyPolicy(
        mechanism="gaussian-full-batch",
        clip_norm_nano=round(clip * 1e9),
        noise_multiplier_micro=noise.noise_multiplier_micro,
        rounds=rounds,
        sampling=None,
        survey_noise_micro=noise.survey_noise_micro,
        calibration_noise_micro=noise.calibration_noise_micro,
        delta_e12=DELTA_E12,
        epsilon_micro=1,
        public_n=public_n,
    )
    policy = policy.model_copy(update={"epsilon_micro": policy_epsilon_micro(policy)})
    etas = tuple(min(10**6, round(1.5e6 / (t + 5))) for t in range(rounds))
    steps = (
        NewtonOptimiser(kind="newton", eta_micro=etas)
        if optimiser == "newton"
        else AdamOptimiser(
            kind="adam",
            eta_micro=(50_000,) * rounds,
            beta1_micro=900_000,
            beta2_micro=990_000,
            stabiliser_nano=1000,
        )
    )
    setup = blob_ref(b"set-up")
    account = "0x" + "c0" * 20
    return Task(
        kind="covalue.task/1",
        title="A small task",
        asset_class="houses",
        target=Target(
            column="price",
            currency="USD",
            scale="log",
            lower_micro=10**9,
            upper_micro=10**12,
            center_micro=12 * 10**6,
            spread_micro=10**6,
        ),
        features=(
            NumberFeature(
                kind="number",
                column="rooms",
                scale="linear",
                lower_micro=0,
                upper_micro=10**7,
                center_micro=0,
                spread_micro=10**6,
                missing="refuse",
            ),
        ),
        unit=PrivacyUnit(kind="row", column=None, max_rows=1),
        policy=policy,
        model=ModelSpec(
            family="kernel" if optimiser == "newton" else "mlp",
            parameters=parameters,
            hidden=() if optimiser == "newton" else (4,),
            update_grid_bits=least_grid_bits(noise_deviation(policy)),
            model_grid_bits=40,
            setup=setup,
            initial=blob_ref(initial or b""),
            huber_micro=1_000_000,
        ),
        optimiser=steps,
        aggregation=Aggregation(
            rule="nnm-trimmed-mean" if "tolerated" in aggregation else "sum",
            survey_cells=survey_cells,
            tolerated=aggregation.get("tolerated", 0),
            max_units=aggregation.get("max_units", 1000),
            median_norm_factor_micro=aggregation.get("median_norm_factor_micro", 10**15),
            copy_correlation_micro=aggregation.get("copy_correlation_micro", 900_000),
            judge_rounds=judge_rounds,
            judge_noise_factor_micro=aggregation.get("judge_noise_factor_micro", 3_000_000),
            noise_players=aggregation.get("noise_players", 8),
        ),
        calibration=calibration,
        public_rows=None,
        parts=(),
        terms=Terms(
            coordinator=account,
            coordinator_bond_wei=0,
            budget_wei=10**21,
            stake_wei=0,
            part_bond_wei=0,
            challenge_bond_wei=0,
            min_contributors=2 * aggregation.get("tolerated", 0) + 1,
            max_contributors=100,
            quorum_bps=6667,
            checkpoint_length=3,
            join_seconds=1,
            deadline_seconds=1,
            reveal_seconds=1,
            challenge_seconds=1,
            allow_root="0x" + "00" * 32,
            answer_grid_millis=0,
        ),
        bundle_sha256="00" * 32,
        licence="CC0-1.0",
    )


def sign(key: bytes, message: bytes) -> bytes:
    return hashlib.sha512(key + message).digest() + hashlib.sha256(message + key).digest()


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    return sign(key, message) == signature


@dataclass
class World:
    """A task under way: contributors' rows, what was recorded, where it stands."""

    task: Task
    family: PlainFamily
    roster: tuple[RosterMember, ...]
    rows: dict[str, tuple[np.ndarray, np.ndarray]]
    base: BlobRef
    state: bytes
    history: History
    previous: str
    seed: str = "world"
    records: list[RoundRecord] = field(default_factory=list)
    states: list[bytes] = field(default_factory=list)
    updates: list[dict[str, bytes]] = field(default_factory=list)
    content: dict[str, bytes] = field(default_factory=dict)
    answer_hook: Callable[[int, dict[str, Answer]], dict[str, Answer]] | None = None

    @property
    def addresses(self) -> list[str]:
        return [member.address for member in self.roster]

    def steps(self) -> Steps:
        """How the task's updates move its model, after the surveys that were counted."""
        return steps_of(self.task, self.family, self.addresses, self.history.surveys)

    def position(self, number: int) -> Position:
        return Position(
            chain_id=31337,
            ledger="0x" + "1e" * 20,
            task_id=1,
            task_digest=self.task.digest(),
            round=number,
        )

    def update_of(self, address: str, number: int) -> bytes:
        """What an honest contributor sends."""
        inputs, targets = self.rows[address]
        policy, release = self.task.policy, release_of(self.task, number)
        noise = SeededNoise(f"{self.seed} {address} {number}".encode())
        if kind_of(self.task, number) != "train":
            cells = np.arange(len(targets)) % release.length
            counts = np.bincount(cells, minlength=release.length).astype(np.float64)
            return private_update(counts, release, noise=noise)
        total = clipped_sum(
            self.family.module(theta_of(self.task, self.state)),
            inputs,
            targets,
            np.arange(len(targets)),
            clip_norm=clip_norm(policy),
            max_rows=1,
            huber=1.0,
        )
        return private_update(total, release, noise=noise)

    def answer(self, address: str, number: int, sent: bytes, **body: object) -> Answer:
        """A signed answer; `body` replaces fields of the receipt's body before signing."""
        fields = {
            "kind": "covalue.receipt/1",
            "position": self.position(number),
            "contributor": address,
            "base_model_sha256": self.base.sha256,
            "update": blob_ref(sent),
            "event": event_of(self.task, number, seeded=False),
        } | body
        statement = ReceiptBody.model_validate(fields)
        key = next(each.bls_public_key for each in self.roster if each.address == address)
        signature = sign(key, statement.signing_digest())
        return Answer(Receipt(body=statement, signature="0x" + signature.hex()), sent)

    def honest_answers(self, number: int) -> dict[str, Answer]:
        return {
            address: self.answer(address, number, self.update_of(address, number))
            for address in self.addresses
        }

    def close_input(self, answers: dict[str, Answer], number: int) -> CloseInput:
        return CloseInput(
            task=self.task,
            position=self.position(number),
            roster=self.roster,
            base_model=self.base,
            base_state=self.state,
            previous_record=self.previous,
            answers=answers,
            history=self.history,
            family=self.family,
            verify=verify,
            ref=blob_ref,
        )

    def close(self, answers: dict[str, Answer] | None = None, **changes: object) -> Closed:
        """Close the next round without moving on."""
        number = self.history.round_number + 1
        if answers is None:
            answers = self.honest_answers(number)
            if self.answer_hook is not None:
                answers = self.answer_hook(number, answers)
        self._answers = answers
        return close_round(replace(self.close_input(answers, number), **changes))

    def play(self, rounds: int = 1) -> World:
        """Close rounds and move on."""
        for _ in range(rounds):
            closed = self.close()
            for each in self._answers.values():
                if each.update is not None:
                    self.content[hashlib.sha256(each.update).hexdigest()] = each.update
            self.updates.append(
                {a: each.update for a, each in self._answers.items() if each.update is not None}
            )
            self.states.append(self.state)
            self.records.append(closed.record)
            self.base, self.state = closed.record.model, closed.model
            self.content[self.base.sha256] = closed.model
            self.history, self.previous = closed.history, closed.record.digest()
        return self

    def signed(self) -> list[SignedRoundRecord]:
        return [SignedRoundRecord(record=record, signature="0x00") for record in self.records]

    def replay_input(self, **changes: object) -> ReplayInput:
        """What whoever replays the task holds; the coordinator's signature is 0x00."""
        plain = ReplayInput(
            task=self.task,
            place=self.position(0),
            roster=self.roster,
            family=self.family,
            content=self.content,
            verify=verify,
            ref=blob_ref,
            coordinator_signed=lambda signed: signed.signature == "0x00",
        )
        return replace(plain, **changes)

    def first_point(self) -> ReplayPoint:
        """Before the first round."""
        return ReplayPoint.start(self.task, self.roster, initial_state=self.states[0])

    def replayed(self, records: list[RoundRecord] | None = None) -> ReplayPoint:
        """Where these records lead, its own by default. ReplayMismatch where they are wrong."""
        signed = [
            SignedRoundRecord(record=each, signature="0x00") for each in records or self.records
        ]
        return replay_stretch(self.replay_input(), self.first_point(), signed)


def make_world(
    *,
    contributors: int = 4,
    width: int = 24,
    rows: int = 120,
    hidden: int = 0,
    seed: int = 0,
    judged: bool = True,
    **task: object,
) -> World:
    """Rows y = x.w + noise, the same w for all; contributors' inputs lie apart."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=width) / np.sqrt(width)

    def draw(count: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
        inputs = rng.normal(size=(count, width)) + shift * rng.normal(size=width)
        return inputs, inputs @ truth + 0.3 * rng.normal(size=count)

    judge = None
    if judged:
        inputs, residual = draw(60, 0.0)
        judge = JudgeRows(inputs, np.zeros(60), residual)
    family = PlainFamily(width=width, judge=judge, hidden=hidden)
    names = [f"0x{index + 1:040x}" for index in range(contributors)]
    theta = np.zeros(family.parameters)
    if hidden:
        theta = rng.normal(size=family.parameters) * 0.3
    optimiser = "adam" if hidden else "newton"
    draft = make_task(parameters=family.parameters, optimiser=optimiser, **task)
    state = initial_state(draft, theta)
    task_record = make_task(
        parameters=family.parameters, optimiser=optimiser, initial=state, **task
    )
    roster = tuple(RosterMember(name, name[2:].encode().ljust(48, b"k")) for name in names)
    return World(
        task=task_record,
        family=family,
        roster=roster,
        rows={name: draw(rows, 0.5) for name in names},
        base=task_record.model.initial,
        state=state,
        history=History.start(task_record, tuple(names)),
        previous=task_record.digest(),
        seed=f"world {seed}",
        content={task_record.model.initial.sha256: state},
    )
