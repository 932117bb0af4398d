# SPDX-License-Identifier: Apache-2.0
"""The records of a task file's aggregation and terms: integers for percents, tokens and days."""

from __future__ import annotations

import itertools
import math

from dao.errors import TaskError
from dao.records import Aggregation, Calibration, Sampling, Terms
from valuation.calibration import calibration_plan, layout_of, standard_edges_micro
from valuation.taskfile import LocationSection, SamplingSection, TaskFile, seconds_of, wei_of

MEDIAN_NORM_FACTOR, UNSIZED_NORM_FACTOR = 3.0, 24.0
SURVEY_CELLS = 30
"""More cells tell where rows are more finely, in more noise each."""


def aggregation_of(taskfile: TaskFile, rounds: int) -> Aggregation:
    """Defaults: judge six times where there are public rows; nobody brings more than N units.

    Raises:
        TaskError: judging rounds that do not rise or pass the last round, or a rule that does not
            fit the task.
    """
    section = taskfile.aggregation
    judge = section.judge_rounds
    if judge is None:
        step = max(rounds // 6, 1)
        judge = tuple(range(step, rounds + 1, step)) if taskfile.public_rows else ()
    if any(b <= a for a, b in itertools.pairwise(judge)) or (judge and judge[-1] > rounds):
        raise TaskError(f"aggregation.judge_rounds must rise and not pass the {rounds} rounds")
    return Aggregation(
        rule=section.rule,
        survey_cells=survey_cells_of(taskfile),
        tolerated=tolerated_of(taskfile),
        max_units=section.max_units or taskfile.privacy.public_n,
        median_norm_factor_micro=round(median_norm_factor_of(taskfile) * 1e6),
        copy_correlation_micro=round(section.copy_correlation * 1e6),
        judge_rounds=judge,
        judge_noise_factor_micro=round(section.judge_noise_factor * 1e6),
        noise_players=section.noise_players,
    )


def median_norm_factor_of(taskfile: TaskFile) -> float:
    """How many times the median length an update may have beyond its noise, before it is shortened.

    With a survey lengths are compared per unit claimed, and honest ones differ by at most 2 times
    (measured on other seeds than those of docs/accuracy.md, 10 and 50 contributors by geography);
    without one they differ by as much as sizes do.
    """
    section = taskfile.aggregation
    usual = MEDIAN_NORM_FACTOR if section.rule == "wiener" else UNSIZED_NORM_FACTOR
    return section.median_norm_factor or usual


def tolerated_of(taskfile: TaskFile) -> int:
    """Attackers that the rule `nnm-trimmed-mean` withstands; 0 for the others.

    Raises:
        TaskError: the rule takes no such number, or as many as half of the fewest contributors.
    """
    section, fewest = taskfile.aggregation, taskfile.terms.min_contributors
    if section.rule != "nnm-trimmed-mean":
        if section.tolerated is not None:
            raise TaskError(
                f"aggregation.tolerated with the rule '{section.rule}', which takes none",
                hint="Leave it out, or use rule = 'nnm-trimmed-mean'.",
            )
        return 0
    tolerated = section.tolerated or max(1, fewest // 5)
    if 2 * tolerated >= fewest:
        raise TaskError(
            f"aggregation.tolerated is {tolerated} of {fewest} contributors, expected fewer than"
            " half of terms.min_contributors",
            hint=f"Raise min_contributors to {2 * tolerated + 1}, or tolerate fewer.",
        )
    return tolerated


def survey_cells_of(taskfile: TaskFile) -> int:
    """Cells of the survey; 0 for rules that need none.

    Raises:
        TaskError: the rule does not fit the task.
    """
    section = taskfile.aggregation
    if section.rule != "wiener":
        if section.survey_cells is not None:
            raise TaskError(
                "aggregation.survey_cells without a survey",
                hint="Leave it out, or use rule = 'wiener'.",
            )
        return 0
    if taskfile.model.family != "kernel" or taskfile.privacy.sampling is not None:
        raise TaskError(
            "aggregation.rule 'wiener' takes the family 'kernel' and no privacy.sampling",
            hint="Use rule = 'sum'.",
        )
    return section.survey_cells or SURVEY_CELLS


def sampling_of(section: SamplingSection) -> Sampling:
    """Local steps in whole millionths."""
    return Sampling(
        rate_micro=max(1, round(section.rate * 1e6)),
        steps=section.steps,
        eta_micro=max(1, round(section.eta * 1e6)),
        local_units=section.local_units,
    )


def calibration_of(taskfile: TaskFile, *, mu: float) -> Calibration | None:
    """None where the file has no calibration, or so few units are expected that none is worth it.

    Args:
        mu: Gaussian-DP parameter of the whole task.

    Raises:
        TaskError: edges that do not rise, or groups that stand for nothing.
    """
    section = taskfile.calibration
    if section is None:
        return None
    planned = calibration_plan(
        units=taskfile.privacy.public_n,
        contributors=taskfile.privacy.expected_contributors or taskfile.terms.min_contributors,
        mu=mu,
        public_rows=taskfile.public_rows is not None,
        located=any(isinstance(each, LocationSection) for each in taskfile.feature),
    )
    if planned is None and section.share is None:
        return None
    share, groups = section.share, section.groups
    if planned is not None:
        share = share or planned.share_micro / 1e6
        groups = groups or planned.groups
    edges = standard_edges_micro()
    if section.edges is not None:
        edges = tuple(round(edge * 1e6) for edge in section.edges)
    found = Calibration(
        share_micro=round((share or 0.0) * 1e6),
        groups=groups or 1,
        edges_micro=edges,
        level_micro=round(section.level * 1e6),
    )
    layout_of(found)
    return found


def terms_of(taskfile: TaskFile) -> Terms:
    """Money in 1e-18 token, durations in seconds.

    Raises:
        TaskError: an amount or a duration in another notation, or terms that contradict.
    """
    terms = taskfile.terms
    if terms.min_contributors > terms.max_contributors:
        raise TaskError("terms: min_contributors is above max_contributors")
    join = seconds_of(terms.join_time, "terms.join_time")
    deadline = seconds_of(terms.deadline, "terms.deadline")
    if deadline <= join:
        raise TaskError("terms: the deadline must lie after the join time")
    return Terms(
        coordinator=terms.coordinator.lower(),
        coordinator_bond_wei=wei_of(terms.coordinator_bond, "terms.coordinator_bond"),
        budget_wei=wei_of(terms.budget, "terms.budget"),
        stake_wei=wei_of(terms.stake, "terms.stake"),
        part_bond_wei=wei_of(terms.part_bond, "terms.part_bond"),
        challenge_bond_wei=wei_of(terms.challenge_bond, "terms.challenge_bond"),
        min_contributors=terms.min_contributors,
        max_contributors=terms.max_contributors,
        quorum_bps=math.ceil(round(terms.quorum_percent * 100, 6)),
        checkpoint_length=terms.checkpoint_length,
        join_seconds=join,
        deadline_seconds=deadline,
        reveal_seconds=seconds_of(terms.reveal_time, "terms.reveal_time"),
        challenge_seconds=seconds_of(terms.challenge_time, "terms.challenge_time"),
        allow_root="0x" + terms.allow_root.removeprefix("0x"),
        answer_grid_millis=terms.answer_grid_millis,
    )
