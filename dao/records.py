# SPDX-License-Identifier: Apache-2.0
"""Every type whose bytes are hashed, signed, stored or put on chain.

A record is frozen, refuses unknown fields and holds no floats: numbers are integers with
the unit in the name (`_micro` = 1e-6, `_nano` = 1e-9, `_wad` = 1e-18, `_wei` = 1e-18 token).
Integers that may pass 2**53 are decimal strings in JSON (RFC 8785 numbers are doubles).
The bytes of a record are its canonical JSON (RFC 8785); its digest is their SHA-256; since
records stay below one block (1 MiB), the CID follows from the digest (`dao.cid.of_digest`).
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from dao.canonical import (
    Address,
    Amount,
    BigInt,
    Cid,
    Count,
    Digest,
    Hex,
    IsoDate,
    Positive,
    Record,
    SafeInt,
    Text,
)


class BlobRef(Record):
    """Content in the store: CIDv1 (UnixFS, raw leaves), SHA-256 of the whole, bytes."""

    cid: Cid
    sha256: Digest
    size: Count


# --- the task -------------------------------------------------------------------------------


class Target(Record):
    """What is learned. Values are clipped to the public bounds, then `log` or `linear`,
    then standardised: z = (t - center) / spread, with center and spread on the t scale."""

    column: Text
    currency: Text
    scale: Literal["log", "linear"]
    lower_micro: BigInt
    upper_micro: BigInt
    center_micro: SafeInt
    spread_micro: Positive


class NumberFeature(Record):
    """A number within public bounds. Encoded z = clip((t(x) - center) / spread, -4, 4) where t is
    the identity, `log` (natural), or `log1p`. A missing value is refused, or (`indicate`)
    becomes z = 0 and a further 0/1 column."""

    kind: Literal["number"]
    column: Text
    scale: Literal["linear", "log", "log1p"]
    lower_micro: BigInt
    upper_micro: BigInt
    center_micro: SafeInt
    spread_micro: Positive
    missing: Literal["refuse", "indicate"]


class RatioFeature(Record):
    """Logarithm of the ratio of two positive number columns, standardised like a number.
    Missing where either is missing (then z = 0)."""

    kind: Literal["ratio"]
    numerator: Text
    denominator: Text
    center_micro: SafeInt
    spread_micro: Positive


class CategoryFeature(Record):
    """One 0/1 column per value; with `other`, unknown and missing values are one more, else
    they are refused."""

    kind: Literal["category"]
    column: Text
    values: tuple[Text, ...] = Field(min_length=1, max_length=1000)
    other: bool


class LocationFeature(Record):
    """Latitude and longitude in degrees (WGS 84), projected to metres around a public centre
    (equirectangular), divided by `scale_metres`. `bandwidths_metres` are for Fourier features."""

    kind: Literal["location"]
    latitude: Text
    longitude: Text
    south_micro: SafeInt
    north_micro: SafeInt
    west_micro: SafeInt
    east_micro: SafeInt
    center_latitude_micro: SafeInt
    center_longitude_micro: SafeInt
    scale_metres: Positive
    bandwidths_metres: tuple[Positive, ...] = Field(min_length=1, max_length=8)


class DateFeature(Record):
    """A day, ISO 8601 (YYYY-MM-DD), within public bounds; encoded as a standardised number of
    days since `first`."""

    kind: Literal["date"]
    column: Text
    first: IsoDate
    last: IsoDate
    center_days_micro: SafeInt
    spread_days_micro: Positive


Feature = Annotated[
    NumberFeature | RatioFeature | CategoryFeature | LocationFeature | DateFeature,
    Field(discriminator="kind"),
]


class PrivacyUnit(Record):
    """What one record means for privacy: a row, or all rows that share the value of `column`
    (a property, an owner); of one unit at most `max_rows` rows count (the first in file order)."""

    kind: Literal["row", "column"]
    column: Text | None
    max_rows: Positive


class Sampling(Record):
    """Poisson-sampled local steps: each of the `steps` of a round takes every unit with probability
    `rate_micro` and adds noise of its own, also where nothing was taken. Between two steps the
    contributor's own model moves by -eta * (noisy sum) / (rate * local_units), `local_units` being
    a public number; the update is the sum of the noisy sums."""

    rate_micro: Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
    steps: Annotated[int, Field(strict=True, ge=1, le=256)]
    eta_micro: Positive
    local_units: Positive


class PrivacyPolicy(Record):
    """What the releases of a task cost one unit.

    A training round releases the sum of per-unit gradients clipped to `clip_norm` plus
    N(0, (noise_multiplier * clip_norm)^2); with `sampling` the sum over its local steps. A survey
    and a calibration are histograms in which one unit counts at most 1, plus N(0, noise^2); 0 means
    that there is none. Calibration units take no part in training, so the two compose in parallel.
    `epsilon_micro` is what all of it costs at `delta_e12`, rounded up: by the exact Gaussian-DP
    formula, or with sampling by privacy loss distributions."""

    mechanism: Literal["gaussian-full-batch", "gaussian-poisson"]
    clip_norm_nano: Positive
    noise_multiplier_micro: Positive
    rounds: Annotated[int, Field(strict=True, ge=1, le=10_000)]
    """Training rounds; `Task.total_rounds` counts survey and calibration too."""
    sampling: Sampling | None
    survey_noise_micro: Count
    calibration_noise_micro: Count
    delta_e12: Positive
    epsilon_micro: Positive
    public_n: Positive


class ModelSpec(Record):
    """What is learned. `parameters` is the length d of the parameter vector. A model state is
    `state_vectors` vectors of d little-endian int64 on the grid 2**-model_grid_bits; an update
    is d little-endian int64 on the grid 2**-update_grid_bits."""

    family: Literal["kernel", "mlp"]
    parameters: Positive
    hidden: tuple[Positive, ...]
    update_grid_bits: Annotated[int, Field(strict=True, ge=-40, le=60)]
    model_grid_bits: Annotated[int, Field(strict=True, ge=8, le=60)]
    setup: BlobRef
    initial: BlobRef
    huber_micro: Count
    """Residuals beyond this (standardised target) have a linear loss; 0 = squared loss."""


class NewtonOptimiser(Record):
    """Diagonal Newton step with a ridge; `gain` and `ridge` are vectors of the setup blob:
    theta += eta_t * (-G / (N * gain) - ridge * theta) / (1 + ridge)."""

    kind: Literal["newton"]
    eta_micro: tuple[Positive, ...]


class AdamOptimiser(Record):
    """Adam on g = G / N with public constants; the state holds theta, m, v."""

    kind: Literal["adam"]
    eta_micro: tuple[Positive, ...]
    beta1_micro: Count
    beta2_micro: Count
    stabiliser_nano: Positive


Optimiser = Annotated[NewtonOptimiser | AdamOptimiser, Field(discriminator="kind")]


class Aggregation(Record):
    """How updates are added and who is left out.

    `max_units`: a public bound on the units one contributor brings; an update whose norm passes
    max_units * C + noise quantile is excluded. `copy_correlation_micro`: two updates of which the
    correlation passes this are copies; the later in roster order is excluded. `judge_rounds`: after
    which rounds the public rows judge; who scores below `judge_noise_factor_micro` times the worst
    simulated noise player is excluded from then on and its past displacement is taken back."""

    rule: Literal["sum"]
    survey_cells: Count
    """Cells of the histogram that a survey releases; 0 without one, and `sum` needs none."""
    max_units: Positive
    copy_correlation_micro: Positive
    judge_rounds: tuple[Positive, ...]
    judge_noise_factor_micro: Positive
    noise_players: Positive


class Calibration(Record):
    """How intervals are made. A share of every contributor's units is kept out of training; after
    the last training round each contributor releases a noisy histogram of their residuals, divided
    by the difficulty of each row: for every one of `groups` groups, len(edges_micro) + 1 bins, the
    first and the last open-ended. Edges rise strictly; residuals are on the standardised target."""

    share_micro: Annotated[int, Field(strict=True, ge=1, lt=1_000_000)]
    groups: Annotated[int, Field(strict=True, ge=1, le=256)]
    edges_micro: tuple[SafeInt, ...] = Field(min_length=1, max_length=256)
    level_micro: Annotated[int, Field(strict=True, ge=1, lt=1_000_000)]


class ValidationPart(Record):
    """A sealed part of the validation rows: commitment = SHA-256("covalue.part.v1" | salt | sha256
    of the part's bytes)."""

    holder: Address
    commitment: Digest


class Terms(Record):
    """Money and time. Durations are chain seconds counted from the opening of the task."""

    coordinator: Address
    coordinator_bond_wei: Amount
    budget_wei: Amount
    stake_wei: Amount
    part_bond_wei: Amount
    challenge_bond_wei: Amount
    min_contributors: Positive
    max_contributors: Annotated[int, Field(strict=True, ge=1, le=256)]
    quorum_bps: Annotated[int, Field(strict=True, ge=6667, le=10_000)]
    checkpoint_length: Positive
    join_seconds: Positive
    deadline_seconds: Positive
    reveal_seconds: Positive
    challenge_seconds: Positive
    allow_root: Hex
    answer_grid_millis: Count


class Task(Record):
    """One governed training job; the vote approves its digest. A run has no other knobs."""

    kind: Literal["covalue.task/1"]
    title: Text
    asset_class: Text
    target: Target
    features: tuple[Feature, ...] = Field(min_length=1, max_length=500)
    unit: PrivacyUnit
    policy: PrivacyPolicy
    model: ModelSpec
    optimiser: Optimiser
    aggregation: Aggregation
    calibration: Calibration | None
    public_rows: BlobRef | None
    parts: tuple[ValidationPart, ...]
    terms: Terms
    bundle_sha256: Digest
    licence: Text

    @property
    def total_rounds(self) -> int:
        """Rounds in all: survey (if any), training, calibration (if any)."""
        policy = self.policy
        return policy.rounds + sum(
            noise > 0 for noise in (policy.survey_noise_micro, policy.calibration_noise_micro)
        )


# --- the round ------------------------------------------------------------------------------


class Position(Record):
    """Where a statement belongs: a signature is good for one chain, contract, task and round."""

    chain_id: Count
    ledger: Address
    task_id: Positive
    task_digest: Digest
    round: Count


class DpEvent(Record):
    """What one update cost, apart from how it is accounted. `clip_norm` is how far one unit can
    move it (in a histogram 1), the noise's deviation is `noise_multiplier * clip_norm`; with
    `sampling` both are of one of its local steps."""

    mechanism: Literal["gaussian-full-batch", "gaussian-poisson", "gaussian-histogram"]
    clip_norm_nano: Positive
    noise_multiplier_micro: Positive
    sampling: Sampling | None
    seeded: bool
    """True where the noise came from a fixed seed (simulation and tests only)."""


class ReceiptBody(Record):
    """What a contributor states of one update."""

    kind: Literal["covalue.receipt/1"]
    position: Position
    contributor: Address
    base_model_sha256: Digest
    update: BlobRef
    event: DpEvent

    def signing_digest(self) -> bytes:
        """32 bytes: SHA-256 of the purpose and the canonical body."""
        return hashlib.sha256(b"covalue.receipt.v1\x00" + self.canonical()).digest()


class Receipt(Record):
    """A signed receipt; `signature` is BLS12-381 G2, compressed (96 bytes)."""

    body: ReceiptBody
    signature: Hex


ExclusionReason = Literal[
    "bad-signature",
    "wrong-position",
    "wrong-base",
    "wrong-shape",
    "out-of-range",
    "seeded-noise",
    "wrong-event",
    "norm",
    "copy",
    "late",
    "missing",
    "judged",
]


class Exclusion(Record):
    """Why a contributor's update does not count in this round."""

    contributor: Address
    reason: ExclusionReason
    detail: Annotated[str, StringConstraints(max_length=300)]
    receipt: Receipt | None


class Judgement(Record):
    """A contributor's cumulative score on the public rows (1e-12 of squared standardised error)."""

    contributor: Address
    score_pico: SafeInt


class RoundRecord(Record):
    """All that is needed to recompute one round. Receipts stand in roster order."""

    kind: Literal["covalue.round/1"]
    position: Position
    previous_record: Digest
    """Digest of the record of the round before; of the task for round 1."""
    base_model: BlobRef
    receipts: tuple[Receipt, ...]
    exclusions: tuple[Exclusion, ...]
    judgements: tuple[Judgement, ...]
    judge_floor_pico: SafeInt | None
    model: BlobRef


class SignedRoundRecord(Record):
    """A round record with the coordinator's EIP-712 signature (65 bytes) over its digest."""

    record: RoundRecord
    signature: Hex


class Checkpoint(Record):
    """A stretch of rounds. Its digest is the root that the roster co-signs and the chain keeps:
    root of a Merkle DAG whose links are the signed records, and through them updates and models."""

    kind: Literal["covalue.checkpoint/1"]
    chain_id: Count
    ledger: Address
    task_id: Positive
    task_digest: Digest
    index: Count
    first_round: Positive
    last_round: Positive
    records: tuple[BlobRef, ...]
    """The SignedRoundRecord of every round, in order."""
    record_digests: tuple[Digest, ...]
    """The digest of every RoundRecord (without signature), in order."""
    model: BlobRef


# --- scores, release, answers ---------------------------------------------------------------


class OpenedPart(Record):
    """A validation part that was opened on chain in time."""

    index: Count
    salt: Digest
    rows: BlobRef


class StretchScores(Record):
    """Scores of one checkpoint's stretch, in roster order."""

    first_round: Positive
    last_round: Positive
    scores_pico: tuple[SafeInt, ...]
    noise_scores_pico: tuple[SafeInt, ...]
    """Scores that simulated noise players reached on this stretch (see SPEC.md)."""


class ContributorResult(Record):
    """What one contributor gets for the task."""

    contributor: Address
    score_pico: SafeInt
    payout_wei: Amount
    share_wad: Amount
    epsilon_micro: Count
    rounds_answered: Count


class ScoreReport(Record):
    """Scores, payouts, shares and epsilons of a task; its digest is in the final checkpoint."""

    kind: Literal["covalue.scores/1"]
    chain_id: Count
    ledger: Address
    task_id: Positive
    task_digest: Digest
    model: BlobRef
    judged_on: Literal["sealed-rows", "public-rows", "nothing"]
    parts: tuple[OpenedPart, ...]
    stretches: tuple[StretchScores, ...]
    threshold_pico: SafeInt
    results: tuple[ContributorResult, ...]
    payout_total_wei: Amount
    payout_root: Hex
    share_root: Hex
    card: ModelCard


class RatioStudy(Record):
    """How estimates compare with prices in one group of rows (valuation/metrics.py has the
    formulas). Null where a figure has no meaning, as in a group of fewer than five prices."""

    group: Text
    """`all`, `region 3` or `price band 2`."""
    rows: Count
    latitude_micro: SafeInt | None
    longitude_micro: SafeInt | None
    """Middle of a region, 1e-6 degrees; null for other groups."""
    lower_micro: BigInt | None
    upper_micro: BigInt | None
    """A price band holds the rows with lower <= proxy < upper (the last one: <= upper), the proxy
    being the mean of price and estimate / median ratio; null for other groups."""
    median_ratio_micro: SafeInt | None
    cod_micro: SafeInt | None
    """Coefficient of dispersion, in per cent."""
    prd_micro: SafeInt | None
    prb_micro: SafeInt | None
    mki_micro: SafeInt | None
    fsd_micro: SafeInt | None
    """Standard deviation of the percentage error, as a fraction."""
    ppe10_micro: SafeInt | None
    """Share of estimates within 10 % of the price."""
    mdape_micro: SafeInt | None
    """Median absolute percentage error, as a fraction."""
    r2_micro: SafeInt | None
    median_ratio_error_micro: SafeInt | None
    """This and those below: large-sample standard errors."""
    cod_error_micro: SafeInt | None
    prd_error_micro: SafeInt | None
    prb_error_micro: SafeInt | None
    mki_error_micro: SafeInt | None


class Calibrated(Record):
    """How far off a model is, from the summed histograms of a calibration (docs/spec/intervals.md).

    A row's error, target minus prediction on the standardised scale, divided by its width
    difficulty * factor of its band * factor of its region, has one distribution: that of
    `cumulative_micro` at the calibration's edges."""

    units: Count
    """Calibration units behind it: a noisy number."""
    band_micro: tuple[Positive, ...]
    """Factor in the middle of each band of difficulty; empty without bands."""
    region_micro: tuple[Positive, ...]
    """Factor of each region; empty without regions."""
    cumulative_micro: tuple[Count, ...]
    """Share of errors below each edge; rises from 0 to 1e6."""
    lower_micro: SafeInt
    upper_micro: SafeInt
    """Ends of the interval in widths; 10^12 away where an end lies in an open bin."""


class ModelCard(Record):
    """What a buyer and a voter should know of a model."""

    kind: Literal["covalue.card/1"]
    task_digest: Digest
    title: Text
    asset_class: Text
    target: Target
    family: Text
    model: BlobRef
    rounds: Positive
    epsilon_micro: Positive
    delta_e12: Positive
    contributors: Count
    rows_judged: Count
    studies: tuple[RatioStudy, ...] = Field(max_length=64)
    """On the opened sealed rows: `all` first, then regions, then price bands. Empty where no sealed
    part was opened: residuals alone tell no ratio."""
    stretch_center_micro: SafeInt
    stretch_slope_micro: Positive
    """The estimate is center + slope * (prediction - center) on the standardised target: it undoes
    the regression to the mean, as the public judging rows show it."""
    interval_level_micro: Count
    calibrated: Calibrated | None
    """Of the calibration round; null for a task without one."""
    interval_halfwidth_micro: Count
    """Without a calibration: the split-conformal half width on the target's scale (log or linear),
    in 1e-6, of the rows that judge; else 0."""
    licence: Text


class ValuationBody(Record):
    """One answer of the API."""

    kind: Literal["covalue.valuation/1"]
    chain_id: Count
    registry: Address
    release: Positive
    model_sha256: Digest
    input_sha256: Digest
    value_micro: BigInt
    lower_micro: BigInt
    upper_micro: BigInt
    interval_level_micro: Count
    confidence_micro: Count | None
    """Probability that the estimate is within 10 % of the price; null without a calibration."""
    fsd_micro: Count | None
    """Forecast standard deviation, of estimate / price - 1; null without a calibration."""
    currency: Text
    issued_at: Count
    """Unix seconds."""


class Valuation(Record):
    """A signed answer: EIP-712 signature (65 bytes) of the API's account over the body."""

    body: ValuationBody
    signer: Address
    signature: Hex


ScoreReport.model_rebuild()
