# SPDX-License-Identifier: Apache-2.0
"""Making a vault's folder: what stands in the way is said, and nothing is written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.contributor_setup import create_vault
from dao.errors import InputError
from dao.settings import AccountSettings, Settings, VaultSettings

ACCOUNT = "0x" + "11" * 20


def settings(folder: Path) -> Settings:
    (folder / "mine.csv").write_text("price\n1\n2\n")
    return Settings(
        account=AccountSettings(keystore=folder / "account.json"),
        vault=VaultSettings(path=folder / "vault", password_file=folder / "vault.password"),
    )


def refusal(folder: Path, *, account: str | None) -> InputError:
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError) as caught:
        create_vault(settings(folder), records=folder / "mine.csv", account=account)
    assert caught.value.hint
    assert sorted(folder.rglob("*")) in (before, sorted({*before, folder / "mine.csv"}))
    return caught.value


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"a":' * 100_000, b"", b"[]", b"{}", b"\xff", b'"x"'],
    ids=["lists", "objects", "empty", "list", "object", "not text", "string"],
)
def test_a_keystore_that_states_no_address_is_refused(tmp_path: Path, content: bytes) -> None:
    """However deep it is nested: py_ecc lets Python's own parser overflow the stack."""
    (tmp_path / "account.json").write_bytes(content)
    error = refusal(tmp_path, account=None)
    assert "does not state its address" in error.message
    assert "--account" in (error.hint or "")


def test_the_account_is_the_one_that_the_keystore_states(tmp_path: Path) -> None:
    (tmp_path / "account.json").write_text('{"address": "' + "AB" * 20 + '"}')
    made = create_vault(settings(tmp_path), records=tmp_path / "mine.csv", account=None)
    assert made["account"] == "0x" + "ab" * 20
    assert (tmp_path / "vault" / "account").read_text() == "0x" + "ab" * 20 + "\n"


@pytest.mark.parametrize("place", ["vault", "vault/below"])
def test_a_file_in_the_place_of_the_folder_is_named_and_left_alone(
    tmp_path: Path, place: str
) -> None:
    (tmp_path / "vault").write_text("something")
    made = settings(tmp_path)
    vault = made.vault.model_copy(update={"path": tmp_path / place})
    with pytest.raises(InputError, match="cannot make the vault's folder") as caught:
        create_vault(
            made.model_copy(update={"vault": vault}), records=tmp_path / "mine.csv", account=ACCOUNT
        )
    assert str(tmp_path / place) in caught.value.message
    assert "vault.path" in (caught.value.hint or "")
    assert (tmp_path / "vault").read_text() == "something"
    assert not (tmp_path / "vault.password").exists()
