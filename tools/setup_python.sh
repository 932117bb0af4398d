#!/usr/bin/env bash
# Makes .venv and installs covalue into it with one extra: tools/setup_python.sh demo|dev
set -euo pipefail
extra=$1
cd "$(dirname "$0")/.."

stop() {
    printf '%s\n' "$@" >&2
    exit 1
}

supported='import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))'

case "$(uname -s)" in
Linux | Darwin) ;;
*) stop "covalue runs on Linux and macOS." "On Windows, use WSL2: run 'wsl --install' and start again in the Linux shell." ;;
esac

if [ -x .venv/bin/python ]; then
    .venv/bin/python -c "$supported" ||
        stop "the environment .venv has $(.venv/bin/python --version), covalue needs Python 3.11 or 3.12." \
            "Remove it with 'make distclean' and start again."
    # A set-up that was stopped half-way, or had no python3.11-venv, left one without pip.
    .venv/bin/python -m pip --version >/dev/null 2>&1 || rm -rf .venv
fi
if [ ! -x .venv/bin/python ]; then
    python=""
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3 python; do
        if command -v "$candidate" >/dev/null && "$candidate" -c "$supported" 2>/dev/null; then
            python=$candidate
            break
        fi
        [ "$candidate" != "${PYTHON:-}" ] || stop "PYTHON=$PYTHON is not Python 3.11 or 3.12."
    done
    [ -n "$python" ] || stop \
        "covalue needs Python 3.11 or 3.12; found $(python3 --version 2>/dev/null || echo 'no Python')." \
        "Install it (Debian: python3.11 and python3.11-venv, macOS: brew install python@3.11)," \
        "or name it: make demo PYTHON=/path/to/python3.11"
    "$python" -m venv .venv || stop \
        "$python cannot make an environment; on Debian install python3.11-venv, then start again."
fi

# torch comes first and alone, so that pip keeps the build it finds here.
say() { printf '%s\n' "$*" >&2; }
say "installing torch (once; minutes, in which pip is silent) ..."
# shellcheck disable=SC2086  # further arguments are words
.venv/bin/python -m pip install --quiet --disable-pip-version-check ${TORCH_PIP_ARGS:-} 'torch==2.13.0'
say "installing covalue with its libraries (once; minutes again) ..."
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$extra]"
mkdir -p .stamps
