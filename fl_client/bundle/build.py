# SPDX-License-Identifier: Apache-2.0
"""Build `covalue.fab` from `app/`, or with `--check` show that it would come out the same.

    python -m fl_client.bundle.build [--check]

Flower zips with a fixed date and sorted names, so one zlib gives one hash. Where another zlib
compresses differently, `--check` falls back to comparing what the archives hold, file by file:
the committed bytes stay the ones that count.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

from fl_client.bundle import APP_FOLDER, bundle_bytes
from fl_client.flower_runtime import build_bundle

TARGET = APP_FOLDER.parent / "covalue.fab"


def contents(archive: bytes) -> dict[str, bytes]:
    """What a bundle holds: file name to bytes."""
    with zipfile.ZipFile(io.BytesIO(archive)) as bundle:
        return {name: bundle.read(name) for name in sorted(bundle.namelist())}


def matches(committed: bytes, folder: Path = APP_FOLDER) -> bool:
    """Whether the folder still builds to the committed bundle."""
    rebuilt = build_bundle(folder)
    return rebuilt == committed or contents(rebuilt) == contents(committed)


def main(arguments: list[str]) -> int:
    """Exit status: 0 built or unchanged, 1 changed, 2 wrong arguments."""
    if arguments == ["--check"]:
        if matches(bundle_bytes()):
            return 0
        sys.stderr.write("covalue.fab is stale: run python -m fl_client.bundle.build\n")
        return 1
    if arguments:
        sys.stderr.write("usage: python -m fl_client.bundle.build [--check]\n")
        return 2
    TARGET.write_bytes(build_bundle(APP_FOLDER))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
