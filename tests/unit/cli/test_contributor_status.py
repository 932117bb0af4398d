# SPDX-License-Identifier: Apache-2.0
"""What `contributor status` draws of a budget, and how epsilons are rounded for people."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from cli.contributor_status import bar, tell_status
from cli.task_cost import show_epsilon
from fl_client.budget import Budget, TaskBudget


@pytest.mark.parametrize(
    ("spent", "charged", "drawn"),
    [
        (0, 0, (0, 0)),
        (1, 1, (1, 0)),
        (250_000, 500_000, (10, 10)),
        (500_000, 500_001, (20, 1)),
        (1_000_000, 1_000_000, (40, 0)),
        (1_500_000, 2_000_000, (40, 0)),
        (0, 1, (0, 1)),
        (1, 2, (1, 1)),
        (999_998, 999_999, (38, 1)),
        (999_999, 1_000_000, (39, 1)),
    ],
)
def test_a_bar_shows_spent_reserved_and_left_and_never_hides_a_little(
    spent: int, charged: int, drawn: tuple[int, int]
) -> None:
    blocks, _, number = bar(spent, charged, width=40).plain.partition(" ")
    assert (blocks.count("█"), blocks.count("▒")) == drawn
    assert len(blocks) == 40
    assert number == f"{charged / 10_000:.1f} %"


def test_spent_rounds_up_and_left_rounds_down() -> None:
    assert show_epsilon(1_234_001) == "1.235"
    assert show_epsilon(1_234_999, down=True) == "1.234"
    assert show_epsilon(8_000_000) == show_epsilon(8_000_000, down=True) == "8"
    assert show_epsilon(0) == "0"


def two_tasks() -> tuple[dict[str, Any], Budget]:
    """A task that runs and one that is over, of a fifth of the budget."""
    running = TaskBudget("aa" * 32, 8_000_000, 3_100_000, 10_000_000, 30, 6, False, 52_000, 200_000)
    ended = TaskBudget("bb" * 32, 4_000_000, 1_000_000, 10_000_000, 30, 2, True, 9_000, 9_000)
    budget = Budget(
        filter="gdp",
        limit_epsilon_micro=20_000_000,
        delta_e12=10_000_000,
        spent_epsilon_micro=3_300_500,
        charged_epsilon_micro=8_100_000,
        left_epsilon_micro=17_345_999,
        spent_share_micro=61_000,
        charged_share_micro=209_000,
        tasks=(running, ended),
    )
    told = [
        {"task": 3, "title": "Homes of a town", "can_give_back": False, "owed_wei": "0"},
        {
            "task": 1,
            "title": "Old homes\x1b[31m",
            "can_give_back": True,
            "owed_wei": "5" + "0" * 17,
        },
    ]
    found = {
        "account": "0x" + "11" * 20,
        "registered": True,
        "stake_wei": str(10**18),
        "locked_stake_wei": "0",
        "open_tasks": [3],
        "tasks": told,
        "not_looked_at": ["task 2: nobody has it"],
    }
    return found, budget


def drawn_at(width: int, found: dict[str, Any], budget: Budget) -> list[str]:
    out = io.StringIO()
    tell_status(Console(file=out, width=width), found, budget)
    return out.getvalue().splitlines()


def test_each_task_has_a_line_with_its_numbers() -> None:
    lines = drawn_at(120, *two_tasks())
    (first,) = (line for line in lines if "3 Homes of a town" in line)
    assert first.split()[5:9] == ["6/30", "3.1", "8", "█" * 3 + "▒" * 5 + "░" * 32]
    (second,) = (line for line in lines if "1 Old homes" in line)
    assert "4 (ended)" in second
    assert not any("\x1b" in line for line in lines), "a title cannot paint the terminal"
    text = " ".join(lines)
    assert "spent 3.301; 17.345 is the most that one more task may cost" in text
    assert "--give-back" in text
    assert "task 1 owes you 0.5 COVAL: covalue contributor withdraw-owed 1" in text
    assert "task 3 owes" not in text
    assert "not held against the ledger: task 2: nobody has it" in text


@pytest.mark.parametrize("width", [70, 80, 100])
def test_a_usual_terminal_shows_each_bar_whole_with_its_number(width: int) -> None:
    found, budget = two_tasks()
    found["tasks"][0]["title"] = "Residential sales of the county, 2019 to 2024"
    lines = drawn_at(width, found, budget)
    first, last = (
        next(at for at, line in enumerate(lines) if words in line)
        for words in ("share of the budget", "█ spent")
    )
    table = lines[first:last]
    bars = [re.search("(█+)(▒*)(░+) ([0-9.]+) %$", line.rstrip()) for line in table]
    shares = [bar for bar in bars if bar is not None]
    assert [bar[4] for bar in shares] == ["20.0", "0.9", "20.9"]
    assert len({len(bar[1] + bar[2] + bar[3]) for bar in shares}) == 1
    assert all(len(bar[3]) > len(bar[1] + bar[2]) for bar in shares), "four fifths are left"
    assert all(len(line) <= width for line in table)
