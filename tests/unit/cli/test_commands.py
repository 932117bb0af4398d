# SPDX-License-Identifier: Apache-2.0
"""Every command of the design exists, explains itself, and is spelled right in the docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.commands import COMMANDS, load_command, root
from dao.artefacts import CONTRACT_NAMES, load_artefact

ROOT = Path(__file__).resolve().parents[3]
DESIGN: dict[str, tuple[str, ...]] = {
    "demo": (),
    "devnet": ("up", "down"),
    "dao": ("deploy", "show"),
    "contributor": (
        "init", "check", "register", "join", "run", "status", "claim", "challenge", "exit",
        "rotate-keys", "add-stake", "leave", "prove-equivocation", "withdraw-owed",
    ),
    "task": ("new", "validate", "forecast", "propose"),
    "coordinator": ("certs", "run", "status", "finalise", "abort"),
    "member": (
        "delegate", "proposals", "show", "vote", "queue", "execute", "propose", "resolve", "slash",
        "cancel",
    ),
    "model": ("list", "show", "propose", "verify", "suspend", "unsuspend", "revoke"),
    "audit": (),
    "serve": (),
}  # fmt: skip
SENDING = {
    "dao deploy", "contributor register", "contributor join", "contributor claim",
    "contributor challenge", "contributor exit", "contributor rotate-keys",
    "task propose", "task bond", "task unseal",
    "member delegate", "member vote", "member queue", "member execute", "model propose",
    "contributor add-stake", "contributor leave", "contributor prove-equivocation",
    "contributor withdraw-owed", "coordinator finalise", "coordinator abort", "member propose",
    "member resolve", "member slash", "member cancel", "model suspend", "model unsuspend",
    "model revoke",
}  # fmt: skip


def leaves() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its full name."""
    for name in COMMANDS:
        command = load_command(name)
        if isinstance(command, click.Group):
            for sub, leaf in command.commands.items():
                yield f"{name} {sub}", leaf
        else:
            yield name, command


def options(command: click.Command) -> set[str]:
    return {flag for parameter in command.params for flag in parameter.opts}


def test_the_table_holds_the_design_s_commands() -> None:
    assert set(COMMANDS) == set(DESIGN)


@pytest.mark.parametrize("name", list(DESIGN))
def test_each_group_has_the_design_s_subcommands(name: str) -> None:
    command = load_command(name)
    subs = set(command.commands) if isinstance(command, click.Group) else set()
    assert set(DESIGN[name]) <= subs


def test_every_command_and_option_explains_itself() -> None:
    for name, command in leaves():
        assert command.help, name
        assert len(command.help.split()) >= 4, name
        for parameter in command.params:
            described = getattr(parameter, "help", None)
            assert described, f"{name}: {parameter.opts} has no help"


def test_commands_have_json_and_those_that_send_have_dry_run() -> None:
    for name, command in leaves():
        assert "--json" in options(command), name
        if name in SENDING:
            assert "--dry-run" in options(command), name


@pytest.mark.parametrize("words", [[], ["--help"], ["member", "--help"], ["audit", "--help"]])
def test_help_is_printed(words: list[str]) -> None:
    result = CliRunner().invoke(root, words, prog_name="covalue")
    assert "Usage: covalue" in result.output


def spoken(text: str) -> Iterator[str]:
    """Command lines in code blocks and code spans of a page."""
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from (line.strip().removeprefix("$ ") for line in block.splitlines())
    yield from re.findall(r"`([^`\n]+)`", text)


PAGES = ["README.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").rglob("*.md")))]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_in_the_docs_exists(page: str) -> None:
    known = dict(leaves())
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in spoken((ROOT / page).read_text()):
        words = line.split()
        if len(words) > 1 and words[0] == "make" and re.fullmatch(r"[a-z-]+", words[1]):
            assert words[1] in targets, f"{page}: {line}"
        if len(words) < 2 or words[0] != "covalue" or words[1].startswith(("-", "…", "[")):
            continue
        assert words[1] in COMMANDS, f"{page}: {line}"
        name = words[1]
        if DESIGN[name] and len(words) > 2 and re.fullmatch(r"[a-z-]+", words[2]):
            name = f"{name} {words[2]}"
            assert name in known, f"{page}: {line}"
        if name in known:
            given = {word.split("=")[0] for word in words if re.fullmatch(r"--[a-z-]+(=.*)?", word)}
            assert given <= options(known[name]) | {"--help"}, f"{page}: {line}"


def functions_told() -> dict[str, set[str]]:
    """By contract, the functions that docs/commands.md names; "" holds those of all."""
    told: dict[str, set[str]] = {}
    contract = ""
    for line in (ROOT / "docs" / "commands.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if (head := re.fullmatch(r"\*\*(.+)\*\*", cells[0])) is not None:
            contract = "" if head[1] == "All of them" else head[1]
        elif re.fullmatch(r"(`[a-zA-Z]+`(, )?)+", cells[0]):
            told.setdefault(contract, set()).update(re.findall(r"`([a-zA-Z]+)`", cells[0]))
    return told


def test_the_table_of_acts_holds_every_function_that_changes_something() -> None:
    """And no other: what a contract offers, somebody can find, with the way to it."""
    told = functions_told()
    everywhere = told.pop("")
    for name in CONTRACT_NAMES:
        functions = load_artefact(name).functions
        changing = {
            each for each, found in functions.items() if any(e.changes_state for e in found)
        }
        received = {each for each in changing if each.startswith("onERC")}
        assert changing - received - everywhere == told.pop(name), name
    assert not told
