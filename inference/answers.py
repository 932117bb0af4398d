# SPDX-License-Identifier: Apache-2.0
"""Bodies of the API's answers, and the examples that its documentation shows."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from dao.records import Feature, RatioStudy, Task, Valuation, ValuationBody
from inference.released import Appraisal, Servable

EXAMPLE_ROW: dict[str, Any] = {
    "latitude": 48.137,
    "longitude": 9.512,
    "living_area_m2": 96.5,
    "plot_area_m2": 240,
    "rooms": 4,
    "building_age_years": 31,
    "quality": 3,
    "property_type": "terraced",
    "sale_date": "2024-06-01",
}


class Answer(BaseModel):
    """Base of bodies."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(Answer):
    """Why a request was refused, and what to do next."""

    error: str = Field(examples=["rooms: got 'many', expected a number from 1 to 15"])
    hint: str | None = None
    row: int | None = Field(default=None, description="Which row of the request, from 0.")
    field: str | None = Field(default=None, description="The field that is wrong.")
    got: str | None = Field(default=None, description="What came.")
    expected: str | None = Field(default=None, description="What is allowed.")


class Health(Answer):
    """The process is alive; `serving` says whether it has a model to serve."""

    status: Literal["ok"] = "ok"
    serving: bool
    release: int | None
    reason: str | None = Field(description="Why nothing is served; null while serving.")


class Valuations(Answer):
    """One signed answer a row, in the order of the request."""

    valuations: tuple[Valuation, ...]


class FieldRule(Answer):
    """A field of a row and what it may hold."""

    field: str
    kind: Literal["number", "category", "latitude", "longitude", "date"]
    lower: float | str | None = None
    upper: float | str | None = None
    values: tuple[str, ...] | None = None
    required: bool


class CurrentModel(Answer):
    """The released model: what it is, where it comes from, and what a row must hold."""

    release: int
    released_at: int = Field(description="Chain time of the release, Unix seconds.")
    block: int = Field(description="Last block in which the release was seen standing.")
    chain_id: int
    registry: str = Field(description="ModelRegistry that holds the release.")
    ledger: str = Field(description="TaskLedger that holds the task.")
    model_sha256: str = Field(description="SHA-256 of the model's bytes, as on chain.")
    model_cid: str
    task_id: int
    task_digest: str
    title: str
    asset_class: str
    target: str
    currency: str
    family: str
    rounds: int
    contributors: tuple[str, ...] = Field(description="Accounts whose data trained it.")
    epsilon_micro: int = Field(description="Privacy cost of the task to each unit, 1e-6.")
    delta_e12: int
    rows_judged: int
    studies: tuple[RatioStudy, ...] = Field(
        description="Ratio study on rows that nobody trained on: all, by region, by price band."
    )
    interval_level_micro: int
    licence: str
    signer: str = Field(description="Account that signs this API's answers.")
    fields: tuple[FieldRule, ...]


def describe(servable: Servable, *, signer: str) -> CurrentModel:
    """The public description of a released model."""
    seen, card, task = servable.provenance, servable.model.card, servable.model.task
    return CurrentModel(
        release=seen.release,
        released_at=seen.released_at,
        block=seen.block,
        chain_id=seen.chain_id,
        registry=seen.registry,
        ledger=seen.ledger,
        model_sha256=seen.model_sha256,
        model_cid=seen.model_cid,
        task_id=seen.task_id,
        task_digest=seen.task_digest,
        title=card.title,
        asset_class=card.asset_class,
        target=card.target.column,
        currency=card.target.currency,
        family=card.family,
        rounds=card.rounds,
        contributors=seen.contributors,
        epsilon_micro=seen.epsilon_micro,
        delta_e12=card.delta_e12,
        rows_judged=card.rows_judged,
        studies=card.studies,
        interval_level_micro=card.interval_level_micro,
        licence=card.licence,
        signer=signer,
        fields=field_rules(task),
    )


def field_rules(task: Task) -> tuple[FieldRule, ...]:
    """What each field of a row may hold, in the task's order."""
    rules: dict[str, FieldRule] = {}
    for feature in task.features:
        for rule in _rules_of(feature):
            rules.setdefault(rule.field, rule)
    return tuple(rules.values())


def _rules_of(feature: Feature) -> list[FieldRule]:
    match feature.kind:
        case "number":
            return [
                FieldRule(
                    field=feature.column,
                    kind="number",
                    lower=feature.lower_micro / 1e6,
                    upper=feature.upper_micro / 1e6,
                    required=feature.missing == "refuse",
                )
            ]
        case "category":
            return [
                FieldRule(
                    field=feature.column,
                    kind="category",
                    values=feature.values,
                    required=not feature.other,
                )
            ]
        case "date":
            return [
                FieldRule(
                    field=feature.column,
                    kind="date",
                    lower=feature.first,
                    upper=feature.last,
                    required=True,
                )
            ]
        case "location":
            sides = (
                (feature.latitude, "latitude", feature.south_micro, feature.north_micro),
                (feature.longitude, "longitude", feature.west_micro, feature.east_micro),
            )
            return [
                FieldRule(field=column, kind=kind, lower=low / 1e6, upper=high / 1e6, required=True)
                for column, kind, low, high in sides
            ]
        case "ratio":
            return []  # both of its columns are number features themselves


def unsigned(servable: Servable, appraisal: Appraisal, *, issued_at: int) -> ValuationBody:
    """What is signed of an answer; `issued_at` in Unix seconds."""
    seen, card = servable.provenance, servable.model.card
    return ValuationBody(
        kind="covalue.valuation/1",
        chain_id=seen.chain_id,
        registry=seen.registry,
        release=seen.release,
        model_sha256=seen.model_sha256,
        input_sha256=appraisal.input_sha256,
        value_micro=appraisal.value_micro,
        lower_micro=appraisal.lower_micro,
        upper_micro=appraisal.upper_micro,
        interval_level_micro=card.interval_level_micro,
        confidence_micro=appraisal.confidence_micro,
        fsd_micro=appraisal.fsd_micro,
        currency=card.target.currency,
        issued_at=issued_at,
    )
