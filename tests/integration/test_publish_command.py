# SPDX-License-Identifier: Apache-2.0
"""`covalue coordinator publish`: the store can be read by others before any training."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dao.errors import StoreError
from dao.peer import PeerStore
from dao.store import LocalStore
from demo.devnet import free_port


def test_a_proposed_task_can_be_read_until_it_is_stopped(tmp_path: Path) -> None:
    reference = LocalStore(tmp_path / "store").put(b"a task")
    settings = tmp_path / "covalue.toml"
    settings.write_text(f'[store]\npath = "store"\nserve_port = {free_port()}\n')
    command = [sys.executable, "-m", "cli.main", "coordinator", "publish", "--json"]
    with subprocess.Popen(
        [*command, "--config", str(settings)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert PeerStore(url).get(reference.cid) == b"a task"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    with pytest.raises(StoreError):
        PeerStore(url).get(reference.cid)
