# SPDX-License-Identifier: Apache-2.0
"""`covalue demo`: the whole loop on this machine."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cli.output import JsonOption, console, emit, guard
from cli.stopping import stopped_by_signals
from demo.options import (
    CONTRIBUTORS,
    CONTRIBUTORS_DEPLOYED,
    LEAST_CONTRIBUTORS,
    MOST_CONTRIBUTORS,
    DemoOptions,
)

if TYPE_CHECKING:
    from fl_server.context import Progress as Event


@guard
def app(
    data: Annotated[
        Path | None, typer.Option("--data", help="CSV file of sales; every row is one record.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Column of that file that holds the price.")
    ] = None,
    family: Annotated[
        str, typer.Option("--family", help="Model family: kernel or mlp.")
    ] = "kernel",
    epsilon: Annotated[float, typer.Option("--epsilon", help="Privacy budget of the task.")] = 8.0,
    seed: Annotated[int, typer.Option("--seed", help="Of the split into roles.")] = 0,
    attackers: Annotated[
        bool,
        typer.Option(
            "--attackers/--no-attackers",
            help="The fourth largest contributor flips labels, the seventh sends noise.",
        ),
    ] = True,
    contributors: Annotated[
        int | None,
        typer.Option(
            "--contributors",
            min=LEAST_CONTRIBUTORS,
            max=MOST_CONTRIBUTORS,
            help=f"How many contributors; default {CONTRIBUTORS}, with --deployment "
            f"{CONTRIBUTORS_DEPLOYED}.",
            show_default=False,
        ),
    ] = None,
    deployment: Annotated[
        bool,
        typer.Option(
            "--deployment",
            help="Flower's SuperLink, SuperNodes and vaults as processes over TLS, in place of its "
            f"simulation. {CONTRIBUTORS_DEPLOYED} contributors unless you say otherwise, since "
            "each process holds torch; the smallest of the four flips labels.",
        ),
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder for what the run leaves.")] = Path(
        "demo-out"
    ),
    serve: Annotated[
        bool, typer.Option("--serve", help="Keep chain and API running until Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run everything on this machine, from private records to a released, served valuation.

    Ten contributors train under differential privacy; two of them cheat. Members vote, the result
    is paid, released, served and audited. Nothing is left running. Needs Node packages for the
    local chain (make demo installs them). With --deployment four contributors train, one cheats.
    """
    # said before what takes seconds to load
    console.print(f"The whole loop on this machine; what it leaves goes to {out}.", markup=False)
    from dao.errors import InputError
    from demo.loop import play
    from demo.result import tell

    if family not in ("kernel", "mlp"):
        raise InputError(f"--family {family}: expected kernel or mlp")
    options = DemoOptions(
        data=data,
        target=target,
        out=out,
        seed=seed,
        epsilon=epsilon,
        family="mlp" if family == "mlp" else "kernel",
        contributors=contributors,
        attackers=attackers,
        deployment=deployment,
    )
    # whoever stops us with a signal finds nothing left running either
    with stopped_by_signals(), _bar() as bar:
        step = bar.add_task("preparing", total=None)

        def on_progress(event: Event) -> None:
            if event.kind == "round":
                rounds = event.detail["rounds"]
                bar.update(step, description="training", total=rounds, completed=event.round)
            elif event.kind == "revealing":
                bar.update(step, description="scoring, settling, auditing")

        with play(options, tell=lambda line: bar.console.print(line), on_progress=on_progress) as (
            result,
            api,
        ):
            bar.stop()

            def text(out: Console) -> None:
                tell(result, out)
                if serve:
                    out.print(f"\nThe API answers at {api.url}. Try:\n")
                else:
                    out.print(
                        "\nWith --serve the API stays up at once. Ask the one of `serve` above:\n"
                    )
                out.print(result.curl, markup=False, soft_wrap=True)

            emit(result.as_json(), as_json=as_json, text=text)
            if serve:
                console.print("\nCtrl-C stops everything.")
                with contextlib.suppress(KeyboardInterrupt):  # the normal end
                    api.wait()
    if not result.audit_ok:
        raise typer.Exit(3)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rounds"),
        TimeElapsedColumn(),
        console=console,
    )
