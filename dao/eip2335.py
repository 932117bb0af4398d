# SPDX-License-Identifier: Apache-2.0
"""EIP-2335: the keystore format for BLS12-381 keys, version 4.

Key derivation by scrypt or PBKDF2, AES-128-CTR, SHA-256 checksum over half of the derived key
and the ciphertext. Source: https://eips.ethereum.org/EIPS/eip-2335.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
import uuid
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CTR

VERSION = 4
SCRYPT_MEMORY_BYTES = (2 << 30) - (1 << 20)
"""OpenSSL refuses scrypt above this, just below its own bound; n = 2^20 with r = 8 needs 1 GiB."""


def encrypt(
    secret: bytes, password: str, *, public_key: bytes, scrypt_n: int, path: str = ""
) -> dict[str, Any]:
    """The keystore of a secret: derivation by scrypt with r = 8, p = 1. `path` is the key's
    EIP-2334 path, empty for a key that was not derived."""
    params = {
        "dklen": 32,
        "n": scrypt_n,
        "p": 1,
        "r": 8,
        "salt": secrets.token_hex(32),
    }
    kdf = {"function": "scrypt", "params": params, "message": ""}
    key = _derive(kdf, password)
    iv = secrets.token_bytes(16)
    ciphertext = _apply_aes(key, iv, secret)
    return {
        "crypto": {
            "kdf": kdf,
            "checksum": {
                "function": "sha256",
                "params": {},
                "message": _checksum(key, ciphertext).hex(),
            },
            "cipher": {
                "function": "aes-128-ctr",
                "params": {"iv": iv.hex()},
                "message": ciphertext.hex(),
            },
        },
        "description": "Covalue BLS key",
        "pubkey": public_key.hex(),
        "path": path,
        "uuid": str(uuid.uuid4()),
        "version": VERSION,
    }


def decrypt(keyfile: dict[str, Any], password: str) -> bytes:
    """The secret of a keystore. ValueError, KeyError or TypeError if the password is wrong or the
    file is not of this format; the caller bounds the work factors."""
    crypto = keyfile["crypto"]
    checksum, cipher = crypto["checksum"], crypto["cipher"]
    if (keyfile["version"], checksum["function"]) != (VERSION, "sha256"):
        raise ValueError("not an EIP-2335 keystore of version 4 with a SHA-256 checksum")
    if cipher["function"] != "aes-128-ctr":
        raise ValueError(f"cipher {cipher['function']!r}, expected aes-128-ctr")
    key = _derive(crypto["kdf"], password)
    ciphertext = bytes.fromhex(cipher["message"])
    if not hmac.compare_digest(_checksum(key, ciphertext), bytes.fromhex(checksum["message"])):
        raise ValueError("wrong password")
    return _apply_aes(key, bytes.fromhex(cipher["params"]["iv"]), ciphertext)


def normalise_password(password: str) -> bytes:
    """NFKD, without the control codes C0, C1 and Delete, in UTF-8."""
    kept = (
        character
        for character in unicodedata.normalize("NFKD", password)
        if not (ord(character) < 0x20 or 0x7F <= ord(character) <= 0x9F)
    )
    return "".join(kept).encode("utf-8")


def _derive(kdf: dict[str, Any], password: str) -> bytes:
    params = kdf["params"]
    salt = bytes.fromhex(params["salt"])
    if params["dklen"] < 32:
        raise ValueError("a derived key of less than 32 bytes")
    if kdf["function"] == "scrypt":
        return hashlib.scrypt(
            normalise_password(password),
            salt=salt,
            n=params["n"],
            r=params["r"],
            p=params["p"],
            dklen=params["dklen"],
            maxmem=SCRYPT_MEMORY_BYTES,
        )
    if kdf["function"] == "pbkdf2" and params["prf"] == "hmac-sha256":
        return hashlib.pbkdf2_hmac(
            "sha256", normalise_password(password), salt, params["c"], params["dklen"]
        )
    raise ValueError(f"key derivation {kdf['function']!r}, expected scrypt or pbkdf2")


def _checksum(key: bytes, ciphertext: bytes) -> bytes:
    return hashlib.sha256(key[16:32] + ciphertext).digest()


def _apply_aes(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES-128-CTR with the first half of the derived key; its own inverse."""
    cipher = Cipher(AES128(key[:16]), CTR(iv)).encryptor()
    return cipher.update(data) + cipher.finalize()
