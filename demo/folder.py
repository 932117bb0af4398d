# SPDX-License-Identifier: Apache-2.0
"""The folder of a demo run: what lies where, and how a second run replaces the first."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dao.errors import InputError
from demo.devnet_daemon import bring_down

MARKER = "made-by-covalue-demo"


@dataclass(frozen=True)
class DemoFolder:
    """Paths below one root; the state of chain and store stays there after the run."""

    root: Path

    @classmethod
    def fresh(cls, root: Path) -> DemoFolder:
        """An empty folder at `root`; only one that an earlier demo made is cleared, and a chain
        that `covalue devnet up` brought up again from it is stopped: it would write on.

        InputError where something else lies there, or where that demo is still running.
        """
        if root.exists():
            if not root.is_dir() or (any(root.iterdir()) and not (root / MARKER).exists()):
                raise InputError(
                    f"{root} exists and was not made by the demo",
                    hint="name another place with --out, or move it away",
                )
            _refuse_held(root)
            bring_down(root / "devnet")
            shutil.rmtree(root)
        root.mkdir(parents=True)
        (root / MARKER).write_text("An earlier run; the next run clears this folder.\n")
        return cls(root.resolve())

    @contextmanager
    def held(self) -> Iterator[None]:
        """While the block runs, `fresh` refuses to clear this folder."""
        with (self.root / MARKER).open() as marker:
            fcntl.flock(marker, fcntl.LOCK_EX)
            yield

    @property
    def devnet(self) -> Path:
        """State of the chain."""
        return self.root / "devnet"

    @property
    def deployment(self) -> Path:
        """Addresses of the contracts."""
        return self.root / "deployment.json"

    @property
    def store(self) -> Path:
        """The coordinator's public store."""
        return self.root / "store"

    @property
    def settings(self) -> Path:
        """Settings for looking at the run afterwards: audit, serve, model."""
        return self.root / "covalue.toml"

    @property
    def picture(self) -> Path:
        """Training curve and scores."""
        return self.root / "demo.png"

    @property
    def task_file(self) -> Path:
        """The task as a person writes it."""
        return self.root / "task.toml"

    def member(self, name: str) -> Path:
        """Folder of one member."""
        return self.root / "members" / name.lower()

    def contributor(self, index: int) -> Path:
        """Folder of one contributor."""
        return self.root / "contributors" / f"{index + 1:02d}"


def _refuse_held(root: Path) -> None:
    if not (root / MARKER).exists():
        return
    with (root / MARKER).open() as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another demo is running in {root}",
                hint="stop it with Ctrl-C, or name another folder with --out",
            ) from error
