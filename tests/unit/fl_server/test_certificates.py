# SPDX-License-Identifier: Apache-2.0
"""The deployment's TLS files are taken by TLS itself, for the hosts they name and no others."""

import socket
import ssl
import threading
from pathlib import Path

import pytest

from dao.errors import InputError
from fl_server.certificates import Certificates, create_certificates


def handshake(paths: Certificates, *, host: str, ca: Path) -> None:
    """One TLS connection over a socket pair; ssl.SSLError where the client refuses."""
    ours, theirs = socket.socketpair()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(paths.certificate, paths.key)
    client = ssl.create_default_context(cafile=str(ca))

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as connection:
                connection.recv(1)
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=host) as connection:
            connection.sendall(b"x")
    finally:
        ours.close()
        thread.join()


def test_clients_with_the_ca_trust_the_named_hosts_only(tmp_path: Path) -> None:
    paths = create_certificates(tmp_path / "tls", hosts=["127.0.0.1", "superlink.example"])
    handshake(paths, host="127.0.0.1", ca=paths.ca)
    handshake(paths, host="superlink.example", ca=paths.ca)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(paths, host="other.example", ca=paths.ca)


def test_another_ca_is_not_trusted(tmp_path: Path) -> None:
    paths = create_certificates(tmp_path / "ours", hosts=["127.0.0.1"])
    other = create_certificates(tmp_path / "theirs", hosts=["127.0.0.1"])
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(paths, host="127.0.0.1", ca=other.ca)


def test_private_keys_are_the_owners_alone_and_nothing_is_replaced(tmp_path: Path) -> None:
    paths = create_certificates(tmp_path / "tls", hosts=["127.0.0.1"])
    for key in (paths.key, tmp_path / "tls" / "ca.key"):
        assert key.stat().st_mode & 0o077 == 0
    with pytest.raises(InputError, match="exists already"):
        create_certificates(tmp_path / "tls", hosts=["127.0.0.1"])
    with pytest.raises(InputError, match="no host"):
        create_certificates(tmp_path / "more", hosts=[])
