# SPDX-License-Identifier: Apache-2.0
"""The model card: what a buyer and a voter should know of a model, from published bytes.

Its figures are floats put on a grid, so a check takes the recorded ones after finding them within
the tolerance of the recomputed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dao.errors import ReplayMismatch
from dao.records import BlobRef, ModelCard, RatioStudy, Task
from rounds.coalition import module_outputs
from rounds.state import Floats, theta_of
from valuation.encode import Encoded, target_to_value
from valuation.family import Family, JudgeRows, Prepared
from valuation.interval import halfwidth
from valuation.ratio_study import RegionsOfRows, ratio_studies, to_micro
from valuation.regions import centres_in_degrees, region_centres, region_of
from valuation.schema import location_of

INTERVAL_LEVEL = 0.9
MAX_REGIONS = 10
CARD_STEP_MICRO = 5
"""A recomputed figure may differ from the recorded one by this much, and a millionth of it."""


@dataclass(frozen=True)
class SealedRows:
    """The opened validation rows that fit the task's schema."""

    encoded: Encoded
    prepared: Prepared


@dataclass(frozen=True)
class CardInput:
    """What a card describes: the model of a task, with the bytes of its state."""

    task: Task
    task_digest: str
    contributors: int
    family: Family
    model: BlobRef
    state: bytes


def make_card(given: CardInput, *, sealed: SealedRows | None, rows: JudgeRows | None) -> ModelCard:
    """Describe a model. Ratios need prices, so there are studies with sealed rows only."""
    task = given.task
    residual = np.zeros(0)
    studies: tuple[RatioStudy, ...] = ()
    theta = theta_of(task, given.state)
    if sealed is not None:
        assert sealed.encoded.target is not None
        estimate = given.family.predict(sealed.prepared, theta)
        residual = sealed.encoded.target - estimate
        studies = ratio_studies(
            target_to_value(task.target, sealed.encoded.target),
            target_to_value(task.target, estimate),
            _regions(task, given.family, sealed.encoded),
        )
    elif rows is not None:
        residual = _residual(given.family, rows, theta)
    half = halfwidth(residual, INTERVAL_LEVEL) if len(residual) else 0.0
    return ModelCard(
        kind="covalue.card/1",
        task_digest=given.task_digest,
        title=task.title,
        asset_class=task.asset_class,
        target=task.target,
        family=task.model.family,
        model=given.model,
        rounds=task.policy.rounds,
        epsilon_micro=task.policy.epsilon_micro,
        delta_e12=task.policy.delta_e12,
        contributors=given.contributors,
        rows_judged=len(residual),
        studies=studies,
        interval_level_micro=round(INTERVAL_LEVEL * 1e6),
        interval_halfwidth_micro=to_micro(half * task.target.spread_micro / 1e6) or 0,
        licence=task.licence,
    )


def check_card(recorded: ModelCard, recomputed: ModelCard) -> None:
    """Compare; ReplayMismatch names the field that differs."""
    for name in ModelCard.model_fields:
        if name != "studies":
            was, now = getattr(recorded, name), getattr(recomputed, name)
            _compare(f"card.{name}", was, now, exact=name != "interval_halfwidth_micro")
    _compare("card.studies, groups", _groups(recorded), _groups(recomputed), exact=True)
    for was_study, now_study in zip(recorded.studies, recomputed.studies, strict=True):
        for name in RatioStudy.model_fields:
            was, now = getattr(was_study, name), getattr(now_study, name)
            place = f"card.studies, {was_study.group}, {name}"
            _compare(place, was, now, exact=not name.endswith("_micro"))


def _compare(place: str, recorded: object, recomputed: object, *, exact: bool) -> None:
    if recorded == recomputed:
        return
    if not exact and isinstance(recorded, int) and isinstance(recomputed, int):
        allowed = CARD_STEP_MICRO + abs(recorded) // 1_000_000
        if abs(recorded - recomputed) <= allowed:
            return
    raise ReplayMismatch(
        place=f"score report, {place}", recorded=str(recorded), recomputed=str(recomputed)
    )


def _groups(card: ModelCard) -> tuple[str, ...]:
    return tuple(study.group for study in card.studies)


def _regions(task: Task, family: Family, encoded: Encoded) -> RegionsOfRows | None:
    """Regions of the map follow from the public rows that the set-up holds."""
    location = location_of(task.features)
    if location is None or family.process is None:
        return None
    centres = region_centres(family.process.locations, MAX_REGIONS)
    return RegionsOfRows(
        region=region_of(centres, encoded.locations),
        centres_micro=tuple(
            (round(latitude * 1e6), round(longitude * 1e6))
            for latitude, longitude in centres_in_degrees(location, centres).tolist()
        ),
    )


def _residual(family: Family, rows: JudgeRows, theta: Floats) -> Floats:
    output = module_outputs(family.module(theta), theta[None, :], rows.inputs)[0]
    residual: Floats = rows.residual - output
    return residual
