# SPDX-License-Identifier: Apache-2.0
"""What a forecast tells while it trains: it counts all rounds of a task, not the training rounds
alone."""

from __future__ import annotations

import re

from demo.forecast_settings import settings_of
from demo.forecast_task import forecast_task
from tests.unit.valuation.valuation_world import HAND, sales
from valuation.taskfile import parse_taskfile


def test_the_last_round_that_is_told_of_is_the_tasks() -> None:
    taskfile = parse_taskfile(HAND.replace("[terms]", "[calibration]\nlevel = 0.9\n[terms]"))
    told: list[str] = []
    found = forecast_task(
        taskfile,
        None,
        settings_of(taskfile, contributors=[2], rounds=[3]),
        data=("mine.csv", sales(200, seed=9).to_csv(index=False).encode()),
        payouts=False,
        tell=told.append,
    )
    assert found.outcomes[0].task.policy.calibration_noise_micro > 0, "one round more"
    rounds = [match for line in told if (match := re.fullmatch(r"round (\d+) of (\d+)", line))]
    assert {match[2] for match in rounds} == {"4"}
    assert [match[1] for match in rounds][:3] == ["1", "2", "3"]
    assert len(rounds) <= 4
