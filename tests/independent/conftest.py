# SPDX-License-Identifier: Apache-2.0
"""Three small federations, each played once a session; one of their four vaults lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.independent.liar_town import PLANS, Federation, play
from tests.independent.verdicts import HeldStore, Judges


def _played(name: str, factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with play(factory.mktemp(name), PLANS[name]) as found:
        yield found


@pytest.fixture(scope="session")
def newton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Kernel family, rule `sum`."""
    yield from _played("newton", tmp_path_factory)


@pytest.fixture(scope="session")
def wiener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Kernel family, rule `wiener`: a survey comes first."""
    yield from _played("wiener", tmp_path_factory)


@pytest.fixture(scope="session")
def adam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Mlp family."""
    yield from _played("adam", tmp_path_factory)


@pytest.fixture(params=list(PLANS))
def federation(request: pytest.FixtureRequest) -> Federation:
    """Each of the three."""
    found: Federation = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes both readers for a federation."""

    def made(federation: Federation) -> Judges:
        return Judges(federation, HeldStore(tmp_path / "store", federation.blocks), monkeypatch)

    return made
