# SPDX-License-Identifier: Apache-2.0
"""Task files that name the rule `nnm-trimmed-mean`, and records of such tasks."""

from __future__ import annotations

import pytest

from dao.errors import TaskError
from dao.records import Task
from tests.unit.rounds.round_world import make_task
from tests.unit.valuation.test_task_rules import PUBLIC, changed, errors_of, text_of
from valuation.taskfile import parse_taskfile
from valuation.terms import aggregation_of

RULE = 'rule = "nnm-trimmed-mean"'


def _text(lines: str = RULE, *, fewest: int = 11) -> str:
    text = text_of()
    for old, new in (
        ('rule = "wiener"', lines),
        ("min_contributors = 3", f"min_contributors = {fewest}"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("lines", "fewest", "tolerated"),
    [(RULE, 11, 2), (RULE, 3, 1), (f"{RULE}\ntolerated = 5", 11, 5), ('rule = "sum"', 11, 0)],
)
def test_a_file_says_how_many_attackers_are_tolerated_or_a_fifth_are(
    lines: str, fewest: int, tolerated: int
) -> None:
    text = _text(lines, fewest=fewest)
    aggregation = aggregation_of(parse_taskfile(text), 30)
    assert (aggregation.tolerated, aggregation.survey_cells) == (tolerated, 0)
    assert errors_of(text, PUBLIC) == ()


@pytest.mark.parametrize(
    ("lines", "fewest", "words"),
    [
        (f"{RULE}\ntolerated = 6", 11, "tolerated is 6 of 11 contributors"),
        (RULE, 2, "tolerated is 1 of 2 contributors"),
        ('rule = "sum"\ntolerated = 1', 11, "which takes none"),
        ('rule = "wiener"\ntolerated = 1', 11, "which takes none"),
        (f"{RULE}\nsurvey_cells = 12", 11, "survey_cells without a survey"),
    ],
)
def test_a_number_that_does_not_fit_is_an_error_with_a_way_out(
    lines: str, fewest: int, words: str
) -> None:
    with pytest.raises(TaskError, match=words) as caught:
        aggregation_of(parse_taskfile(_text(lines, fewest=fewest)), 30)
    assert caught.value.hint


@pytest.mark.parametrize("number", ["0", "128", '"two"'])
def test_a_number_out_of_range_is_named(number: str) -> None:
    with pytest.raises(TaskError, match="aggregation.tolerated"):
        parse_taskfile(_text(f"{RULE}\ntolerated = {number}"))


@pytest.mark.parametrize(
    ("rule", "tolerated", "fewest", "fits"),
    [
        ("nnm-trimmed-mean", 1, 3, True),
        ("nnm-trimmed-mean", 4, 9, True),
        ("nnm-trimmed-mean", 4, 8, False),
        ("nnm-trimmed-mean", 0, 8, False),
        ("sum", 0, 1, True),
        ("sum", 1, 8, False),
        ("wiener", 1, 8, False),
    ],
)
def test_a_record_tolerates_fewer_than_half_of_the_fewest(
    rule: str, tolerated: int, fewest: int, fits: bool
) -> None:
    fields = changed(
        make_task(parameters=4),
        aggregation={"rule": rule, "tolerated": tolerated},
        terms={"min_contributors": fewest},
    )
    if fits:
        assert Task.model_validate(fields).aggregation.tolerated == tolerated
    else:
        with pytest.raises(ValueError, match="tolerate"):
            Task.model_validate(fields)
