# SPDX-License-Identifier: Apache-2.0
"""What later rounds of a task need to know of earlier ones; all of it follows from the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dao.records import Task
from rounds.state import Floats, Ints
from rounds.step import Displacement


@dataclass(frozen=True)
class PublishedRound:
    """What anyone could see after a round: well-formed updates, and the sum of those counted.

    `vectors` is float64[K + 1, length] in steps of the round's grid: the updates in the order of
    `addresses`, then the sum.
    """

    round_number: int
    addresses: tuple[str, ...]
    vectors: Floats

    @classmethod
    def of(cls, round_number: int, updates: Mapping[str, Ints], total: Floats) -> PublishedRound:
        """Of the well-formed updates by address, int64[length] each, and the sum of those counted,
        [length]."""
        rows = [*(each.astype(np.float64) for each in updates.values()), total]
        return cls(round_number, tuple(updates), np.stack(rows))

    def what(self, index: int) -> str:
        """The row's name, for people."""
        is_sum = index == len(self.addresses)
        what = "sum" if is_sum else f"update of {self.addresses[index]}"
        return f"{what} of round {self.round_number}"


@dataclass(frozen=True)
class History:
    """A task since its first round.

    Attributes:
        round_number: the last closed round; 0 before the first.
        displacements: of each contributor that is not judged out, since the first round.
        to_judge: the same over the rounds that the next judgement looks at: since the first round
            (newton), or since the last judgement (adam, whose long walks say nothing any more).
        noise: as `to_judge`, of the simulated noise players together ([M, d]); None where nobody
            is judged.
        judged_out: address to the round in which the public rows excluded it.
        surveys: address to the counts, float64[cells], of each survey that was counted.
        published: every closed round, for finding copies. It grows by 8 K d bytes a round.
    """

    round_number: int
    displacements: Mapping[str, Displacement]
    to_judge: Mapping[str, Displacement]
    noise: Displacement | None
    judged_out: Mapping[str, int]
    surveys: Mapping[str, Floats]
    published: tuple[PublishedRound, ...]

    @classmethod
    def start(cls, task: Task, roster: tuple[str, ...]) -> History:
        """Before the first round of a task with these addresses."""
        judged = bool(task.aggregation.judge_rounds)
        players = task.aggregation.noise_players
        nothing = {address: Displacement.zero(task) for address in roster}
        return cls(
            round_number=0,
            displacements=nothing,
            to_judge=nothing,
            noise=Displacement.zero(task, many=players) if judged else None,
            judged_out={},
            surveys={},
            published=(),
        )
