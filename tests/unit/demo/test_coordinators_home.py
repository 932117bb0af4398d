# SPDX-License-Identifier: Apache-2.0
"""The settings that the demo writes for its coordinator: noise from a seed is taken only where the
demo itself was given one."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.cast import assemble
from demo.coordinating import make_home
from demo.folder import DemoFolder


@pytest.mark.parametrize("deployment", [False, True])
@pytest.mark.parametrize("seeded", [False, True])
def test_seeded_noise_is_taken_only_where_the_demo_has_a_seed(
    tmp_path: Path, deployment: bool, seeded: bool
) -> None:
    folder = DemoFolder.fresh(tmp_path / "out")
    home = make_home(
        folder,
        rpc_url="http://127.0.0.1:8545",
        cast=assemble(2),
        deployment=deployment,
        seeded=seeded,
    )
    assert home.coordinator.allow_seeded_noise is seeded
    assert ("allow_seeded_noise" in folder.settings.read_text()) is seeded
    assert home.account.keystore == folder.root / "coordinator.json"
    assert (home.coordinator.superlink_address != "127.0.0.1:8000") is deployment
    assert home.coordinator.round_timeout_seconds >= 1_800, "a busy machine leaves nobody out"
