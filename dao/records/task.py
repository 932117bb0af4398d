# SPDX-License-Identifier: Apache-2.0
"""The task: one governed training job."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dao.canonical import (
    Address,
    Amount,
    BigInt,
    Count,
    Digest,
    Hex,
    IsoDate,
    Positive,
    Record,
    SafeInt,
    Text,
)
from dao.records.blob import BlobRef

MAX_RULE_NUMBERS = 120_000_000
"""The rule `wiener` holds a d x d matrix of each contributor, 8 bytes a number."""


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

    @model_validator(mode="after")
    def _mechanism_fits(self) -> PrivacyPolicy:
        if (self.mechanism == "gaussian-poisson") != (self.sampling is not None):
            raise ValueError(
                f"mechanism {self.mechanism!r} and sampling {self.sampling!r} disagree"
            )
        return self


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
    theta += eta_t * (-G / (N * gain) - ridge * theta) / (1 + ridge).
    With the rule `wiener`: theta += eta_t * (its direction, see `rounds.wiener`)."""

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
    """How updates are joined and who is left out.

    `rule`: "sum" adds the updates up; "wiener" weighs each by what its contributor's rows can tell,
    which a survey of `survey_cells` cells says before training; "nnm-trimmed-mean" adds up what
    nearest-neighbour mixing and the trimmed mean leave of them (`rounds.mixing`), against at most
    `tolerated` attackers. `max_units`: a public bound on the
    units one contributor brings; an update whose norm passes max_units * C + noise quantile is
    excluded. `median_norm_factor_micro`: one that is longer, for its contributor's size, than so
    many times the median is shortened (`rounds.norm_clips`). `copy_correlation_micro`: two updates
    of which the correlation passes this are copies; the later in roster order is excluded.
    `judge_rounds`: after which rounds the public rows judge; who scores below
    `judge_noise_factor_micro` times the worst simulated noise player is excluded from then on and
    its past displacement is taken back."""

    rule: Literal["sum", "wiener", "nnm-trimmed-mean"]
    survey_cells: Annotated[int, Field(strict=True, ge=0, le=1024)]
    """Cells of the histogram that a survey releases; 0 without one, and only `wiener` needs one."""
    tolerated: Annotated[int, Field(strict=True, ge=0, le=127)]
    """0 for the rules that take no such number."""
    max_units: Positive
    median_norm_factor_micro: Annotated[int, Field(strict=True, ge=1_000_000)]
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

    @model_validator(mode="after")
    def _tolerated_fits(self) -> Task:
        rule, tolerated = self.aggregation.rule, self.aggregation.tolerated
        if rule != "nnm-trimmed-mean":
            if tolerated:
                raise ValueError(f"the rule '{rule}' takes no 'tolerated'")
        elif not 0 < 2 * tolerated < self.terms.min_contributors:
            raise ValueError(
                f"the rule '{rule}' tolerates {tolerated} of {self.terms.min_contributors}"
                " (min_contributors), expected at least 1 and fewer than half"
            )
        return self

    @model_validator(mode="after")
    def _rule_fits(self) -> Task:
        if self.aggregation.rule != "wiener":
            return self
        numbers = self.terms.max_contributors * self.model.parameters**2
        for fits, problem in (
            (self.model.family == "kernel", "needs the family 'kernel'"),
            (self.policy.sampling is None, "takes no sampled steps"),
            (self.policy.survey_noise_micro > 0, "needs a survey"),
            (self.aggregation.survey_cells > 0, "needs the cells of a survey"),
            (
                numbers <= MAX_RULE_NUMBERS,
                f"takes max_contributors * parameters^2 = {numbers} numbers, expected at most"
                f" {MAX_RULE_NUMBERS}",
            ),
        ):
            if not fits:
                raise ValueError(f"the rule 'wiener' {problem}")
        return self
