# SPDX-License-Identifier: Apache-2.0
"""Writing task.toml: every line that a person may change, with what it means."""

from __future__ import annotations

import json

from valuation.draft import Draft
from valuation.taskfile import (
    ZERO_ACCOUNT,
    CategorySection,
    DateSection,
    FeatureSection,
    LocationSection,
    NumberSection,
    RatioSection,
)

SUM_RULE = ["# sum: updates are added up.", 'rule = "sum"']


def render_draft(
    draft: Draft,
    *,
    title: str,
    asset_class: str,
    public_rows: str,
    family: str = "kernel",
    public_n: int = 10_000,
    contributors: int = 10,
    epsilon: float = 8.0,
    coordinator: str = ZERO_ACCOUNT,
) -> str:
    """The text of a task.toml that `taskfile.parse_taskfile` reads.

    Args:
        public_rows: path of the public rows, relative to where the text will be kept.
        public_n: how many units are expected in all contributors together.
    """
    target = draft.target
    lines = [
        *title_lines(
            title, asset_class, "Drafted from public rows; check every bound before you propose it."
        ),
        "# Every row of this file is public. It shapes features, scaling and the starting model.",
        f"public_rows = {toml_text(public_rows)}",
        "",
        "[target]",
        f"column = {toml_text(target.column)}",
        f"currency = {toml_text(target.currency)}",
        "# log: errors count in per cent; linear: in the currency.",
        f"scale = {toml_text(target.scale)}",
        "# Rows outside the bounds are refused; estimates stay within them.",
        f"lower = {toml_number(target.lower)}",
        f"upper = {toml_number(target.upper)}",
    ]
    if draft.remarks:
        lines += ["", *(f"# {_one_line(remark)}" for remark in draft.remarks)]
    for feature in draft.features:
        lines += ["", "[[feature]]", *_feature(feature)]
    lines += settings_lines(
        family=family,
        rounds=30 if family == "kernel" else 150,
        rule=_rule(draft, family),
        public_n=public_n,
        contributors=contributors,
        epsilon=epsilon,
        coordinator=coordinator,
    )
    return "\n".join(lines)


def title_lines(title: str, asset_class: str, origin: str) -> list[str]:
    """The head of a task file; `origin` says where it comes from and what to do with it."""
    return [
        "# A task of Covalue. Once the vote has passed, nothing in it can change.",
        f"# {origin}",
        "",
        f"title = {toml_text(title)}",
        f"asset_class = {toml_text(asset_class)}",
        "# Licence under which the trained weights are published.",
        'licence = "CC-BY-NC-4.0; commercial use through the API"',
    ]


def settings_lines(
    *,
    family: str,
    rounds: int,
    rule: list[str],
    public_n: int,
    contributors: int,
    epsilon: float,
    coordinator: str,
) -> list[str]:
    """What follows the features in a task file: unit, privacy, model, aggregation, terms.

    Args:
        rule: the lines of the aggregation rule.
    """
    return [
        "",
        "[unit]",
        "# What one record means for privacy: 'row', or 'column' for all rows of one property or",
        "# owner (then name the column, and how many rows of one unit count at most).",
        'kind = "row"',
        "max_rows = 1",
        "",
        "[privacy]",
        "# What the whole task may reveal of one unit; lower is safer.",
        f"epsilon = {toml_number(epsilon)}",
        "# Probability of a worse loss; keep it well below 1 / public_n.",
        "delta = 1e-6" if public_n >= 100_000 else "delta = 1e-5",
        f"rounds = {rounds}",
        "# How many units all contributors are expected to bring together (a public guess).",
        f"public_n = {public_n}",
        f"expected_contributors = {contributors}",
        *_sampling(units=max(1, public_n // contributors)),
        "",
        "[model]",
        "# kernel: needs public rows, the better choice with them. mlp: a small neural network.",
        f"family = {toml_text(family)}",
        "# Widths of the hidden layers (mlp only).",
        "hidden = [32]",
        "# Of landmarks and initial weights.",
        "seed = 0",
        "",
        "[aggregation]",
        *rule,
        "# An update that is larger than so many units can make it is excluded.",
        f"max_units = {public_n}",
        "",
        "[calibration]",
        "# A share of every contributor's units is kept out of training: from noisy histograms of",
        "# what the model misses there follow intervals and the confidence of each answer.",
        "# Share of the prices that shall lie within the interval.",
        "level = 0.9",
        "",
        "[terms]",
        "# The account that will coordinate.",
        f"coordinator = {toml_text(coordinator)}",
        "# Tokens.",
        'coordinator_bond = "1000"',
        'budget = "10000"',
        'stake = "100"',
        'part_bond = "100"',
        'challenge_bond = "100"',
        f"min_contributors = {min(3, contributors)}",
        f"max_contributors = {max(50, contributors)}",
        "# Share of the roster that must co-sign a checkpoint, at least two thirds.",
        "quorum_percent = 66.67",
        "# Rounds between two checkpoints on chain; a survey (rule wiener) and a calibration are",
        "# one round more each.",
        "checkpoint_length = 6",
        'join_time = "3 days"',
        'deadline = "30 days"',
        'reveal_time = "2 days"',
        'challenge_time = "3 days"',
        "",
        "# Sealed validation rows: at least two parts, with different holders.",
        "# [[part]]",
        '# holder = "0x..."',
        '# commitment = "..."',
        "# `covalue task seal ROWS.csv --holder 0x...` writes these lines (docs/SPEC.md).",
        "",
    ]


def _sampling(*, units: int) -> list[str]:
    """Local steps, behind `#`: few tasks want them. `units` is what a contributor may bring."""
    return [
        "",
        "# For slow networks: between two rounds each contributor takes several noisy steps on",
        "# its own copy of the model, each on a sample of its units. Needs the aggregation rule",
        '# sum, and vaults with filter = "rdp" in their settings ([vault]). Formulas:',
        "# docs/spec/privacy.md, section 5. At the same epsilon it costs accuracy: training can",
        "# even end below where it starts, at what the public rows alone give. `covalue task",
        "# forecast` warns of that. Without this block a round is one step on all units.",
        "# [privacy.sampling]",
        "# The chance of each unit to take part in a step.",
        "# rate = 0.1",
        "# Steps in a round, at most 256. The epsilon above pays for all steps of all rounds.",
        "# steps = 5",
        "# Size of a local step, on the noisy sum divided by rate * local_units.",
        "# eta = 0.01",
        "# How many units one contributor is expected to bring (a public guess).",
        f"# local_units = {units}",
    ]


def _rule(draft: Draft, family: str) -> list[str]:
    """What draws on the place of a row needs one: elsewhere updates are added up."""
    located = any(isinstance(feature, LocationSection) for feature in draft.features)
    if family != "kernel" or not located:
        return SUM_RULE
    return [
        "# wiener: each contributor first sends a noisy histogram of where its units lie, and its",
        "# updates then count where they can tell something. sum: updates are added up.",
        'rule = "wiener"',
    ]


def _feature(feature: FeatureSection) -> list[str]:
    match feature:
        case NumberSection():
            return [
                'kind = "number"',
                f"column = {toml_text(feature.column)}",
                f"scale = {toml_text(feature.scale)}",
                f"lower = {toml_number(feature.lower)}",
                f"upper = {toml_number(feature.upper)}",
                f"missing = {toml_text(feature.missing)}",
            ]
        case RatioSection():
            return [
                "# The logarithm of one number over the other; both move together.",
                'kind = "ratio"',
                f"numerator = {toml_text(feature.numerator)}",
                f"denominator = {toml_text(feature.denominator)}",
            ]
        case CategorySection():
            return [
                'kind = "category"',
                f"column = {toml_text(feature.column)}",
                f"values = [{', '.join(toml_text(value) for value in feature.values)}]",
                "# Whether unknown and empty values are taken as one more value, or refused.",
                f"other = {'true' if feature.other else 'false'}",
            ]
        case DateSection():
            return [
                'kind = "date"',
                f"column = {toml_text(feature.column)}",
                f"first = {feature.first.isoformat()}",
                f"last = {feature.last.isoformat()}",
            ]
        case LocationSection():
            return [
                'kind = "location"',
                f"latitude = {toml_text(feature.latitude)}",
                f"longitude = {toml_text(feature.longitude)}",
                f"south = {toml_number(feature.south)}",
                f"north = {toml_number(feature.north)}",
                f"west = {toml_number(feature.west)}",
                f"east = {toml_number(feature.east)}",
                *_places(feature),
            ]


def _places(feature: LocationSection) -> list[str]:
    lines: list[str] = []
    if feature.center is not None:
        latitude, longitude = feature.center
        lines.append(f"center = [{toml_number(latitude)}, {toml_number(longitude)}]")
    if feature.scale_metres is not None:
        lines.append("# Median distance from the centre.")
        lines.append(f"scale_metres = {feature.scale_metres}")
    if feature.bandwidths_metres is not None:
        lines.append("# Lengths over which prices change (mlp only).")
        lines.append(f"bandwidths_metres = [{', '.join(map(str, feature.bandwidths_metres))}]")
    return lines


def toml_text(value: str) -> str:
    """A TOML basic string of `value`; JSON's escapes are a subset of TOML's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_number(value: float) -> str:
    """Plain digits, with a point where it is no whole number."""
    if abs(value) < 1e15 and value == int(value):  # NaN and infinity are no integers
        return str(int(value))
    return repr(value)


def _one_line(text: str) -> str:
    return "".join(mark if mark.isprintable() else " " for mark in text)
