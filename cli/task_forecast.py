# SPDX-License-Identifier: Apache-2.0
"""`covalue task forecast`: what a task would give, before anybody votes or joins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.output import JsonOption, console, emit, guard
from cli.task_files import TaskFileArgument, load_taskfile, read_file
from dao.errors import InputError


@guard
def forecast(
    file: TaskFileArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="ROWS", help="CSV or Parquet rows to try it with; they stay in this process."
        ),
    ] = None,
    contributors: Annotated[
        str | None, typer.Option(metavar="N,...", help="How many contributors, such as 5,10,20,50.")
    ] = None,
    epsilon: Annotated[
        str | None, typer.Option(metavar="E,...", help="What a unit may lose, such as 1,2,4,8.")
    ] = None,
    noise: Annotated[
        str | None, typer.Option(metavar="S,...", help="Noise multipliers, in place of epsilon.")
    ] = None,
    rounds: Annotated[
        str | None, typer.Option(metavar="T,...", help="Training rounds, such as 10,30,100.")
    ] = None,
    division: Annotated[
        Literal["places", "sizes", "alike"] | None,
        typer.Option(
            help="Who holds which rows: stretches of the map, or random rows of many or of one "
            "size. Default: places where there is a location, else sizes."
        ),
    ] = None,
    payouts: Annotated[
        bool | None,
        typer.Option(
            "--payouts/--no-payouts",
            help="Score and settle too. Default: for the kernel family; minutes for others.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the division and of the noise.")] = 0,
    picture: Annotated[
        Path | None, typer.Option("--out", help="Write pictures to this .html or .png file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train the task in this process, and say what accuracy, epsilon and payouts to expect.

    With --data a fifth of those rows is kept for the test and the rest is divided among the
    contributors. Without, rows are imagined: as many as public_n, in a world such as the public
    rows suggest; real rows are rougher, so that is an upper estimate.

    Where several numbers are given, every combination is tried on the same rows: more contributors
    then hold fewer each.
    """
    from cli.forecast_table import forecast_as_json, tell_forecast
    from demo.forecast_picture import draw_forecast, require_drawing
    from demo.forecast_settings import settings_of
    from demo.forecast_task import forecast_task

    if picture is not None:
        require_drawing(picture)
    taskfile, public = load_taskfile(file)
    settings = settings_of(
        taskfile,
        contributors=_whole(contributors, "contributors"),
        epsilons=_numbers(epsilon, "epsilon"),
        noises=_numbers(noise, "noise"),
        rounds=_whole(rounds, "rounds"),
    )
    rows = None if data is None else (str(data), read_file(data))
    with console.status("reading") as status:
        found = forecast_task(
            taskfile,
            public,
            settings,
            data=rows,
            division=division,
            seed=seed,
            payouts=payouts,
            tell=status.update,
        )
        if picture is not None:
            status.update("drawing")
            draw_forecast(picture, found)
    result = forecast_as_json(found)
    if picture is not None:
        result["picture"] = str(picture)
    emit(result, as_json=as_json, text=lambda out: tell_forecast(out, found, picture=picture))


def _numbers(text: str | None, name: str) -> list[float]:
    try:
        return [] if text is None else [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"--{name} {text!r}: expected numbers with commas between them", hint="such as 1,2,4,8"
        ) from error


def _whole(text: str | None, name: str) -> list[int]:
    numbers = _numbers(text, name)
    for number in numbers:
        if number != number // 1:
            raise InputError(f"--{name} {number:g}: expected a whole number")
    return [int(number) for number in numbers]
