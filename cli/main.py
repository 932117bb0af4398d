# SPDX-License-Identifier: Apache-2.0
"""Entry of the command `covalue`.

The platform is checked before anything of ours is imported, so that a wrong Python or Windows
gets a sentence instead of a traceback.
"""

from __future__ import annotations

import sys

SUPPORTED_PYTHONS = ((3, 11), (3, 12))


def platform_problem(platform: str, python: tuple[int, int]) -> str | None:
    """Why covalue cannot run here, with the way out; None where it can."""
    if platform == "win32":
        return (
            "covalue runs on Linux and macOS. On Windows, use WSL2: run `wsl --install`, open the "
            "Linux shell and install covalue there."
        )
    if python not in SUPPORTED_PYTHONS:
        found = ".".join(map(str, python))
        return (
            f"covalue needs Python 3.11 or 3.12 and this is {found}. Make an environment with one "
            "of them, for example: python3.11 -m venv .venv"
        )
    return None


def main() -> None:
    """Check the platform, then run the command line."""
    problem = platform_problem(sys.platform, sys.version_info[:2])
    if problem is not None:
        sys.stderr.write(problem + "\n")
        raise SystemExit(2)
    from cli.commands import root

    root(prog_name="covalue")


if __name__ == "__main__":
    main()
