# SPDX-License-Identifier: Apache-2.0
"""The model card: what a buyer and a voter should know of a model, from published bytes.

Its figures are floats put on a grid, so a check takes the recorded ones after finding them within
the tolerance of the recomputed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dao.errors import ReplayMismatch
from dao.records import BlobRef, Calibrated, ModelCard, RatioStudy, Task
from rounds.calibration_summary import CalibrationSummary
from rounds.coalition import module_outputs
from rounds.estimate import estimates, released_stretch, stretch_of
from rounds.state import Floats, theta_of
from valuation.calibrated import check_calibrated
from valuation.encode import Encoded, target_to_value
from valuation.family import Family, JudgeRows, Prepared
from valuation.interval import halfwidth
from valuation.ratio_study import RegionsOfRows, ratio_studies, to_micro
from valuation.regions import centres_in_degrees, region_centres, region_of
from valuation.regressivity import Stretch
from valuation.schema import MICRO, location_of

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
    summary: CalibrationSummary | None


def make_card(
    given: CardInput,
    *,
    sealed: SealedRows | None,
    rows: JudgeRows | None,
    recorded: ModelCard | None = None,
) -> ModelCard:
    """Describe a model. Ratios need prices, so there are studies with sealed rows only.

    With a `recorded` card its calibration and stretch are taken once they are found within the
    tolerance (else ReplayMismatch), so that all that follows from them follows from the same.
    """
    task = given.task
    residual = np.zeros(0)
    studies: tuple[RatioStudy, ...] = ()
    theta = theta_of(task, given.state)
    calibrated = None if given.summary is None else given.summary.calibrated(task, given.family)
    if recorded is not None:
        _check_calibrated(recorded.calibrated, calibrated)
        calibrated = recorded.calibrated
    stretch = released_stretch(task, given.family, theta, calibrated)
    if recorded is not None:
        stretch = _checked_stretch(recorded, stretch)
    if sealed is not None:
        assert sealed.encoded.target is not None
        estimate = estimates(given.family, sealed.prepared, theta, stretch)
        residual = sealed.encoded.target - estimate
        studies = ratio_studies(
            target_to_value(task.target, sealed.encoded.target),
            target_to_value(task.target, estimate),
            _regions(task, given.family, sealed.encoded),
        )
    elif rows is not None:
        residual = _residual(given.family, rows, theta, stretch)
    level = INTERVAL_LEVEL
    half = halfwidth(residual, level) if calibrated is None and len(residual) else 0.0
    if task.calibration is not None and calibrated is not None:
        level = task.calibration.level_micro * MICRO
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
        stretch_center_micro=round(stretch.center / MICRO),
        stretch_slope_micro=round(stretch.slope / MICRO),
        interval_level_micro=round(level * 1e6),
        calibrated=calibrated,
        interval_halfwidth_micro=to_micro(half * task.target.spread_micro / 1e6) or 0,
        licence=task.licence,
    )


def check_card(recorded: ModelCard, recomputed: ModelCard) -> None:
    """Compare with a card that was made with this one as `recorded`; ReplayMismatch names the field
    that differs."""
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


def _check_calibrated(recorded: Calibrated | None, recomputed: Calibrated | None) -> None:
    if recorded is None or recomputed is None:
        _compare("card.calibrated", recorded is None, recomputed is None, exact=True)
        return
    check_calibrated(recorded, recomputed)


def _checked_stretch(recorded: ModelCard, recomputed: Stretch) -> Stretch:
    for name in ("center", "slope"):
        was = getattr(recorded, f"stretch_{name}_micro")
        now = round(getattr(recomputed, name) / MICRO)
        _compare(f"card.stretch_{name}_micro", was, now, exact=False)
    return stretch_of(recorded.stretch_center_micro, recorded.stretch_slope_micro)


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


def _residual(family: Family, rows: JudgeRows, theta: Floats, stretch: Stretch) -> Floats:
    output = module_outputs(family.module(theta), theta[None, :], rows.inputs)[0]
    residual: Floats = rows.offset + rows.residual - stretch.apply(rows.offset + output)
    return residual
