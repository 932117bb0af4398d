# SPDX-License-Identifier: Apache-2.0
"""TLS for a deployment: an own certificate authority and the SuperLink's certificate.

Contributors get `ca.crt` only. ECDSA P-256 keys, SHA-256 signatures; keys are written 0600.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dao.errors import InputError

DAYS_CA = 3650
DAYS_SERVER = 825
"""Longest life that TLS clients accept for a server certificate."""


@dataclass(frozen=True)
class Certificates:
    """Paths of a deployment's TLS files."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def within(cls, folder: Path) -> Certificates:
        """The files' places in a folder."""
        return cls(folder / "ca.crt", folder / "server.crt", folder / "server.key")


def create_certificates(
    folder: Path, *, hosts: list[str], now: datetime.datetime | None = None
) -> Certificates:
    """Make a CA and a server certificate for `hosts` (names and IP addresses).

    InputError where the folder already holds some: replacing them would lock contributors out.
    """
    paths = Certificates.within(folder)
    present = [path for path in (paths.ca, paths.certificate, paths.key) if path.exists()]
    if present:
        raise InputError(
            f"{present[0]} exists already",
            hint="new certificates lock every contributor out until they get the new ca.crt; "
            "move the old ones away first",
        )
    if not hosts:
        raise InputError("no host named", hint="name the SuperLink's host: --host superlink.org")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    now = now or datetime.datetime.now(datetime.UTC)
    ca_key, server_key = _new_key(), _new_key()
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Covalue coordinator CA")])
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), now, DAYS_CA)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False)
        .sign(ca_key, hashes.SHA256())
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    server = (
        _builder(name, ca_name, server_key.public_key(), now, DAYS_SERVER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False
        )
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    _write(paths.key, _private_pem(server_key), mode=0o600)
    _write(paths.certificate, server.public_bytes(pem), mode=0o644)
    _write(paths.ca, ca.public_bytes(pem), mode=0o644)
    _write(folder / "ca.key", _private_pem(ca_key), mode=0o600)
    return paths


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, data: bytes, *, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
