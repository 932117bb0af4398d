# SPDX-License-Identifier: Apache-2.0
"""docker-compose.yml, as far as it can be checked without a Docker engine: references, hardening,
and that every command, option and setting in it exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cli.commands import load_command
from dao.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
COVALUE = [name for name, service in SERVICES.items() if service["image"].startswith("covalue:")]
ROOT_AT_START = {"ipfs"}
"""Begins as root to own its volume, then changes user by itself (stated beside the service)."""


@cache
def help_of(program: str) -> str:
    """What a program says of its options."""
    return subprocess.run(
        [program, "--help"],
        env=dict(os.environ, FLWR_TELEMETRY_ENABLED="0"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def leaf(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that these words call, and the words that remain for it."""
    command = load_command(words[0])
    if isinstance(command, click.Group):
        return command.commands[words[1]], words[2:]
    return command, words[1:]


def test_every_process_of_a_federation_is_there() -> None:
    assert set(SERVICES) == {
        "chain", "ipfs", "postgres", "superlink", "coordinator", "vault-a", "supernode-a",
        "vault-b", "supernode-b", "api",
    }  # fmt: skip


@pytest.mark.parametrize("name", list(SERVICES))
def test_each_service_is_hardened_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert re.search(r":v?\d+\.\d+", service["image"]), "the image is pinned"
    if name in ROOT_AT_START:
        return
    assert service["read_only"] is True
    assert str(service["user"]).split(":")[0] not in ("0", "root")


@pytest.mark.parametrize("name", list(SERVICES))
def test_each_reference_leads_somewhere(name: str) -> None:
    service = SERVICES[name]
    for other in service.get("depends_on", {}):
        assert other in SERVICES
        if service["depends_on"][other]["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or source.startswith(("./", "${")), volume
    for secret in service.get("secrets", []):
        assert secret in COMPOSE["secrets"]
    mode = service.get("network_mode", "")
    assert not mode or mode.removeprefix("service:") in SERVICES
    build = service.get("build")
    assert build is None or (ROOT / build["dockerfile"]).is_file()


def test_only_the_chain_and_the_api_are_reachable_and_from_this_machine_alone() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert name in ("chain", "api")
            assert port.startswith("127.0.0.1:")


def test_no_secret_stands_in_the_file() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if "PASSWORD" in variable or "SECRET" in variable or "KEY" in variable:
                assert str(value).startswith(("/state/", "/run/secrets/", "/node/")), name


def test_a_supernode_sees_neither_records_nor_the_vault_s_keys() -> None:
    for letter in "ab":
        assert SERVICES[f"supernode-{letter}"]["volumes"] == [f"node-{letter}:/node:ro"]
        vault = SERVICES[f"vault-{letter}"]
        assert f"vault-{letter}:/state" in vault["volumes"]
        assert any(volume.endswith(":/records.csv:ro") for volume in vault["volumes"])
        assert SERVICES[f"supernode-{letter}"]["network_mode"] == f"service:vault-{letter}"


@pytest.mark.parametrize("name", COVALUE)
def test_each_command_exists_with_its_options(name: str) -> None:
    service = SERVICES[name]
    words = [str(word) for word in service["command"]]
    if "entrypoint" in service:
        [program] = service["entrypoint"]
        described = help_of(str(Path(sysconfig.get_path("scripts")) / program))
        for word in words:
            assert word.split("=")[0] in described, word
        return
    command, rest = leaf(words)
    rest = [re.sub(r"\$\{\w+:-(.*?)\}", r"\1", word) for word in rest]
    command.make_context(name, rest)  # raises UsageError for what does not exist


def test_anvil_knows_its_options() -> None:
    described = help_of(str(ROOT / "node_modules" / ".bin" / "anvil"))
    for word in SERVICES["chain"]["command"]:
        assert word.split("=")[0] in described


@pytest.mark.parametrize("name", COVALUE)
def test_each_setting_exists(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for variable, value in SERVICES[name]["environment"].items():
        if variable.startswith("COVALUE_"):
            monkeypatch.setenv(variable, str(value))
    settings = load_settings()
    if name.startswith("supernode"):
        return
    assert settings.chain.rpc_url == "http://chain:8545"
    assert str(settings.chain.deployment).startswith("/deployment/")


def test_superlink_and_coordinator_share_settings_and_state() -> None:
    superlink, coordinator = SERVICES["superlink"], SERVICES["coordinator"]
    assert coordinator["environment"].items() <= superlink["environment"].items()
    assert superlink["volumes"][0] == coordinator["volumes"][0]


def test_the_commands_of_the_first_set_up_exist() -> None:
    text = (ROOT / "docker" / "README.md").read_text()
    lines = re.findall(r"^docker compose run (.*)$", text, re.MULTILINE)
    checked = 0
    for line in lines:
        if "--entrypoint" in line:
            continue
        words = shlex.split(line.split(" > ")[0])
        service = next(index for index, word in enumerate(words) if word in SERVICES)
        command, rest = leaf(words[service + 1 :])
        known = {flag for parameter in command.params for flag in parameter.opts}
        for word in rest:
            assert not word.startswith("-") or word.split("=")[0] in known, line
        needed = [p for p in command.params if isinstance(p, click.Argument) and p.required]
        plain = [word for word in rest if not word.startswith("-")]
        assert len(plain) >= len(needed), line
        checked += 1
    assert checked >= 8
