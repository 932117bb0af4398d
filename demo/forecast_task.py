# SPDX-License-Identifier: Apache-2.0
"""From a task file to forecasts of it: what it would give, before anybody votes or joins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dao.errors import InputError
from demo.forecast_build import BuiltTask, build_at
from demo.forecast_outcome import Outcome, Trial
from demo.forecast_rows import Division, imagined_rows
from demo.forecast_settings import Setting
from valuation.encode import Encoded, encode
from valuation.public_fit import PublicFit
from valuation.rows import check_frame
from valuation.table import read_table
from valuation.taskfile import LocationSection, TaskFile


@dataclass(frozen=True)
class Forecast:
    """What a task would give at each setting.

    Attributes:
        imagined: whether the rows were made up from the public ones.
        refused_rows: given rows that break the task's schema.
        division: how the rows were divided among contributors.
    """

    imagined: bool
    refused_rows: int
    division: Division
    outcomes: tuple[Outcome, ...]


def forecast_task(
    taskfile: TaskFile,
    public_csv: bytes | None,
    settings: Sequence[Setting],
    *,
    data: tuple[str, bytes] | None = None,
    division: Division | None = None,
    seed: int = 0,
    payouts: bool | None = None,
    tell: Callable[[str], object] = lambda line: None,
) -> Forecast:
    """Forecast a task at each of `settings`, in their order.

    Args:
        public_csv: bytes of the public rows where the task file names some.
        data: name and bytes of a CSV or Parquet file of rows to try it with. Without it, rows are
            imagined (see `imagined_rows`).
        division: by default places where the task has a location, else sizes.
        seed: of the imagined rows, the division and the noise.
        payouts: whether to score and settle too; by default for the kernel family, where scores
            have a closed form.
        tell: told what is being done.

    Raises:
        TaskError, InputError: the task file, the rows, a setting or the division is wrong.
    """
    if public_csv is None and data is None:
        raise InputError(
            "there are no public rows to imagine others from", hint="Give rows with --data."
        )
    located = any(isinstance(feature, LocationSection) for feature in taskfile.feature)
    if division == "places" and not located:
        raise InputError(
            "the task has no location, so its rows cannot be divided by places",
            hint="Give --division sizes or alike.",
        )
    division = division or ("places" if located else "sizes")
    paid = taskfile.model.family == "kernel" if payouts is None else payouts
    found: dict[Setting, Outcome] = {}
    trial, refused, fits = None, 0, PublicFit()
    # Features of the setting with the least noise serve the others: it comes first.
    for place, setting in enumerate(sorted(settings, key=_noisiness), start=1):
        here = f"setting {place} of {len(settings)}: " if len(settings) > 1 else ""
        tell(f"{here}fitting the public set-up")
        built = build_at(taskfile, public_csv, setting, fits=fits)
        if trial is None:
            tell(f"{here}preparing rows")
            rows, refused = _rows(built, public_csv, data, seed=seed)
            trial = Trial(rows, seed=seed, division=division, settings=len(settings))
        told = _Rounds(tell, f"{here}round {{}} of {built.task.total_rounds}")
        found[setting] = trial.outcome(built, payouts=paid, on_round=told)
    return Forecast(
        imagined=data is None,
        refused_rows=refused,
        division=division,
        outcomes=tuple(found[setting] for setting in settings),
    )


@dataclass(frozen=True)
class _Rounds:
    tell: Callable[[str], object]
    line: str

    def __call__(self, number: int) -> None:
        self.tell(self.line.format(number))


def _noisiness(setting: Setting) -> tuple[int, float]:
    noise = setting.noise_multiplier or 1.0 / (setting.epsilon or 1.0)
    return setting.contributors, noise


def _rows(
    built: BuiltTask, public_csv: bytes | None, data: tuple[str, bytes] | None, *, seed: int
) -> tuple[Encoded, int]:
    """Rows to train and test on, and how many of the given ones were refused."""
    task, process = built.task, built.family.process
    name, content = data if data is not None else ("public rows", public_csv or b"")
    frame = read_table(content, name=name)
    check = check_frame(task, frame, with_target=True)
    rows = encode(task, frame[check.accepted], with_target=True)
    if data is not None:
        return rows, int((~check.accepted).sum())
    assert process is not None, "a task with public rows has a public process"
    return imagined_rows(task, process, rows, seed=seed), 0
