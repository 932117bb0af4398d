# SPDX-License-Identifier: Apache-2.0
"""`covalue task new`: a first task file, from public rows or, without any, to be filled in."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from cli.output import JsonOption, emit, guard
from cli.task_files import read_file
from dao.errors import InputError
from valuation.taskfile import ZERO_ACCOUNT, parse_taskfile

LEAST_EPSILON = 1e-6
"""Records hold epsilon in this unit."""


@guard
def new(
    target: Annotated[str, typer.Option(help="The column that holds the price.")],
    public: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PUBLIC.csv]",
            help="Public rows: everybody will see all of them.",
            show_default=False,
        ),
    ] = None,
    bare: Annotated[
        bool,
        typer.Option(
            "--bare", help="Without public rows: you fill in columns and bounds; family mlp."
        ),
    ] = False,
    currency: Annotated[str, typer.Option(help="What the price is counted in.")] = "USD",
    title: Annotated[str | None, typer.Option(help="One line for the voters.")] = None,
    asset_class: Annotated[str, typer.Option(help="What is valued.")] = "homes",
    family: Annotated[
        Literal["kernel", "mlp"] | None,
        typer.Option(
            help="The model: kernel (default), or a neural network (the one that --bare takes).",
            show_default=False,
        ),
    ] = None,
    public_n: Annotated[
        int, typer.Option(min=1, help="Units expected in all contributors together (a guess).")
    ] = 10_000,
    contributors: Annotated[
        int, typer.Option(min=1, max=256, help="How many contributors are expected.")
    ] = 10,
    epsilon: Annotated[float, typer.Option(help="What the task may reveal of one unit.")] = 8.0,
    coordinator: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="The coordinator's account, 0x...")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where to write the task file.")] = Path("task.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite that file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Draft task.toml from public rows: what each column is, within which bounds.

    Read it and change what you know better; then run `covalue task validate`.

    Where nobody has rows to publish: `covalue task new --bare --target COLUMN` writes a file with
    an example of each kind of feature, for you to fill in.
    """
    _require_epsilon(epsilon)
    _require_source(public, bare=bare, family=family)
    if output.exists() and not force:
        raise InputError(f"{output} exists", hint="Give another --output, or --force.")
    title = title or f"{asset_class}: {target}"
    coordinator = coordinator or ZERO_ACCOUNT
    if public is None:
        from valuation.bare_text import render_bare, with_examples

        text = render_bare(
            title=title,
            asset_class=asset_class,
            target=target,
            currency=currency,
            public_n=public_n,
            contributors=contributors,
            epsilon=epsilon,
            coordinator=coordinator,
        )
        parse_taskfile(with_examples(text))
        _write(output, text)
        _tell_bare(output, as_json=as_json)
        return
    from valuation.draft import draft_task
    from valuation.rows import parse_csv
    from valuation.task_text import render_draft

    draft = draft_task(
        parse_csv(read_file(public), name=str(public)), target=target, currency=currency
    )
    text = render_draft(
        draft,
        title=title,
        asset_class=asset_class,
        public_rows=_relative(public, output),
        family=family or "kernel",
        public_n=public_n,
        contributors=contributors,
        epsilon=epsilon,
        coordinator=coordinator,
    )
    parse_taskfile(text)
    _write(output, text)
    result = {
        "task_file": str(output),
        "public_rows": draft.public_rows,
        "features": [feature.kind for feature in draft.features],
        "remarks": list(draft.remarks),
    }

    def tell(out: Console) -> None:
        out.print(f"wrote {output}: {len(draft.features)} features", markup=False)
        for remark in draft.remarks:
            out.print(f"  {remark}", markup=False, soft_wrap=True)
        out.print(f"next: covalue task validate {output}", markup=False)

    emit(result, as_json=as_json, text=tell)


def _tell_bare(output: Path, *, as_json: bool) -> None:
    remark = (
        "fill in the target's bounds and the features: take the # from the examples, and put in "
        "your own columns and bounds"
    )
    result = {"task_file": str(output), "public_rows": 0, "features": [], "remarks": [remark]}

    def tell(out: Console) -> None:
        out.print(f"wrote {output}, without public rows", markup=False)
        out.print(f"  {remark}", markup=False, soft_wrap=True)
        out.print(f"next: edit it, then covalue task validate {output}", markup=False)

    emit(result, as_json=as_json, text=tell)


def _require_epsilon(epsilon: float) -> None:
    if not LEAST_EPSILON <= epsilon < math.inf:  # so NaN is refused too
        raise InputError(
            f"--epsilon {epsilon:g}: expected a finite number above 0, at least {LEAST_EPSILON:g}",
            hint="Usual are 0.5 (very safe) to 8; above 10 a unit is hardly protected.",
        )


def _require_source(public: Path | None, *, bare: bool, family: str | None) -> None:
    if public is None and not bare:
        raise InputError(
            "no public rows are named",
            hint="Name a CSV file of rows that everybody may see, or use --bare without any.",
        )
    if public is not None and bare:
        raise InputError(
            f"--bare makes a task without public rows, yet {public} is named",
            hint="Leave out one of the two.",
        )
    if bare and family == "kernel":
        raise InputError(
            "family 'kernel' needs public rows",
            hint="Leave out --family: --bare takes the family mlp.",
        )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}", hint="Give another --output."
        ) from error


def _relative(public: Path, output: Path) -> str:
    """The public rows' path as the task file names it, from that file's folder."""
    return Path(os.path.relpath(public.resolve(), output.resolve().parent)).as_posix()
