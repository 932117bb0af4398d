# SPDX-License-Identifier: Apache-2.0
"""The SuperNode's own key: ECDSA P-384 in OpenSSH form, as Flower's authentication wants it.

Its hash stands in the ContributorRegistry, so that a coordinator knows which node speaks for whom.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dao.errors import KeyFileError


def create_node_key(path: Path) -> None:
    """Write a new private key (0600) to `path` and its public half to `path`.pub."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists already", hint="move it away first") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(private)
    path.with_name(path.name + ".pub").write_bytes(public + b"\n")


def public_pem(public_key: Path) -> bytes:
    """The PEM form of an OpenSSH public key file: what Flower registers and shows."""
    try:
        key = serialization.load_ssh_public_key(public_key.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            f"{public_key} is not an OpenSSH public key: {error}",
            hint="covalue contributor init makes one",
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise KeyFileError(f"{public_key}: Flower takes ECDSA keys on NIST curves only")
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def node_key_hash(public_key_pem: bytes) -> bytes:
    """SHA-256 of the PEM form, 32 bytes: `superNodeKeyHash` in the ContributorRegistry."""
    return hashlib.sha256(public_key_pem).digest()
