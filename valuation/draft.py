# SPDX-License-Identifier: Apache-2.0
"""A first task.toml from public rows: which columns are what, within which generous bounds.

Everything drafted follows from public rows and may be changed by hand before the vote.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dao.errors import InputError
from valuation.bounds import generous_bounds, skewness, wants_log
from valuation.columns import parse_days, parse_numbers
from valuation.draft_places import draft_location
from valuation.draft_units import names_a_unit, unit_remark
from valuation.draft_words import says_nothing
from valuation.foreign_dates import foreign_dates_remark, foreign_days_remark
from valuation.foreign_numbers import foreign_number_in, foreign_numbers_remark
from valuation.rows import require_columns
from valuation.schema import Bools, Floats
from valuation.target_copies import target_copy_remark
from valuation.taskfile import (
    CategorySection,
    DateSection,
    FeatureSection,
    NumberSection,
    RatioSection,
    TargetSection,
)

_KIND_SHARE = 0.95
"""A column is of a kind when so many of its non-empty cells are."""
_MAX_VALUES = 24
"""Categories listed by name; rarer ones are `other`."""
_MIN_VALUE_ROWS = 5
"""A category value seen on fewer public rows is `other`."""
_HEAVY_SKEW = 2.0
"""Counts from zero with a skewness above this are learned as log(1 + x)."""
_RATIO_CORRELATION = 0.8
_MAX_RATIOS = 6
_LONGEST_NAME = 200
_LISTED = 5
_LARGEST = 9e9
"""Centres are recorded in 1e-6 as integers below 2**53."""
_SMALLEST_SPREAD = 1e-4
_SILENT = "so nothing can be learned of it"
_ONE_VALUE = f"it has one value on all public rows, {_SILENT}"
_CODE_NAMES = ("zip", "zipcode", "postcode", "postal", "plz")


@dataclass(frozen=True)
class Draft:
    """What the public rows suggest.

    Attributes:
        target, features: sections of the task file.
        remarks: what was left out, and why.
        public_rows: how many rows came.
    """

    target: TargetSection
    features: tuple[FeatureSection, ...]
    remarks: tuple[str, ...]
    public_rows: int


def draft_task(frame: pd.DataFrame, *, target: str, currency: str = "USD") -> Draft:
    """Infer target and features from public rows (`rows.parse_csv`).

    Raises:
        InputError: no such column, a target that is not a number, or no usable feature.
    """
    require_columns(frame, (target,), name="public rows")
    with np.errstate(over="ignore", invalid="ignore"):  # numbers near 1e300 are left out, and told
        return _draft(frame, target, currency)


def _draft(frame: pd.DataFrame, target: str, currency: str) -> Draft:
    drafted_target = _draft_target(frame[target].tolist(), target, currency)
    remarks: list[str] = []
    features: list[FeatureSection] = []
    location, remark = draft_location(frame, target, share=_KIND_SHARE)
    if remark:
        remarks.append(remark)
    if location is not None:
        features.append(location)
        taken = {target, location.latitude, location.longitude}
    else:
        taken = {target}
    for column in map(str, frame.columns):
        if column in taken:
            continue
        section, remark = _draft_column(column, frame[column].tolist())
        if section is not None:
            features.append(section)
        if isinstance(section, NumberSection):
            remark = target_copy_remark(frame, column, target, share=_KIND_SHARE) or remark
        unit = unit_remark(column, [cell.strip() for cell in frame[column].tolist()])
        remarks += [each for each in (remark, unit) if each]
    features, unheard = _without_noise(frame, target, features)
    remarks += unheard
    features += _draft_ratios(frame, features)
    if not features:
        why = "".join(f"; {remark}" for remark in remarks[:_LISTED])
        raise InputError(
            f"no column of the public rows can serve as a feature{why}",
            hint="Needed: numbers, words of few kinds, dates, or latitude and longitude.",
        )
    return Draft(drafted_target, tuple(features), tuple(remarks), len(frame))


def _without_noise(
    frame: pd.DataFrame, target: str, features: list[FeatureSection]
) -> tuple[list[FeatureSection], list[str]]:
    """The features but for categories of which the public rows tell nothing, and what was left
    out."""
    numbers = [each.column for each in features if isinstance(each, NumberSection)]
    silent = [
        each.column
        for each in features
        if isinstance(each, CategorySection)
        and says_nothing(frame, each.column, each.values, target=target, numbers=numbers)
    ]
    kept = [
        each
        for each in features
        if not (isinstance(each, CategorySection) and each.column in silent)
    ]
    remarks = [
        f"{column!r} is left out: on the public rows prices differ between its values no more than "
        "by chance, and each value would cost accuracy"
        for column in silent
    ]
    return kept, remarks


def _draft_target(cells: list[str], column: str, currency: str) -> TargetSection:
    values, missing = parse_numbers(cells)
    known = values[np.isfinite(values)]
    filled = int((~missing).sum())
    hint = "Name the column that holds the price, in plain digits."
    if filled == 0:
        raise InputError(f"target {column!r} is empty on all {len(cells)} public rows", hint=hint)
    if len(known) < _KIND_SHARE * filled:
        given = [cell.strip() for cell, gone in zip(cells, missing, strict=True) if not gone]
        example = foreign_number_in(given, share=_KIND_SHARE)
        told = "" if example is None else f"; they are written such as {example!r}"
        raise InputError(
            f"target {column!r}: {len(known)} of {filled} non-empty cells are numbers, expected "
            f"at least {_KIND_SHARE:.0%}{told}",
            hint=hint,
        )
    if float(known.min()) == float(known.max()):
        raise InputError(
            f"target {column!r}: its numbers are all equal, {known[0]:g}, "
            "and from equal prices nothing can be learned",
            hint=hint,
        )
    positive = float(known.min()) > 0
    lower, upper = generous_bounds(known, log=positive and wants_log(known), keep_caps=True)
    log = positive and wants_log(known) and lower > 0
    return TargetSection(
        column=column,
        currency=currency,
        scale="log" if log else "linear",
        lower=lower,
        upper=upper,
    )


def _draft_column(column: str, cells: list[str]) -> tuple[FeatureSection | None, str]:
    if len(column) > _LONGEST_NAME:
        return None, f"{column[:40]!r}... is left out: its name is too long"
    texts = [cell.strip() for cell in cells]
    filled = [text for text in texts if text]
    distinct = set(filled)
    values, missing = parse_numbers(texts)
    if missing.all():
        return None, f"{column!r} is left out: it is empty on all public rows, {_SILENT}"
    if len(distinct) == 1 and len(filled) == len(texts):
        return None, f"{column!r} is left out: {_ONE_VALUE}"
    known = values[np.isfinite(values)]
    coded = any(word in column.lower() for word in _CODE_NAMES)
    if coded or (names_a_unit(column) and len(distinct) < len(filled)):
        return _draft_category(column, texts)
    given = [text for text, gone in zip(texts, missing.tolist(), strict=True) if not gone]
    if len(known) >= _KIND_SHARE * len(given) and len(known):
        section, remark = _draft_number(column, texts, known, missing)
        return section, remark or foreign_days_remark(column, given, share=_KIND_SHARE)
    days = parse_days(texts)
    dated = days[np.isfinite(days)]
    if len(dated) >= _KIND_SHARE * len(filled):
        return _draft_date(column, dated, rows=len(texts))
    remark = foreign_dates_remark(column, given, share=_KIND_SHARE)
    remark = remark or foreign_numbers_remark(column, given, share=_KIND_SHARE)
    return (None, remark) if remark else _draft_category(column, texts)


def _draft_number(
    column: str, texts: list[str], known: Floats, missing: Bools
) -> tuple[FeatureSection | None, str]:
    whole = bool((known == np.round(known)).all())
    distinct = len(np.unique(known))
    if distinct < 2:
        if missing.any():  # what can be learned is where it is filled
            return _draft_category(column, texts)
        return None, f"{column!r} is left out: {_ONE_VALUE}"
    if whole and distinct == len(known) == len(texts) and _looks_like_id(column, known):
        return None, f"{column!r} is left out: it looks like an identifier"
    log = wants_log(known) and distinct > 10
    if not log and (float(np.abs(known).max()) > _LARGEST or float(known.std()) < _SMALLEST_SPREAD):
        return None, f"{column!r} is left out: its numbers are too large or too close; change unit"
    lower, upper = generous_bounds(known, log=log)
    scale = "log" if log and lower > 0 else "linear"
    if not log and float(known.min()) == 0.0 and skewness(known) > _HEAVY_SKEW and distinct > 10:
        scale = "log1p"
    section = NumberSection.model_validate(
        {
            "kind": "number",
            "column": column,
            "scale": scale,
            "lower": lower,
            "upper": upper,
            "missing": "indicate" if bool(missing.any()) else "refuse",
        }
    )
    return section, ""


def _looks_like_id(column: str, known: Floats) -> bool:
    plain = column.strip().lower()
    if plain in ("id", "index", "key", "no", "number", "pid", "parcel", "apn") or plain.endswith(
        ("_id", " id", ".id", "id_")
    ):
        return True
    steps = np.diff(known)
    return len(steps) > 0 and bool((steps == steps[0]).all())  # a running number


def _draft_date(column: str, days: Floats, *, rows: int) -> tuple[FeatureSection | None, str]:
    if len(days) < rows:
        return None, (
            f"{column!r} is left out: {rows - len(days)} of {rows} public rows have no date there, "
            "and a date feature needs one on every row"
        )
    first, last = int(days.min()), int(days.max())
    if first == last:
        return None, f"{column!r} is left out: {_ONE_VALUE}"
    margin = max((last - first) // 2, 366)
    lower = pd.Timestamp.fromordinal(max(first - margin, 1)).date().replace(month=1, day=1)
    upper = pd.Timestamp.fromordinal(last + margin).date().replace(month=12, day=31)
    return DateSection(kind="date", column=column, first=lower, last=upper), ""


def _draft_category(column: str, texts: list[str]) -> tuple[FeatureSection | None, str]:
    counts = pd.Series([text for text in texts if text]).value_counts()
    ranked = sorted(counts.items(), key=lambda pair: (-int(pair[1]), str(pair[0])))
    often = [str(value) for value, count in ranked if int(count) >= _MIN_VALUE_ROWS]
    values = sorted(value for value in often[:_MAX_VALUES] if len(value) <= 200)
    if not values:
        return None, f"{column!r} is left out: no value stands on {_MIN_VALUE_ROWS} rows"
    rest = len(counts) - len(values)
    remark = f"{column!r}: {rest} rare values count as other" if rest else ""
    return (
        CategorySection(kind="category", column=column, values=tuple(values), other=True),
        remark,
    )


def _draft_ratios(frame: pd.DataFrame, features: list[FeatureSection]) -> list[RatioSection]:
    """Ratios of log-scaled numbers that move together in the public rows, strongest first: of
    two sizes the ratio often says more (rooms per household)."""
    columns = [
        f.column
        for f in features
        if isinstance(f, NumberSection) and f.scale == "log" and f.lower > 0
    ]
    logs: dict[str, Floats] = {}
    for column in columns:
        values, _ = parse_numbers(frame[column].tolist())
        positive = np.where(values > 0, values, np.nan)
        logs[column] = np.log(positive)
    found: list[tuple[float, str, str]] = []
    for i, a in enumerate(columns):
        for b in columns[i + 1 :]:
            both = np.isfinite(logs[a]) & np.isfinite(logs[b])
            if int(both.sum()) < 30:
                continue
            correlation = float(np.corrcoef(logs[a][both], logs[b][both])[0, 1])
            # of a column and its multiple the ratio is always the same
            varies = float(np.ptp(logs[a][both] - logs[b][both])) > _SMALLEST_SPREAD
            if correlation > _RATIO_CORRELATION and varies:
                found.append((correlation, a, b))
    found.sort(key=lambda item: (-item[0], item[1], item[2]))
    return [
        RatioSection(kind="ratio", numerator=a, denominator=b) for _, a, b in found[:_MAX_RATIOS]
    ]
