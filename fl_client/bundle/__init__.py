# SPDX-License-Identifier: Apache-2.0
"""The Flower app bundle (FAB) that tasks name: a pyproject.toml and no code.

`covalue.fab` is committed, and a task names its SHA-256. The vault compares the hash and never
unpacks the bundle; the components name modules that each party has installed itself.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

APP_FOLDER = Path(str(files(__name__))) / "app"
"""The folder the bundle is made from."""


def bundle_bytes() -> bytes:
    """The committed bundle."""
    return files(__name__).joinpath("covalue.fab").read_bytes()


def bundle_sha256() -> str:
    """SHA-256 of the committed bundle, 64 hex digits: what `Task.bundle_sha256` must say."""
    return hashlib.sha256(bundle_bytes()).hexdigest()
