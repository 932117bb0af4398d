# SPDX-License-Identifier: Apache-2.0
"""Evidence at the command line: a file that is published and named on chain by digest and CID."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cli.session import try_calls
from dao.chain import Call
from dao.deployment import Contracts
from dao.errors import InputError
from dao.keystore import AccountKey
from dao.open_store import open_store
from dao.settings import Settings

EvidenceArgument = Annotated[
    Path, typer.Argument(help="File that shows what is wrong; published.", show_default=False)
]


def read_evidence(file: Path) -> bytes:
    """Its bytes; InputError where it cannot be read or is empty."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {file}: {error.strerror}", hint="name a file that you may read"
        ) from error
    if not data:
        raise InputError(f"{file} is empty", hint="name the file that shows what is wrong")
    return data


def publish_with(
    settings: Settings,
    dao: Contracts,
    data: bytes,
    calls: Sequence[Call],
    key: AccountKey,
    *,
    dry_run: bool,
) -> None:
    """Put evidence into the store once the chain has been seen to take the calls that name it."""
    try_calls(dao, calls, key)
    if not dry_run:
        open_store(settings.store).put(data)
