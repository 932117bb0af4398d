# SPDX-License-Identifier: Apache-2.0
"""One full run of the demo, chain and API still up, for all tests that look at a finished task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from played_world import Played

from dao.deployment import open_dao
from dao.settings import load_settings
from dao.store import LocalStore
from demo.loop import play
from demo.options import DemoOptions


@pytest.fixture(scope="session")
def played(housing: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The demo as `make demo` runs it, on the rows that tests learn from."""
    folder = tmp_path_factory.mktemp("demo")
    data = folder / "rows.csv"
    housing.frame.to_csv(data, index=False)
    options = DemoOptions(data=data, target=housing.target, out=folder / "out")
    events: list[str] = []
    with play(options, tell=lambda line: None, on_progress=lambda e: events.append(e.kind)) as (
        result,
        api,
    ):
        settings = load_settings(Path(result.folder) / "covalue.toml")
        yield Played(
            result=result,
            api=api,
            settings=settings,
            dao=open_dao(settings.chain.rpc_url, settings.chain.deployment),
            store=LocalStore(settings.store.path),
            events=tuple(events),
        )
