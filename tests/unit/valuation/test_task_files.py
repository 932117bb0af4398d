# SPDX-License-Identifier: Apache-2.0
"""task.toml: what is wrong is named with its place; what is right becomes a record."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from valuation_world import HAND, Blobs, sales

from dao.errors import TaskError
from dao.records import Task
from privacy import accounting
from valuation.bare_text import render_bare, with_examples
from valuation.blueprint import draw_blueprint
from valuation.build import build_task, validate_taskfile
from valuation.draft import draft_task
from valuation.loading import load_family
from valuation.task_text import render_draft
from valuation.taskfile import SamplingSection, parse_taskfile, seconds_of, wei_of

ROOT = Path(__file__).resolve().parents[3]
PUBLIC = sales(60, seed=1)
CSV = PUBLIC.to_csv(index=False).encode()
TEXT = render_draft(
    draft_task(PUBLIC, target="price", currency="EUR"),
    title="Sales",
    asset_class="homes",
    public_rows="public.csv",
    coordinator="0x" + "Ab" * 20,
)


def problem(text: str) -> str:
    with pytest.raises(TaskError) as caught:
        parse_taskfile(text)
    return caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epsilon = 8", "epsilon = 0", "privacy.epsilon"),
        ("epsilon = 8", "epsilon = -1", "privacy.epsilon"),
        ("epsilon = 8", "epsilon = nan", "privacy.epsilon"),
        ("epsilon = 8", "noise_multiplier = 0", "privacy.noise_multiplier"),
        ("delta = 1e-5", "", "privacy.delta: missing"),
        ("delta = 1e-5", "delta = 0", "privacy.delta"),
        ("rounds = 30", "round = 30", "privacy.round: unknown field"),
        ("seed = 0", "seed = 0\nlearning_rate = 1", "model.learning_rate: unknown field"),
        ('scale = "log"', 'scale = "cubic"', "target.scale"),
        ('kind = "number"', 'kind = "picture"', "picture"),
        ("quorum_percent = 66.67", "quorum_percent = 50", "terms.quorum_percent"),
        ('coordinator = "0x', 'coordinator = "1x', "terms.coordinator"),
        ("[unit]", "[unit", "not a TOML file"),
    ],
)
def test_a_wrong_field_is_named(old: str, new: str, words: str) -> None:
    assert old in TEXT
    assert words in problem(TEXT.replace(old, new, 1))


def test_all_problems_are_told_at_once() -> None:
    text = TEXT.replace("epsilon = 8", "epsilon = 0").replace("rounds = 30", "rounds = 0")
    message = problem(text)
    assert "privacy.epsilon" in message
    assert "privacy.rounds" in message


def first_error(text: str, data: bytes | None = CSV) -> str:
    found = validate_taskfile(parse_taskfile(text), data, accounting=accounting)
    assert len(found.errors) == 1
    return found.errors[0]


def replaced_bounds(text: str, column: str, lower: str, upper: str) -> str:
    head, tail = text.split(f'column = "{column}"', 1)
    lines = tail.split("\n")
    for i, line in enumerate(lines[:8]):
        if line.startswith("lower ="):
            lines[i] = f"lower = {lower}"
        if line.startswith("upper ="):
            lines[i] = f"upper = {upper}"
    return head + f'column = "{column}"' + "\n".join(lines)


def test_what_cannot_be_built_is_an_error() -> None:
    assert "'area'" in first_error(replaced_bounds(TEXT, "area", "50", "50"))
    assert "above 0" in first_error(replaced_bounds(TEXT, "area", "0", "50"))
    assert "exactly one of" in first_error(
        TEXT.replace("epsilon = 8", "epsilon = 8\nnoise_multiplier = 2")
    )
    assert "missing column" in first_error(TEXT.replace('column = "price"', 'column = "prize"'))
    assert "missing column" in first_error(TEXT.replace('column = "area"', 'column = "aria"'))
    assert "needs public rows" in first_error(HAND.replace('"mlp"', '"kernel"'), None)
    assert "duration" in first_error(TEXT.replace('"3 days"', '"soon"'))
    assert "number of tokens" in first_error(TEXT.replace('"10000"', '"ten"'))
    assert "usable public rows" in first_error(replaced_bounds(TEXT, "area", "800", "900"))
    assert "not UTF-8" in first_error(TEXT, CSV + b"\xff\xfe\xfa")


def test_a_zero_range_of_the_target_is_an_error() -> None:
    assert "hold no range" in first_error(replaced_bounds(TEXT, "price", "70", "70"))


def test_voters_are_warned() -> None:
    text = TEXT.replace("delta = 1e-5", "delta = 1e-3").replace("rounds = 30", "rounds = 10")
    text = text.replace("epsilon = 8", "epsilon = 20")
    data = CSV + CSV.split(b"\n")[3] + b"\n"
    warnings = " | ".join(
        validate_taskfile(parse_taskfile(text), data, accounting=accounting).warnings
    )
    for words in ("1/N", "below 16", "hardly at all", "equal an earlier one"):
        assert words in warnings


def test_epsilon_is_what_was_asked_and_sigma_is_rounded_up() -> None:
    policy = draw_blueprint(parse_taskfile(TEXT), CSV, accounting=accounting).policy
    assert 7.9999 < policy.epsilon_micro / 1e6 <= 8.0
    text = TEXT.replace("epsilon = 8", "noise_multiplier = 3.5")
    with pytest.raises(TaskError, match="noise of full-batch training alone"):
        draw_blueprint(parse_taskfile(text), CSV, accounting=accounting)
    text = text.replace("[calibration]", "").replace("level = 0.9", "")
    with pytest.raises(TaskError, match="noise of full-batch training alone"):
        draw_blueprint(parse_taskfile(text), CSV, accounting=accounting)
    text = text.replace('rule = "wiener"', 'rule = "sum"')
    policy = draw_blueprint(parse_taskfile(text), CSV, accounting=accounting).policy
    assert policy.noise_multiplier_micro == 3_500_000
    exact = accounting.epsilon_of_mu(30**0.5 / 3.5, 1e-5)
    assert exact <= policy.epsilon_micro / 1e6 <= exact + 2e-6


def test_a_task_without_public_rows_is_built_from_bounds() -> None:
    blobs = Blobs()
    task = build_task(
        parse_taskfile(HAND), None, blobs.put, bundle_sha256="0" * 64, accounting=accounting
    )
    assert Task.parse(task.canonical()) == task
    assert task.public_rows is None
    assert task.aggregation.judge_rounds == ()
    assert task.policy.rounds == 300
    assert task.model.hidden == (8, 4)
    family = load_family(task, blobs.content[task.model.setup.sha256])
    assert family.judge_rows() is None
    assert family.parameters == (49 + 1) * 8 + 9 * 4 + 5
    state = blobs.content[task.model.initial.sha256]
    assert len(state) == 3 * 8 * family.parameters
    area = task.features[0]
    assert area.kind == "number"
    # The bounds' middle on the log scale, and a sixth of their range.
    assert area.center_micro == 4_605_170
    assert area.spread_micro == 767_528


def test_a_built_task_is_canonical_and_names_its_blobs(kernel_task: tuple[Task, Blobs]) -> None:
    task, blobs = kernel_task
    assert Task.parse(task.canonical()) == task
    assert task.public_rows is not None
    for ref in (task.model.setup, task.model.initial, task.public_rows):
        assert len(blobs.content[ref.sha256]) == ref.size
    assert task.aggregation.judge_rounds == (5, 10, 15, 20, 25, 30)
    assert task.terms.budget_wei == 10_000 * 10**18
    assert task.terms.quorum_bps == 6667
    assert len(task.canonical()) < 200_000


SAMPLING_LINE = re.compile(r"^# (?=\[privacy\.sampling\]|(rate|steps|eta|local_units) = )", re.M)


@pytest.mark.parametrize("bare", [False, True])
def test_a_written_file_shows_how_local_steps_are_asked_for(bare: bool) -> None:
    """Behind `#`; without it the block is one that a task of the rule `sum` can be built with."""
    text = TEXT
    if bare:
        words = {"title": "t", "asset_class": "a", "target": "price", "currency": "EUR"}
        text = with_examples(render_bare(**words, public_n=9_000, contributors=6))
    assert parse_taskfile(text).privacy.sampling is None
    asked = SAMPLING_LINE.sub("", text).replace('rule = "wiener"', 'rule = "sum"')
    taskfile = parse_taskfile(asked)
    sampling = taskfile.privacy.sampling
    assert sampling is not None
    assert set(SamplingSection.model_fields) == set(sampling.model_dump())
    units = taskfile.privacy.public_n // (taskfile.privacy.expected_contributors or 0)
    assert sampling.local_units == units
    policy = draw_blueprint(taskfile, None if bare else CSV, accounting=accounting).policy
    assert policy.mechanism == "gaussian-poisson"
    assert policy.epsilon_micro <= 8_000_000
    block = text[text.index("# For slow networks") : text.index("[model]")]
    assert 'filter = "rdp"' in block
    section = (ROOT / "docs/spec/privacy.md").read_text().split("\n## 5.")[1].split("\n## 6.")[0]
    assert "docs/spec/privacy.md, section 5" in block
    assert "**Sampled steps**" in section


def test_amounts_and_durations() -> None:
    assert wei_of("0.000000000000000001", "x") == 1
    assert wei_of(7, "x") == 7 * 10**18
    assert seconds_of("2 weeks", "x") == 1_209_600
    for amount in ("1e3", "-1", "1.0000000000000000001", ""):
        with pytest.raises(TaskError):
            wei_of(amount, "x")
    for text in ("0 days", "3days", "-1 day", "1 month"):
        with pytest.raises(TaskError):
            seconds_of(text, "x")
