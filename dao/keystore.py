# SPDX-License-Identifier: Apache-2.0
"""Keys at rest: encrypted JSON for the account (Web3 Secret Storage v3) and for BLS (EIP-2335 v4).

Files are created for the owner alone and never overwritten. A key's `repr` shows its public half
only, and no message repeats a secret or a password. The account key never enters the vault.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any, Self

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_keyfile.keyfile import create_keyfile_json, decode_keyfile_json
from eth_utils.exceptions import ValidationError

from dao import bls, eip2335
from dao.errors import KeyFileError
from dao.strict_json import load_json

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
BLS_ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
SCRYPT_N = 1 << 18
"""Work factor of a real keystore: about a second and 256 MiB."""
SCRYPT_N_LIGHT = 1 << 10
"""For devnets and tests: milliseconds, and no protection for a weak password."""
MAX_SCRYPT_N = 1 << 20
MAX_PBKDF2_ROUNDS = 1 << 24
MAX_FILE_BYTES = 1 << 16


class AccountKey:
    """An account's key: signs transactions and typed data."""

    __slots__ = ("address", "signer")

    def __init__(self, secret: bytes) -> None:
        try:
            signer: LocalAccount = Account.from_key(secret)
        except (ValueError, ValidationError):
            # the cause would repeat the key
            raise KeyFileError("not an account key: expected 32 bytes below the order") from None
        self.signer = signer
        """For `dao.chain` and `dao.messages`."""
        self.address: str = signer.address.lower()

    def __repr__(self) -> str:
        return f"AccountKey({self.address})"

    @classmethod
    def create(
        cls, path: Path, password_file: Path, *, light: bool = False, secret: bytes | None = None
    ) -> Self:
        """A new key (or `secret`, 32 bytes) in a new keystore file (0600); KeyFileError if the
        file exists. `light` is for devnets and tests."""
        key = cls(_random_scalar(SECP256K1_ORDER) if secret is None else secret)
        keyfile = create_keyfile_json(
            bytes(key.signer.key),
            read_password(password_file).encode("utf-8"),
            kdf="scrypt",
            iterations=SCRYPT_N_LIGHT if light else SCRYPT_N,
        )
        _write_new(path, json.dumps(keyfile, indent=2).encode() + b"\n")
        return key

    @classmethod
    def open(cls, path: Path | None, password_file: Path | None) -> Self:
        """Read a keystore; KeyFileError for a wrong password or file, or if a setting (None)
        names no file."""
        path, password = _named(path, password_file)
        keyfile = _read_json(path)
        crypto = _object(path, keyfile, "crypto" if "crypto" in keyfile else "Crypto")
        _check_work(path, _object(path, crypto, "kdfparams"))
        try:
            secret = decode_keyfile_json(keyfile, password.encode("utf-8"))
        except (ValueError, KeyError, TypeError, RuntimeError):
            raise _cannot_open(path) from None
        key = cls(secret)
        stated = str(keyfile.get("address", key.address)).lower().removeprefix("0x")
        if f"0x{stated}" != key.address:
            raise KeyFileError(f"{path}: the file states another address than its key has")
        return key


class BlsKey:
    """A contributor's BLS key: signs receipts and checkpoints."""

    __slots__ = ("public_key", "secret")

    def __init__(self, secret: bytes) -> None:
        self.public_key = bls.public_key(secret)
        """48 bytes, compressed."""
        self.secret = secret
        """32 bytes, big endian."""

    def __repr__(self) -> str:
        return f"BlsKey(0x{self.public_key.hex()})"

    def sign(self, message: bytes) -> bytes:
        """96 bytes: the signature of a 32-byte message."""
        return bls.sign(self.secret, message)

    def prove_possession(self, message: bytes) -> bytes:
        """96 bytes: the proof that the registry asks for, over `dao.messages.pop_message`."""
        return bls.prove_possession(self.secret, message)

    @classmethod
    def create(
        cls, path: Path, password_file: Path, *, light: bool = False, secret: bytes | None = None
    ) -> Self:
        """A new key (or `secret`, 32 bytes) in a new keystore file (0600); KeyFileError if the
        file exists. `light` is for devnets and tests."""
        key = cls(_random_scalar(BLS_ORDER) if secret is None else secret)
        keyfile = eip2335.encrypt(
            key.secret,
            read_password(password_file),
            public_key=key.public_key,
            scrypt_n=SCRYPT_N_LIGHT if light else SCRYPT_N,
        )
        _write_new(path, json.dumps(keyfile, indent=2).encode() + b"\n")
        return key

    @classmethod
    def open(cls, path: Path | None, password_file: Path | None) -> Self:
        """Read a keystore; KeyFileError for a wrong password or file, or if a setting (None)
        names no file."""
        path, password = _named(path, password_file)
        keyfile = _read_json(path)
        kdf = _object(path, _object(path, keyfile, "crypto"), "kdf")
        _check_work(path, _object(path, kdf, "params"))
        try:
            secret = eip2335.decrypt(keyfile, password)
        except (ValueError, KeyError, TypeError):
            raise _cannot_open(path) from None
        key = cls(secret)
        if keyfile.get("pubkey") not in (None, "", key.public_key.hex()):
            raise KeyFileError(f"{path}: the file states another public key than its key has")
        return key


def read_password(path: Path) -> str:
    """The password in a file that only its owner can read (0600); one newline at the end does
    not belong to it."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise KeyFileError(f"cannot read the password file {path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
        raise KeyFileError(
            f"{path}: others may read this password (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"chmod 600 {path}",
        )
    try:
        password = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise KeyFileError(f"{path}: a password is UTF-8 text") from None
    if not password:
        raise KeyFileError(f"{path}: the password is empty")
    return password


def create_password(path: Path) -> str:
    """Write a random password (256 bits) to a new file (0600) and return it."""
    password = secrets.token_urlsafe(32)
    _write_new(path, password.encode() + b"\n")
    return password


def _named(path: Path | None, password_file: Path | None) -> tuple[Path, str]:
    if path is None or password_file is None:
        missing = "keystore" if path is None else "password file"
        raise KeyFileError(
            f"no {missing} is named",
            hint="set it in covalue.toml, for an account: [account] keystore, password_file",
        )
    return path, read_password(password_file)


def _random_scalar(order: int) -> bytes:
    """32 bytes, big endian: uniform in 1 to order - 1."""
    return (1 + secrets.randbelow(order - 1)).to_bytes(32, "big")


def _write_new(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise KeyFileError(
            f"{path} exists already and is not overwritten",
            hint="choose another path, or move the old file away if you no longer need it",
        ) from error
    except OSError as error:
        raise KeyFileError(f"cannot write {path}: {error.strerror}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"cannot read the keystore {path}: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise KeyFileError(f"{path}: over {MAX_FILE_BYTES} bytes, not a keystore")
    try:
        keyfile = load_json(data)
    except ValueError:
        raise KeyFileError(f"{path}: not a keystore (not JSON)") from None
    if not isinstance(keyfile, dict):
        raise KeyFileError(f"{path}: not a keystore (not a JSON object)")
    return keyfile


def _object(path: Path, keyfile: dict[str, Any], key: str) -> dict[str, Any]:
    value = keyfile.get(key)
    if not isinstance(value, dict):
        raise KeyFileError(f"{path}: not a keystore (no {key})")
    return value


def _check_work(path: Path, params: dict[str, Any]) -> None:
    """A foreign file must not make us fill the memory or wait for hours."""
    limits = {"n": MAX_SCRYPT_N, "r": 8, "p": 16, "c": MAX_PBKDF2_ROUNDS, "dklen": 64}
    for key, limit in limits.items():
        value = params.get(key, 1)
        if not isinstance(value, int) or not 1 <= value <= limit:
            raise KeyFileError(f"{path}: kdf parameter {key} is {value!r}, expected 1 to {limit}")


def _cannot_open(path: Path) -> KeyFileError:
    return KeyFileError(
        f"cannot open {path}: wrong password, or a damaged keystore",
        hint="check the password file that the settings name",
    )
