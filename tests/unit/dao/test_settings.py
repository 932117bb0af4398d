# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest

from dao.errors import InputError
from dao.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.upper().startswith("COVALUE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str, path: str = "covalue.toml") -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_without_file_and_variables_defaults_hold() -> None:
    settings = load_settings(None)
    assert settings == Settings()
    assert settings.chain.rpc_url == "http://127.0.0.1:8545"
    assert settings.store.path == Path(".covalue/store")
    assert settings.vault.max_epsilon_micro == 10_000_000
    assert settings.vault.noise_seed is None
    assert not settings.coordinator.allow_seeded_noise


def test_the_witness_lies_outside_the_vault_by_default() -> None:
    vault = load_settings(None).vault
    assert vault.path not in vault.witness_path.parents


def test_variables_win_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        """
        [chain]
        rpc_url = "http://file:1"
        deployment = "mine.json"
        [store]
        peers = ["http://a:1", "http://b:2"]
        """
    )
    monkeypatch.setenv("COVALUE_CHAIN__RPC_URL", "http://variable:2")
    monkeypatch.setenv("COVALUE_VAULT__MAX_EPSILON_MICRO", "5000000")
    settings = load_settings(None)
    assert settings.chain.rpc_url == "http://variable:2"
    assert settings.chain.deployment == Path("mine.json")
    assert settings.store.peers == ("http://a:1", "http://b:2")
    assert settings.vault.max_epsilon_micro == 5_000_000


@pytest.mark.parametrize(
    ("text", "peers"),
    [("http://a:1", ("http://a:1",)), ("http://a:1, http://b:2", ("http://a:1", "http://b:2"))],
)
def test_a_list_in_a_variable_has_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, peers: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COVALUE_STORE__PEERS", text)
    assert load_settings(None).store.peers == peers


def test_relative_paths_start_at_the_files_folder(
    monkeypatch: pytest.MonkeyPatch, empty_folder: Path
) -> None:
    file = write('[account]\nkeystore = "keys/me.json"\npassword_file = "/abs"', "etc/c.toml")
    monkeypatch.setenv("COVALUE_STORE__PATH", "here")
    settings = load_settings(empty_folder / file)
    assert settings.account.keystore == empty_folder / "etc/keys/me.json"
    assert settings.account.password_file == Path("/abs")
    assert settings.vault.path == empty_folder / "etc/.covalue/vault"
    assert settings.store.path == Path("here")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[store]\npears = []", r"covalue\.toml: unknown key store\.pears", "peers"),
        ("[stores]\npath = 'x'", r"covalue\.toml: unknown key stores", "store"),
        ("[chain]\nqqq = 1", r"unknown key chain\.qqq", "rpc_url, deployment"),
        ("[api]\nport = 70000", r"api\.port: .*65535, got 70000", None),
        ("[api]\nport = 'many'", r"api\.port: .*integer.*got 'many'", None),
        ("[vault]\nmax_epsilon_micro = 0", r"vault\.max_epsilon_micro", None),
        ("api = 3", r"covalue\.toml: api: ", None),
        ("[api", "is not TOML", None),
    ],
)
def test_a_wrong_file_is_explained(text: str, message: str, hint: str | None) -> None:
    write(text)
    with pytest.raises(InputError, match=message) as caught:
        load_settings(None)
    assert hint is None or hint in (caught.value.hint or "")


def test_a_latin_1_file_is_explained() -> None:
    Path("covalue.toml").write_bytes('[chain]\nrpc_url = "é"'.encode("latin-1"))
    with pytest.raises(InputError, match="not TOML in UTF-8"):
        load_settings(None)


def test_a_named_file_must_exist() -> None:
    with pytest.raises(InputError, match=r"cannot read nowhere\.toml"):
        load_settings(Path("nowhere.toml"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("COVALUE_STORE__PEARS", "x", "COVALUE_STORE__PEARS: unknown key store.pears"),
        ("COVALUE_API__PORT", "x", r"COVALUE_API__PORT: api\.port"),
        ("COVALUE_STOER__PATH", "x", "COVALUE_STOER__PATH is no setting"),
        ("COVALUE_RPC_URL", "x", "COVALUE_RPC_URL is no setting"),
        ("COVALUE_CHAIN", "x", "cannot be read"),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        load_settings(None)


def test_the_folder_of_test_rows_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVALUE_DATA", "/rows")
    assert load_settings(None) == Settings()
