# SPDX-License-Identifier: Apache-2.0
"""Three small federations, each played once a session; one of their four vaults lies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.independent.liar_town import PLANS, Federation, play


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
