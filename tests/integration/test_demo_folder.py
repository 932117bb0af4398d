# SPDX-License-Identifier: Apache-2.0
"""A second demo clears the first one's folder: no process writes on, none loses its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from dao.chain import Chain
from dao.errors import ChainError, InputError
from demo.devnet import free_port
from demo.devnet_daemon import bring_up, running
from demo.folder import DemoFolder
from demo.loop import play
from demo.options import DemoOptions


def test_a_chain_brought_up_again_is_stopped_before_its_folder_is_cleared(tmp_path: Path) -> None:
    first = DemoFolder.fresh(tmp_path / "out")
    status = bring_up(first.devnet, port=free_port())
    chain = Chain(status.rpc_url).connect()
    assert running(first.devnet) is not None
    second = DemoFolder.fresh(tmp_path / "out")
    assert not second.devnet.exists()
    with pytest.raises(ChainError, match="no answer from the chain"):
        chain.now()


def test_a_demo_in_progress_keeps_its_folder(tmp_path: Path) -> None:
    folder = DemoFolder.fresh(tmp_path / "out")
    with folder.held():
        folder.deployment.write_text("{}")
        with pytest.raises(InputError, match="another demo is running"):
            DemoFolder.fresh(tmp_path / "out")
        assert folder.deployment.exists()
    assert not DemoFolder.fresh(tmp_path / "out").deployment.exists()


def test_what_no_demo_made_is_never_cleared(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("rows")
    with pytest.raises(InputError, match="was not made by the demo"):
        DemoFolder.fresh(tmp_path)
    assert (tmp_path / "mine.csv").exists()


def test_a_misspelt_column_does_not_cost_the_last_run(tmp_path: Path) -> None:
    last = DemoFolder.fresh(tmp_path / "out")
    last.deployment.write_text("{}")
    (tmp_path / "rows.csv").write_text("price,area\n100000,50\n")
    options = DemoOptions(data=tmp_path / "rows.csv", target="prise", out=tmp_path / "out")
    with (
        pytest.raises(InputError, match="no column 'prise'"),
        play(options, tell=lambda _: None, on_progress=lambda _: None),
    ):
        pass
    assert last.deployment.exists()
