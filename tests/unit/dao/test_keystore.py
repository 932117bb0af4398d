# SPDX-License-Identifier: Apache-2.0
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from dao import bls, eip2335
from dao.errors import KeyFileError
from dao.keystore import AccountKey, BlsKey, create_password, read_password

# The test vectors of EIP-2335.
VECTOR_PASSWORD = "𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑"
VECTOR_SECRET = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
VECTOR_KEY = (
    "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27"
    "f4ae4040902382ae2910c15e2b420d07"
)
SALT = "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3"
IV = {"iv": "264daa3f303d7259501c93d997d84fe6"}


def vector(kdf: dict[str, Any], *, checksum: str, cipher: str) -> dict[str, Any]:
    return {
        "crypto": {
            "kdf": {**kdf, "message": ""},
            "checksum": {"function": "sha256", "params": {}, "message": checksum},
            "cipher": {"function": "aes-128-ctr", "params": IV, "message": cipher},
        },
        "description": "This is a test keystore.",
        "pubkey": VECTOR_KEY,
        "path": "m/12381/60/0/0",
        "uuid": "64625def-3331-4eea-ab6f-782f3ed16a83",
        "version": 4,
    }


SCRYPT_VECTOR = vector(
    {"function": "scrypt", "params": {"dklen": 32, "n": 262144, "p": 1, "r": 8, "salt": SALT}},
    checksum="d2217fe5f3e9a1e34581ef8a78f7c9928e436d36dacc5e846690a5581e8ea484",
    cipher="06ae90d55fe0a6e9c5c3bc5b170827b2e5cce3929ed3f116c2811e6366dfe20f",
)
PBKDF2_VECTOR = vector(
    {
        "function": "pbkdf2",
        "params": {"dklen": 32, "c": 262144, "prf": "hmac-sha256", "salt": SALT},
    },
    checksum="8a9f5d9912ed7e75ea794bc5a89bca5f193721d30868ade6f73043c6ea6febf1",
    cipher="cee03fde2af33149775b7223e7845e4fb2c8ae1792e5f99fe9ecf474cc8c16ad",
)


def password_file(folder: Path, password: str = "correct horse") -> Path:
    path = folder / f"password-{len(list(folder.iterdir()))}"
    path.write_text(password, encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("keyfile", [SCRYPT_VECTOR, PBKDF2_VECTOR], ids=["scrypt", "pbkdf2"])
def test_official_vectors_of_eip_2335(tmp_path: Path, keyfile: dict[str, Any]) -> None:
    path = tmp_path / "bls.json"
    path.write_text(json.dumps(keyfile))
    key = BlsKey.open(path, password_file(tmp_path, VECTOR_PASSWORD))
    assert key.secret.hex() == VECTOR_SECRET
    assert key.public_key.hex() == VECTOR_KEY
    with pytest.raises(KeyFileError, match="wrong password"):
        BlsKey.open(path, password_file(tmp_path, "testpassword"))


def test_password_processing_of_eip_2335() -> None:
    assert eip2335.normalise_password(VECTOR_PASSWORD).hex() == ("7465737470617373776f7264f09f9491")
    assert eip2335.normalise_password("a\x00b\x1f\x7f\x80\x9fc\tÅ") == b"abcA\xcc\x8a"


@pytest.mark.parametrize("kind", [AccountKey, BlsKey])
class TestBothKinds:
    def test_what_is_created_opens(self, tmp_path: Path, kind: Any) -> None:
        path, password = tmp_path / "new" / "key.json", password_file(tmp_path)
        key = kind.create(path, password, light=True)
        assert repr(kind.open(path, password)) == repr(key)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_keys_differ(self, tmp_path: Path, kind: Any) -> None:
        password = password_file(tmp_path)
        one, two = (kind.create(tmp_path / n, password, light=True) for n in ("one", "two"))
        assert repr(one) != repr(two)

    def test_a_given_secret_is_kept(self, tmp_path: Path, kind: Any) -> None:
        secret = bytes(31) + b"\x07"
        key = kind.create(tmp_path / "k", password_file(tmp_path), light=True, secret=secret)
        assert repr(key) == repr(kind(secret))

    def test_nothing_is_overwritten(self, tmp_path: Path, kind: Any) -> None:
        path, password = tmp_path / "key.json", password_file(tmp_path)
        kind.create(path, password, light=True)
        before = path.read_bytes()
        with pytest.raises(KeyFileError, match="not overwritten"):
            kind.create(path, password, light=True)
        assert path.read_bytes() == before

    def test_secrets_do_not_show(self, tmp_path: Path, kind: Any) -> None:
        secret = b"\x5a" * 32
        path = tmp_path / "key.json"
        key = kind.create(path, password_file(tmp_path), light=True, secret=secret)
        shown = repr(key) + str(key) + path.read_text()
        assert secret.hex() not in shown
        assert repr(secret) not in shown
        with pytest.raises(KeyFileError) as caught:
            kind.open(path, password_file(tmp_path, "a wrong secret word"))
        assert "a wrong secret word" not in str(caught.value)
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize("secret", [b"", bytes(32), b"\xff" * 32, bytes(31)])
    def test_bad_secrets(self, kind: Any, secret: bytes) -> None:
        with pytest.raises(KeyFileError) as caught:
            kind(secret)
        assert not secret or secret.hex() not in str(caught.value)

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"[]", b"{}", b'{"crypto": {}}', b'{"crypto": 3}', b"\xff", b"[" * 60_000],
    )
    def test_what_is_no_keystore(self, tmp_path: Path, kind: Any, content: bytes) -> None:
        path = tmp_path / "key.json"
        path.write_bytes(content)
        with pytest.raises(KeyFileError):
            kind.open(path, password_file(tmp_path))

    def test_a_huge_file_is_no_keystore(self, tmp_path: Path, kind: Any) -> None:
        path = tmp_path / "key.json"
        path.write_bytes(b" " * 70_000)
        with pytest.raises(KeyFileError, match="not a keystore"):
            kind.open(path, password_file(tmp_path))

    def test_missing_files_and_settings_are_named(self, tmp_path: Path, kind: Any) -> None:
        password = password_file(tmp_path)
        with pytest.raises(KeyFileError, match="cannot read the keystore"):
            kind.open(tmp_path / "nowhere", password)
        with pytest.raises(KeyFileError, match="no keystore is named"):
            kind.open(None, password)
        with pytest.raises(KeyFileError, match="no password file is named"):
            kind.open(tmp_path / "key.json", None)

    def test_any_damage_is_found(self, tmp_path: Path, kind: Any) -> None:
        path, password = tmp_path / "key.json", password_file(tmp_path)
        kind.create(path, password, light=True)
        whole = path.read_text()
        keyfile = json.loads(whole)
        ciphertext = (
            keyfile["crypto"]["ciphertext"]
            if kind is AccountKey
            else keyfile["crypto"]["cipher"]["message"]
        )
        flipped = ("1" if ciphertext[0] == "0" else "0") + ciphertext[1:]
        path.write_text(whole.replace(ciphertext, flipped))
        with pytest.raises(KeyFileError, match="damaged"):
            kind.open(path, password)

    def test_a_file_cannot_ask_for_all_memory(self, tmp_path: Path, kind: Any) -> None:
        path, password = tmp_path / "key.json", password_file(tmp_path)
        kind.create(path, password, light=True)
        path.write_text(path.read_text().replace('"n": 1024', '"n": 1073741824'))
        with pytest.raises(KeyFileError, match="kdf parameter n is 1073741824"):
            kind.open(path, password)


def test_an_account_opens_with_other_tools(tmp_path: Path) -> None:
    path, password = tmp_path / "account.json", password_file(tmp_path)
    key = AccountKey.create(path, password, light=True)
    secret = Account.decrypt(json.loads(path.read_text()), "correct horse")
    assert Account.from_key(secret).address.lower() == key.address == key.signer.address.lower()
    foreign = tmp_path / "foreign.json"
    foreign.write_text(json.dumps(Account.encrypt(secret, "correct horse", iterations=1024)))
    assert AccountKey.open(foreign, password).address == key.address


def test_the_stated_public_half_must_fit(tmp_path: Path) -> None:
    password = password_file(tmp_path)
    account, key = tmp_path / "account.json", tmp_path / "bls.json"
    address = AccountKey.create(account, password, light=True).address[2:]
    keyfile = json.loads(account.read_text())
    assert keyfile["address"].lower().removeprefix("0x") == address
    account.write_text(json.dumps({**keyfile, "address": "00" * 20}))
    with pytest.raises(KeyFileError, match="another address"):
        AccountKey.open(account, password)
    public = BlsKey.create(key, password, light=True).public_key.hex()
    key.write_text(key.read_text().replace(public, VECTOR_KEY))
    with pytest.raises(KeyFileError, match="another public key"):
        BlsKey.open(key, password)


def test_a_bls_key_signs_and_proves_possession(tmp_path: Path) -> None:
    key = BlsKey.create(tmp_path / "k", password_file(tmp_path), light=True)
    assert bls.verify(key.public_key, bytes(32), key.sign(bytes(32)))
    assert bls.verify_possession(key.public_key, bytes(32), key.prove_possession(bytes(32)))


# --- password files --------------------------------------------------------------------------


def test_a_created_password_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "password"
    password = create_password(path)
    assert len(password) >= 43
    assert read_password(path) == password
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(KeyFileError, match="not overwritten"):
        create_password(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601])
def test_a_password_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = password_file(tmp_path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="others may read") as caught:
        read_password(path)
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize(
    ("content", "password"),
    [(b"word", "word"), (b"word\n", "word"), (b"word\r\n", "word"), (b" word \n\n", " word \n")],
)
def test_one_newline_does_not_belong_to_the_password(
    tmp_path: Path, content: bytes, password: str
) -> None:
    path = password_file(tmp_path)
    path.write_bytes(content)
    assert read_password(path) == password


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_unusable_passwords_are_refused(tmp_path: Path, content: bytes) -> None:
    path = password_file(tmp_path)
    path.write_bytes(content)
    with pytest.raises(KeyFileError):
        read_password(path)


def test_a_missing_password_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot read the password file"):
        read_password(tmp_path / "nowhere")
    with pytest.raises(KeyFileError):
        read_password(tmp_path)
