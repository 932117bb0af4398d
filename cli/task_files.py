# SPDX-License-Identifier: Apache-2.0
"""Reading a task file and what it names, for the commands of `covalue task`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dao.errors import InputError
from valuation.taskfile import TaskFile, parse_taskfile

TaskFileArgument = Annotated[
    Path, typer.Argument(metavar="TASK.toml", help="The task file.", show_default=False)
]


def load_taskfile(file: Path) -> tuple[TaskFile, bytes | None]:
    """The task file and the bytes of the public rows that it names."""
    try:
        text = read_file(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text", hint="Save it as UTF-8.") from error
    taskfile = parse_taskfile(text)
    if taskfile.public_rows is None:
        return taskfile, None
    return taskfile, read_file(file.parent / taskfile.public_rows)


def read_file(path: Path) -> bytes:
    """Its bytes; InputError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", hint="Name a file that you may read."
        ) from error
