# SPDX-License-Identifier: Apache-2.0
"""A finished demo run, as tests see it."""

from __future__ import annotations

from dataclasses import dataclass

from dao.deployment import Contracts
from dao.settings import Settings
from dao.store import LocalStore
from demo.result import DemoResult
from demo.serving import ServedApi


@dataclass(frozen=True)
class Played:
    """A finished demo and the ways into it."""

    result: DemoResult
    api: ServedApi
    settings: Settings
    dao: Contracts
    store: LocalStore
    events: tuple[str, ...]
