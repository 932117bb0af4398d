# SPDX-License-Identifier: Apache-2.0
"""A small released model in a store, and a chain that says what it is told to say.

The model is the mlp family without hidden layers: a linear function whose value can be worked
out by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from dao.chain import Block
from dao.contracts.model_registry import Release, ReleaseStatus
from dao.errors import ChainError
from dao.records import (
    AdamOptimiser,
    Aggregation,
    BlobRef,
    CategoryFeature,
    ContributorResult,
    DateFeature,
    LocationFeature,
    ModelCard,
    ModelSpec,
    NumberFeature,
    PrivacyPolicy,
    PrivacyUnit,
    ScoreReport,
    Target,
    Task,
    Terms,
)
from dao.store import MemoryStore
from inference.provider import TaskDigests
from valuation.mlp import BARE_FREQUENCIES_PER_BANDWIDTH, OUTPUT_SCALE
from valuation.ratio_study import ratio_studies

REGISTRY = "0x" + "11" * 20
LEDGER = "0x" + "22" * 20
MEMBERS = tuple("0x" + f"{index:02x}" * 20 for index in (0xA1, 0xA2, 0xA3))
CHAIN_ID = 31337
GRID_BITS = 40
# log(area), rooms, rooms is missing, apartment, detached, date; then 16 waves of location
WAVES = BARE_FREQUENCIES_PER_BANDWIDTH
WEIGHTS = (0.8, 0.1, -0.05, -0.3, 0.4, 0.15)
BIAS = 0.25
HALF_WIDTH_MICRO = 200_000
_PRICES = np.linspace(100_000.0, 900_000.0, 200)

ROW: dict[str, Any] = {
    "living_area_m2": 120.5,
    "rooms": 4,
    "property_type": "detached",
    "latitude": 48.1,
    "longitude": 9.5,
    "sale_date": "2022-01-01",
}


def _task(store: MemoryStore, setup: BlobRef, initial: BlobRef) -> Task:
    zero = "0x" + "00" * 32
    return Task(
        kind="covalue.task/1",
        title="Homes of a made-up region",
        asset_class="homes",
        target=Target(
            column="sale_price",
            currency="EUR",
            scale="log",
            lower_micro=20_000 * 10**6,
            upper_micro=4_000_000 * 10**6,
            center_micro=12_100_000,
            spread_micro=500_000,
        ),
        features=(
            NumberFeature(
                kind="number",
                column="living_area_m2",
                scale="log",
                lower_micro=10 * 10**6,
                upper_micro=1000 * 10**6,
                center_micro=4_600_000,
                spread_micro=400_000,
                missing="refuse",
            ),
            NumberFeature(
                kind="number",
                column="rooms",
                scale="linear",
                lower_micro=10**6,
                upper_micro=15 * 10**6,
                center_micro=4 * 10**6,
                spread_micro=1_500_000,
                missing="indicate",
            ),
            CategoryFeature(
                kind="category",
                column="property_type",
                values=("apartment", "detached"),
                other=False,
            ),
            LocationFeature(
                kind="location",
                latitude="latitude",
                longitude="longitude",
                south_micro=47 * 10**6,
                north_micro=49 * 10**6,
                west_micro=8 * 10**6,
                east_micro=11 * 10**6,
                center_latitude_micro=48 * 10**6,
                center_longitude_micro=9_500_000,
                scale_metres=50_000,
                bandwidths_metres=(10_000,),
            ),
            DateFeature(
                kind="date",
                column="sale_date",
                first="2019-01-01",
                last="2024-12-31",
                center_days_micro=1096 * 10**6,
                spread_days_micro=500 * 10**6,
            ),
        ),
        unit=PrivacyUnit(kind="row", column=None, max_rows=1),
        policy=PrivacyPolicy(
            mechanism="gaussian-full-batch",
            clip_norm_nano=10**9,
            noise_multiplier_micro=10**6,
            rounds=4,
            sampling=None,
            survey_noise_micro=0,
            calibration_noise_micro=0,
            delta_e12=10**7,
            epsilon_micro=8 * 10**6,
            public_n=1000,
        ),
        model=ModelSpec(
            family="mlp",
            parameters=len(WEIGHTS) + WAVES + 1,
            hidden=(),
            update_grid_bits=20,
            model_grid_bits=GRID_BITS,
            setup=setup,
            initial=initial,
            huber_micro=0,
        ),
        optimiser=AdamOptimiser(
            kind="adam",
            eta_micro=(10_000,) * 4,
            beta1_micro=900_000,
            beta2_micro=999_000,
            stabiliser_nano=1,
        ),
        aggregation=Aggregation(
            rule="sum",
            survey_cells=0,
            tolerated=0,
            max_units=1000,
            median_norm_factor_micro=24 * 10**6,
            copy_correlation_micro=500_000,
            judge_rounds=(4,),
            judge_noise_factor_micro=10**6,
            noise_players=3,
        ),
        calibration=None,
        public_rows=None,
        parts=(),
        terms=Terms(
            coordinator=MEMBERS[0],
            coordinator_bond_wei=0,
            budget_wei=10**18,
            stake_wei=0,
            part_bond_wei=0,
            challenge_bond_wei=0,
            min_contributors=1,
            max_contributors=8,
            quorum_bps=6667,
            checkpoint_length=4,
            join_seconds=60,
            deadline_seconds=3600,
            reveal_seconds=60,
            challenge_seconds=60,
            allow_root=zero,
            answer_grid_millis=0,
        ),
        bundle_sha256="ab" * 32,
        licence="CC-BY-4.0",
    )


def _card(task: Task, model: BlobRef) -> ModelCard:
    return ModelCard(
        kind="covalue.card/1",
        task_digest=task.digest(),
        title=task.title,
        asset_class=task.asset_class,
        target=task.target,
        family="mlp",
        model=model,
        rounds=4,
        epsilon_micro=8 * 10**6,
        delta_e12=10**7,
        contributors=len(MEMBERS),
        rows_judged=200,
        studies=ratio_studies(_PRICES, 1.02 * _PRICES + 3_000.0, None),
        interval_level_micro=900_000,
        stretch_center_micro=0,
        stretch_slope_micro=1_000_000,
        calibrated=None,
        interval_halfwidth_micro=HALF_WIDTH_MICRO,
        licence=task.licence,
    )


def model_bytes(bias: float = BIAS) -> bytes:
    """State of the linear model: theta, and Adam's two moments at zero. The family multiplies its
    network's output by a constant, which is taken out here."""
    parameters = np.array([*WEIGHTS, *[0.0] * WAVES, bias]) / OUTPUT_SCALE
    integers = np.rint(parameters * 2.0**GRID_BITS).astype("<i8")
    return integers.tobytes() + bytes(2 * integers.nbytes)


@dataclass
class FakeChain:
    """A ReleaseSource of which the tests set every answer; `reads` counts questions."""

    release: Release
    task_digest: str
    score_digest: str
    block: int = 100
    down: bool = False
    reads: int = 0
    chain_id: int = CHAIN_ID
    registry_address: str = REGISTRY
    ledger_address: str = LEDGER

    def current(self) -> tuple[Block, Release]:
        self.reads += 1
        if self.down:
            raise ChainError("http://127.0.0.1:1 does not answer")
        header = Block(self.block, 1_700_000_000 + self.block, base_fee_wei=0, gas_limit=0)
        return header, self.release

    def digests(self, task_id: int, *, block: int) -> TaskDigests:
        assert block == self.block
        assert task_id == self.release.task_id
        return TaskDigests(task_digest=self.task_digest, score_digest=self.score_digest)

    def set_status(self, status: ReleaseStatus) -> None:
        self.block += 1
        self.release = replace(self.release, status=status)


@dataclass
class World:
    """Store, chain and the records that lead from one to the other."""

    store: MemoryStore
    chain: FakeChain
    task: Task
    report: ScoreReport
    blobs: dict[str, BlobRef] = field(default_factory=dict)

    def release_again(self, number: int, model: bytes) -> None:
        """A further release of the same task's schema, with another model."""
        ref = self.store.put(model)
        card = self.report.card.model_copy(update={"model": ref})
        self.report = self.report.model_copy(update={"model": ref, "card": card})
        self.chain.score_digest = self.store.put(self.report.canonical()).sha256
        self.chain.block += 1
        self.chain.release = replace(self.chain.release, number=number, model_digest=ref.sha256)


@pytest.fixture(name="world")
def released_world() -> World:
    """One release, standing, with all of its content in the store."""
    store = MemoryStore()
    setup = store.put(save({"frequencies": np.zeros((2, WAVES)), "phases": np.zeros(WAVES)}))
    model = store.put(model_bytes())
    task = _task(store, setup, model)
    task_ref = store.put(task.canonical())
    zero = "0x" + "00" * 32
    report = ScoreReport(
        kind="covalue.scores/2",
        chain_id=CHAIN_ID,
        ledger=LEDGER,
        task_id=3,
        task_digest=task.digest(),
        model=model,
        judged_on="sealed-rows",
        parts=(),
        stretches=(),
        results=tuple(
            ContributorResult(
                contributor=member,
                score_pico=10,
                standard_error_pico=0,
                threshold_pico=0,
                payout_wei=10,
                share_wad=10,
                epsilon_micro=8 * 10**6,
                rounds_answered=4,
            )
            for member in MEMBERS
        ),
        payout_total_wei=30,
        payout_root=zero,
        share_root=zero,
        card=_card(task, model),
    )
    report_ref = store.put(report.canonical())
    release = Release(
        number=1,
        task_id=3,
        model_digest=model.sha256,
        share_root=zero,
        epsilon_micro=8 * 10**6,
        released_at=1_700_000_000,
        status=ReleaseStatus.RELEASED,
    )
    chain = FakeChain(release, task_ref.sha256, report_ref.sha256)
    blobs = {"task": task_ref, "score report": report_ref, "set-up": setup, "model": model}
    return World(store=store, chain=chain, task=task, report=report, blobs=blobs)
