# SPDX-License-Identifier: Apache-2.0
"""The settings in README.md are such that a newcomer in an empty folder can begin with them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.commands import load_command
from dao.keystore import AccountKey, create_password
from dao.settings import load_settings
from demo.devnet import dev_account

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder but for the README's covalue.toml."""
    (block,) = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "covalue.toml").write_text(block)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_they_are_read_and_name_what_each_kind_of_user_needs(folder: Path) -> None:
    settings = load_settings(folder / "covalue.toml")
    assert set(tomllib.loads((folder / "covalue.toml").read_text())) == {
        *("chain", "store", "account", "vault", "coordinator", "api")
    }
    assert settings.chain.deployment == folder / "deployment.json"
    assert settings.store.peers
    for named in (
        settings.account.keystore,
        settings.account.password_file,
        settings.vault.password_file,
        settings.coordinator.root_certificates,
        settings.api.signer_keystore,
        settings.api.password_file,
    ):
        assert named is not None
        assert named.parent == folder
    assert not settings.vault.witness_path.is_relative_to(folder), "beside, not inside"


def test_a_contributor_s_vault_is_made_with_them(folder: Path) -> None:
    account = dev_account(7)
    create_password(folder / "account.password")
    secret = bytes(account.key)
    AccountKey.create(
        folder / "account.json", folder / "account.password", light=True, secret=secret
    )
    (folder / "records.csv").write_text("price,area\n100000,50\n")
    made = CliRunner().invoke(
        load_command("contributor"), ["init", "records.csv", "--json"], catch_exceptions=False
    )
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["account"].lower() == str(account.address).lower()
    assert (folder / "vault.password").exists()


def test_what_a_newcomer_looks_for_is_named() -> None:
    assert "`covalue task new --bare --target price`" in README
    assert "](docs/accuracy.md)" in README.split("## Read on")[1]
    assert "[privacy.sampling]" in README
    assert 'filter = "rdp"' in README
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
