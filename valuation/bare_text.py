# SPDX-License-Identifier: Apache-2.0
"""A task.toml for those who have no public rows: what a draft would find out is left to fill in.

What must be filled in stands there as an example behind a `#` without a blank, so that a file that
nobody filled in is no task: `covalue task validate` names what is missing.
"""

from __future__ import annotations

import re

from valuation.blueprint import BARE_ROUNDS
from valuation.task_text import SUM_RULE, settings_lines, title_lines, toml_text
from valuation.taskfile import ZERO_ACCOUNT

_FEATURES = """
# Features: one block each, as many as wanted. Lines that begin with # and no blank are examples:
# take the # away, and put in your own column and bounds. Leave out the kinds that you do not need.
#
# Rows outside the bounds are refused. Without public rows the bounds are also the scale: what the
# model sees is how far a value lies from their middle, in sixths of their range. So let them be as
# narrow as honest rows allow.

# A number. log: for sizes of which some are many times others (lower above 0); log1p: for counts
# from 0 of which a few are large; linear: for the rest.
#[[feature]]
#kind = "number"
#column = "floor_area"
#scale = "log"
#lower = 10
#upper = 1000
# Of an empty cell: refuse the row, or "indicate" that it is empty.
#missing = "refuse"
# Where most values lie far from the middle of the bounds: their middle and spread, on the scale
# (log: natural logarithms). Say only what is publicly known.
#center = 4.5
#spread = 0.5

#[[feature]]
#kind = "number"
#column = "rooms"
#scale = "linear"
#lower = 1
#upper = 20
#missing = "indicate"

# The logarithm of one number over another; both are features with a lower bound above 0.
#[[feature]]
#kind = "ratio"
#numerator = "floor_area"
#denominator = "rooms"

# One of some words.
#[[feature]]
#kind = "category"
#column = "building_type"
#values = ["house", "flat"]
# Whether unknown and empty values are taken as one more value, or refused.
#other = true

# A day, written YYYY-MM-DD; no cell may be empty.
#[[feature]]
#kind = "date"
#column = "sold_on"
#first = 2015-01-01
#last = 2030-12-31

# A place in degrees; at most one.
#[[feature]]
#kind = "location"
#latitude = "latitude"
#longitude = "longitude"
#south = 47.2
#north = 55.1
#west = 5.8
#east = 15.1
""".strip("\n").split("\n")


def render_bare(
    *,
    title: str,
    asset_class: str,
    target: str,
    currency: str,
    public_n: int = 10_000,
    contributors: int = 10,
    epsilon: float = 8.0,
    coordinator: str = ZERO_ACCOUNT,
) -> str:
    """The text of a task.toml without public rows, in which the target's bounds and the features
    are still examples (`with_examples` makes them count)."""
    lines = [
        *title_lines(
            title,
            asset_class,
            "It has no public rows: all that is known of the data is what you write here.",
        ),
        "",
        "[target]",
        f"column = {toml_text(target)}",
        f"currency = {toml_text(currency)}",
        "# log: errors count in per cent (prices above 0); linear: in the currency.",
        'scale = "log"',
        "# Rows outside the bounds are refused; estimates stay within them. Fill in both.",
        "#lower = 20000",
        "#upper = 5000000",
        "",
        *_FEATURES,
        *settings_lines(
            family="mlp",
            rounds=BARE_ROUNDS,
            rule=SUM_RULE,
            public_n=public_n,
            contributors=contributors,
            epsilon=epsilon,
            coordinator=coordinator,
        ),
    ]
    return "\n".join(lines)


def with_examples(text: str) -> str:
    """The same file with its examples taken at their word."""
    return re.sub(r"^#(?=[^# \n])", "", text, flags=re.MULTILINE)
