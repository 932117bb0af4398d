# SPDX-License-Identifier: Apache-2.0
"""What comes of a task: scores, the model card, answers of the API."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dao.canonical import (
    Address,
    Amount,
    BigInt,
    Count,
    Digest,
    Hex,
    Positive,
    Record,
    SafeInt,
    Text,
)
from dao.records.blob import BlobRef
from dao.records.task import Target


class OpenedPart(Record):
    """A validation part that was opened on chain in time."""

    index: Count
    salt: Digest
    rows: BlobRef


class SeedBlock(Record):
    """The block right after the one in which a stretch was committed: its hash, which nobody knew
    when the updates were fixed, seeds the random draws of the stretch's scores."""

    number: Count
    hash: Digest


class StretchScores(Record):
    """Scores of one checkpoint's stretch, in roster order."""

    first_round: Positive
    last_round: Positive
    seed: SeedBlock
    scores_pico: tuple[SafeInt, ...]
    standard_errors_pico: tuple[Count, ...]
    """Of the scores as estimates; 0 where they are exact."""
    dropped: tuple[Count, ...]
    """Whose updates harmed, by places in the roster, in the order in which they were left out."""
    noise_means_pico: tuple[SafeInt, ...]
    noise_deviations_pico: tuple[Count, ...]
    """Mean and standard deviation of the score of noise in each one's name (see SPEC.md)."""


class ContributorResult(Record):
    """What one contributor gets for the task."""

    contributor: Address
    score_pico: SafeInt
    standard_error_pico: Count
    """Of the score, over all stretches, rounded up; 0 where all are exact."""
    threshold_pico: Count
    """What the score must pass to be paid: noise in the contributor's name does not."""
    payout_wei: Amount
    share_wad: Amount
    epsilon_micro: Count
    rounds_answered: Count


class ScoreReport(Record):
    """Scores, payouts, shares and epsilons of a task; its digest is in the final checkpoint."""

    kind: Literal["covalue.scores/2"]
    chain_id: Count
    ledger: Address
    task_id: Positive
    task_digest: Digest
    model: BlobRef
    judged_on: Literal["sealed-rows", "public-rows", "nothing"]
    parts: tuple[OpenedPart, ...]
    stretches: tuple[StretchScores, ...]
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
