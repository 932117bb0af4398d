# SPDX-License-Identifier: Apache-2.0
"""The aggregation rule of a task: what a draft writes, and what fits no rule is an error."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from valuation_world import Blobs, sales

from dao.errors import RecordError, TaskError
from dao.records import MAX_RULE_NUMBERS, Task
from privacy import accounting
from valuation.blueprint import draw_blueprint
from valuation.build import fit_setup, validate_taskfile
from valuation.draft import draft_task
from valuation.features import MAX_FEATURES, FitPlan
from valuation.kernel import KernelFamily
from valuation.loading import load_family
from valuation.task_text import render_draft
from valuation.taskfile import parse_taskfile

PUBLIC = sales(60, seed=1)
BARE = PUBLIC.drop(columns=["lat", "lon"])
SAMPLED = "[privacy.sampling]\nrate = 0.2\nsteps = 5\neta = 1e-4\nlocal_units = 300\n\n[model]"


def text_of(frame: Any = PUBLIC, family: str = "kernel") -> str:
    return render_draft(
        draft_task(frame, target="price"),
        title="Sales",
        asset_class="homes",
        public_rows="public.csv",
        family=family,
    )


def errors_of(text: str, frame: Any = PUBLIC) -> tuple[str, ...]:
    data = None if frame is None else frame.to_csv(index=False).encode()
    return validate_taskfile(parse_taskfile(text), data, accounting=accounting).errors


@pytest.mark.parametrize(
    ("frame", "family", "rule", "survey_cells"),
    [
        (PUBLIC, "kernel", "wiener", 30),
        (PUBLIC, "mlp", "sum", 0),
        (BARE, "kernel", "sum", 0),
        (BARE, "mlp", "sum", 0),
    ],
)
def test_a_draft_with_places_weighs_updates_and_others_add_them_up(
    frame: Any, family: str, rule: str, survey_cells: int
) -> None:
    text = text_of(frame, family)
    assert parse_taskfile(text).aggregation.rule == rule
    assert errors_of(text, frame) == ()
    plan = draw_blueprint(
        parse_taskfile(text), frame.to_csv(index=False).encode(), accounting=accounting
    )
    assert (plan.policy.survey_noise_micro > 0) == (survey_cells > 0)


def test_a_draft_s_task_has_a_survey_and_a_calibration_beside_its_training(
    kernel_task: tuple[Task, Blobs],
) -> None:
    task = kernel_task[0]
    assert task.aggregation.rule == "wiener"
    assert task.aggregation.survey_cells == 30
    assert task.policy.rounds == 30
    assert task.total_rounds == 32
    # A coarser grid than that of the rule `sum`: a step goes through matrix products.
    assert task.model.model_grid_bits == 30


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({'family = "kernel"': 'family = "mlp"'}, "takes the family 'kernel'"),
        ({"[model]": SAMPLED}, "no privacy.sampling"),
        ({"epsilon = 8": "noise_multiplier = 3.5"}, "Give epsilon where"),
        (
            {
                "epsilon = 8": "noise_multiplier = 3.5",
                "[calibration]": "",
                "level = 0.9": "",
            },
            "Give epsilon where the task has sampling, a calibration or the rule 'wiener'",
        ),
        ({'rule = "wiener"': 'rule = "sum"\nsurvey_cells = 12'}, "survey_cells without a survey"),
    ],
    ids=["mlp", "sampling", "noise multiplier", "noise multiplier alone", "cells without"],
)
def test_a_rule_that_does_not_fit_is_an_error_with_a_way_out(
    changes: dict[str, str], words: str
) -> None:
    text = text_of()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    errors = errors_of(text)
    assert len(errors) == 1
    assert words in errors[0]
    # the same file with the rule that is named as the way out
    if "survey_cells" not in text:
        summed = errors_of(text.replace('rule = "wiener"', 'rule = "sum"'))
        assert not any("takes the family" in each for each in summed)


@pytest.mark.parametrize("cells", ["0", "1", "1025", '"many"'])
def test_cells_out_of_range_are_named(cells: str) -> None:
    text = text_of().replace('rule = "wiener"', f'rule = "wiener"\nsurvey_cells = {cells}')
    with pytest.raises(TaskError, match="aggregation.survey_cells"):
        parse_taskfile(text)


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(TaskError, match="aggregation.rule"):
        parse_taskfile(text_of().replace('"wiener"', '"median"'))


@pytest.mark.parametrize("most", [3, 50, 256])
def test_the_more_may_join_the_fewer_features(most: int) -> None:
    """So that the matrices of a full roster fit: K d^2 numbers, and hardly fewer than may be."""
    text = text_of().replace("max_contributors = 50", f"max_contributors = {most}")
    plan = draw_blueprint(
        parse_taskfile(text), PUBLIC.to_csv(index=False).encode(), accounting=accounting
    )
    assert most * fit_setup(plan).parameters ** 2 <= MAX_RULE_NUMBERS
    units = {"public_n": 100_000, "contributors": 3, "noise_multiplier": 1.0, "rounds": 30}
    largest = FitPlan(**units, survey_cells=30, matrices=most).largest
    assert most * largest**2 <= MAX_RULE_NUMBERS
    assert largest == MAX_FEATURES or most * (largest + 1) ** 2 > MAX_RULE_NUMBERS
    assert FitPlan(**units, matrices=most).largest == MAX_FEATURES


def test_more_contributors_than_a_task_admits_get_matrices_of_their_size() -> None:
    """As a forecast asks for them: a thousand, where the task file admits fifty."""
    text = text_of().replace("public_n = 10000", "public_n = 40000")
    assert "public_n = 40000" in text
    taskfile = parse_taskfile(text)
    privacy = taskfile.privacy.model_copy(update={"expected_contributors": 1_000})
    plan = draw_blueprint(
        taskfile.model_copy(update={"privacy": privacy}),
        PUBLIC.to_csv(index=False).encode(),
        accounting=accounting,
    )
    assert 1_000 * fit_setup(plan).parameters ** 2 <= MAX_RULE_NUMBERS


def changed(task: Task, **sections: dict[str, Any]) -> dict[str, Any]:
    """The task's fields with some replaced, section by section."""
    fields = task.model_dump(mode="json")
    for name, values in sections.items():
        fields[name] = {**fields[name], **values}
    return fields


SAMPLING = {"rate_micro": 10**5, "steps": 5, "eta_micro": 100, "local_units": 300}


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"model": {"family": "mlp", "hidden": [4]}}, "needs the family 'kernel'"),
        (
            {"policy": {"sampling": SAMPLING, "mechanism": "gaussian-poisson"}},
            "takes no sampled steps",
        ),
        ({"policy": {"survey_noise_micro": 0}}, "needs a survey"),
        ({"aggregation": {"survey_cells": 0}}, "needs the cells of a survey"),
        ({"aggregation": {"survey_cells": 1025}}, "survey_cells"),
        ({"aggregation": {"rule": "median"}}, "aggregation.rule"),
        (
            {"model": {"parameters": 2_000}, "terms": {"max_contributors": 31}},
            f"= {31 * 4_000_000} numbers, expected at most {MAX_RULE_NUMBERS}",
        ),
    ],
)
def test_a_record_whose_rule_does_not_fit_is_refused(
    kernel_task: tuple[Task, Blobs], sections: dict[str, Any], words: str
) -> None:
    task = kernel_task[0]
    assert Task.model_validate(changed(task)) == task
    fields = changed(task, **sections)
    with pytest.raises(ValueError, match=words.replace("(", ".")):
        Task.model_validate(fields)
    if "aggregation" not in sections:
        summed = changed(task, **sections, aggregation={"rule": "sum"})
        assert Task.model_validate(summed).aggregation.rule == "sum"


def test_a_record_with_one_number_less_fits(kernel_task: tuple[Task, Blobs]) -> None:
    fields = changed(kernel_task[0], model={"parameters": 2_000}, terms={"max_contributors": 30})
    assert Task.model_validate(fields).model.parameters == 2_000


def test_bytes_of_such_a_record_are_an_error_of_ours(kernel_task: tuple[Task, Blobs]) -> None:
    """Not pydantic's: whoever reads a task from the store gets a RecordError."""
    task = kernel_task[0]
    false = task.canonical().replace(b'"survey_cells":30', b'"survey_cells":0')
    assert false != task.canonical()
    with pytest.raises(RecordError, match="needs the cells of a survey"):
        Task.parse(false)


@pytest.mark.parametrize("cells", [12, 29, 31])
def test_a_set_up_with_other_cells_than_the_task_says_is_refused(
    kernel_task: tuple[Task, Blobs], cells: int
) -> None:
    """Before a vault counts its rows in cells that the task does not have."""
    task, blobs = kernel_task
    setup = blobs.content[task.model.setup.sha256]
    assert load_family(task, setup).parameters == task.model.parameters
    other = Task.model_validate(changed(task, aggregation={"survey_cells": cells}))
    with pytest.raises(RecordError, match=f"the survey has 30 cells, the task says {cells}"):
        load_family(other, setup)


def test_a_set_up_without_a_survey_is_none_of_the_rule_wiener(
    kernel_task: tuple[Task, Blobs],
) -> None:
    task, blobs = kernel_task
    family = load_family(task, blobs.content[task.model.setup.sha256])
    assert isinstance(family, KernelFamily)
    with pytest.raises(RecordError, match="the survey has 0 cells, the task says 30"):
        load_family(task, replace(family, survey=None).to_setup())
