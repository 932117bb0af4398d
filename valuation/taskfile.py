# SPDX-License-Identifier: Apache-2.0
"""task.toml: what a person writes of a task, in words and plain numbers, and its checks."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from dao.errors import TaskError

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
AccountText = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$")]
HexDigest = Annotated[str, StringConstraints(pattern=r"^(0x)?[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Above0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ZERO_ACCOUNT = "0x" + "00" * 20

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_DURATION = re.compile(r"(\d+) (second|minute|hour|day|week)s?")


class Section(BaseModel):
    """Base: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TargetSection(Section):
    """What is learned, with public bounds in its own currency."""

    column: Name
    currency: Name
    scale: Literal["log", "linear"]
    lower: Finite
    upper: Finite


class NumberSection(Section):
    """A number. `center` and `spread` (on the scale) default to those of the public rows, else
    to those of the bounds."""

    kind: Literal["number"]
    column: Name
    scale: Literal["linear", "log", "log1p"] = "linear"
    lower: Finite
    upper: Finite
    missing: Literal["refuse", "indicate"] = "refuse"
    center: Finite | None = None
    spread: Above0 | None = None


class RatioSection(Section):
    """The logarithm of one positive number over another."""

    kind: Literal["ratio"]
    numerator: Name
    denominator: Name
    center: Finite | None = None
    spread: Above0 | None = None


class CategorySection(Section):
    """One of some words; `other` takes unknown and empty ones."""

    kind: Literal["category"]
    column: Name
    values: tuple[Name, ...] = Field(min_length=1, max_length=1000)
    other: bool = False


class LocationSection(Section):
    """Two columns of degrees."""

    kind: Literal["location"]
    latitude: Name
    longitude: Name
    south: Annotated[float, Field(ge=-90, le=90)]
    north: Annotated[float, Field(ge=-90, le=90)]
    west: Annotated[float, Field(ge=-180, le=180)]
    east: Annotated[float, Field(ge=-180, le=180)]
    center: tuple[Finite, Finite] | None = None
    """Latitude, longitude."""
    scale_metres: Annotated[int, Field(ge=1)] | None = None
    bandwidths_metres: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None, min_length=1, max_length=8
    )


class DateSection(Section):
    """A day."""

    kind: Literal["date"]
    column: Name
    first: date
    last: date
    center_days: Finite | None = None
    spread_days: Above0 | None = None


FeatureSection = Annotated[
    NumberSection | RatioSection | CategorySection | LocationSection | DateSection,
    Field(discriminator="kind"),
]


class UnitSection(Section):
    """What one record means for privacy."""

    kind: Literal["row", "column"] = "row"
    column: Name | None = None
    max_rows: Annotated[int, Field(ge=1, le=1000)] = 1


class SamplingSection(Section):
    """Poisson-sampled local steps between two rounds, for slow networks. They cost accuracy at the
    same epsilon, and training may end below its start (docs/spec/privacy.md, section 5)."""

    rate: Annotated[float, Field(gt=0, le=1)]
    """Probability with which each unit takes part in a step."""
    steps: Annotated[int, Field(ge=1, le=256)]
    eta: Annotated[float, Field(gt=0, le=1000)]
    """Local step size, on the noisy sum divided by rate * local_units."""
    local_units: Annotated[int, Field(ge=1)]
    """How many units one contributor is expected to bring: a public number, never a count."""


class PrivacySection(Section):
    """What one unit may lose in the whole task: `epsilon` (or `noise_multiplier`) at `delta`."""

    epsilon: Above0 | None = None
    noise_multiplier: Above0 | None = None
    delta: Annotated[float, Field(ge=1e-12, lt=0.1)]
    rounds: Annotated[int, Field(ge=1, le=10_000)] | None = None
    sampling: SamplingSection | None = None
    """Without it every round takes all units."""
    public_n: Annotated[int, Field(ge=1)]
    """How many units are expected in all: a number that the vote approves, never a count."""
    expected_contributors: Annotated[int, Field(ge=1, le=256)] | None = None
    """Used only to plan the set-up; default terms.min_contributors."""


class ModelSection(Section):
    """The model family."""

    family: Literal["kernel", "mlp"] = "kernel"
    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = (32,)
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class AggregationSection(Section):
    """How updates are added, and who is left out."""

    rule: Literal["sum", "wiener", "nnm-trimmed-mean"] = "sum"
    """`wiener` weighs each contributor's updates by what a survey says that its rows can tell; for
    the family kernel, in full batches. `nnm-trimmed-mean` replaces each update by the mean of its
    nearest ones and drops the extremes of every coordinate."""
    tolerated: Annotated[int, Field(ge=1, le=127)] | None = None
    """Attackers that nnm-trimmed-mean withstands, fewer than half of terms.min_contributors;
    default a fifth of them."""
    survey_cells: Annotated[int, Field(ge=2, le=1024)] | None = None
    max_units: Annotated[int, Field(ge=1)] | None = None
    median_norm_factor: Annotated[float, Field(ge=1)] | None = None
    """An update so many times as long as the median, beyond its noise, is shortened; default 3 per
    unit that a survey claims, 24 without a survey."""
    copy_correlation: Annotated[float, Field(gt=0, lt=1)] = 0.5
    judge_rounds: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    judge_noise_factor: Above0 = 4.0
    noise_players: Annotated[int, Field(ge=1, le=1000)] = 64


class CalibrationSection(Section):
    """Intervals from noisy histograms of the residuals of units kept out of training. What is not
    given is planned from public_n, epsilon and the expected contributors."""

    level: Annotated[float, Field(gt=0, lt=1)] = 0.9
    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    groups: Annotated[int, Field(ge=1, le=256)] | None = None
    edges: tuple[Finite, ...] | None = Field(default=None, min_length=1, max_length=256)
    """Of the bins of residual / difficulty, on the standardised target; they rise."""


class TermsSection(Section):
    """Money in whole tokens (decimals allowed, as text or number) and time ("3 days")."""

    coordinator: AccountText
    coordinator_bond: str | int = "1000"
    budget: str | int = "10000"
    stake: str | int = "100"
    part_bond: str | int = "100"
    challenge_bond: str | int = "100"
    min_contributors: Annotated[int, Field(ge=1, le=256)] = 3
    max_contributors: Annotated[int, Field(ge=1, le=256)] = 50
    quorum_percent: Annotated[float, Field(ge=66.67, le=100)] = 66.67
    checkpoint_length: Annotated[int, Field(ge=1)] = 6
    join_time: str = "3 days"
    deadline: str = "30 days"
    reveal_time: str = "2 days"
    challenge_time: str = "3 days"
    allow_root: HexDigest = "0" * 64
    answer_grid_millis: Annotated[int, Field(ge=0)] = 0


class PartSection(Section):
    """A sealed part of the validation rows."""

    holder: AccountText
    commitment: HexDigest


class TaskFile(Section):
    """A whole task.toml."""

    title: Name
    asset_class: Name
    licence: Name
    public_rows: str | None = None
    """Path of the public rows, relative to this file; without it the family is mlp."""
    target: TargetSection
    feature: tuple[FeatureSection, ...] = Field(min_length=1, max_length=500)
    unit: UnitSection = UnitSection()
    privacy: PrivacySection
    model: ModelSection = ModelSection()
    aggregation: AggregationSection = AggregationSection()
    calibration: CalibrationSection | None = None
    terms: TermsSection
    part: tuple[PartSection, ...] = ()


def parse_taskfile(text: str) -> TaskFile:
    """Read a task.toml.

    Raises:
        TaskError: not TOML, an unknown or missing field, a value out of range; every problem is
            named with its place.
    """
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TaskError(f"not a TOML file: {error}", hint="Check that line.") from error
    try:
        return TaskFile.model_validate(raw)
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors(include_url=False)]
        raise TaskError(
            "; ".join(problems),
            hint="`covalue task new` writes a file that explains its fields.",
        ) from error


def _problem(item: Any) -> str:
    parts = [str(part) for part in item["loc"] if part not in _KINDS]
    place = ".".join(parts) or "file"
    match item["type"]:
        case "extra_forbidden":
            return f"{place}: unknown field"
        case "missing":
            return f"{place}: missing"
        case _:
            return f"{place}: {item['msg'].lower()}, got {str(item['input'])[:60]!r}"


_KINDS = frozenset({"number", "ratio", "category", "location", "date"})
"""Pydantic names the branch of a union in the place of an error; a reader knows it anyway."""


def seconds_of(text: str, field: str) -> int:
    """Seconds of a duration such as "3 days".

    Raises:
        TaskError: another notation, or zero.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise TaskError(f"{field}: {text!r}, expected a duration such as '3 days' or '90 seconds'")
    return int(match[1]) * _SECONDS[match[2]]


def wei_of(amount: str | int, field: str) -> int:
    """1e-18 token of an amount in tokens, exactly.

    Raises:
        TaskError: not a plain decimal number of at most 18 places.
    """
    match = re.fullmatch(r"(\d{1,30})(?:\.(\d{1,18}))?", str(amount))
    if match is None:
        raise TaskError(f"{field}: {amount!r}, expected a number of tokens such as '100' or '0.5'")
    return int(match[1]) * 10**18 + int((match[2] or "").ljust(18, "0"))
