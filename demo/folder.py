# SPDX-License-Identifier: Apache-2.0
"""The folder of a demo run: what lies where, and how a second run replaces the first."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from dao.errors import InputError

MARKER = "made-by-covalue-demo"


@dataclass(frozen=True)
class DemoFolder:
    """Paths below one root; the state of chain and store stays there after the run."""

    root: Path

    @classmethod
    def fresh(cls, root: Path) -> DemoFolder:
        """An empty folder at `root`; only one that an earlier demo made is cleared.

        InputError where something else lies there.
        """
        if root.exists():
            if not root.is_dir() or (any(root.iterdir()) and not (root / MARKER).exists()):
                raise InputError(
                    f"{root} exists and was not made by the demo",
                    hint="name another place with --out, or move it away",
                )
            shutil.rmtree(root)
        root.mkdir(parents=True)
        (root / MARKER).write_text("An earlier run; the next run clears this folder.\n")
        return cls(root.resolve())

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

    def contributor(self, index: int) -> Path:
        """Folder of one contributor."""
        return self.root / "contributors" / f"{index + 1:02d}"
