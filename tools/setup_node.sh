#!/usr/bin/env bash
# Installs the pinned contract tools (solc, forge, anvil) from package-lock.json.
set -euo pipefail
cd "$(dirname "$0")/.."

stop() {
    printf '%s\n' "$@" >&2
    exit 1
}

command -v node >/dev/null || stop \
    "covalue's local chain and contract tools need Node 20 or newer, and there is no 'node'." \
    "Install Node 20 (macOS: brew install node@20; Linux: your package manager or nvm) and start again."
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] || stop "covalue needs Node 20 or newer, found $(node --version)."
command -v npm >/dev/null || stop "Node is here but npm is not; install npm and start again."

echo "installing solc, forge and anvil (once) ..." >&2
# No install scripts: the binaries come as optional packages of this platform.
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
for tool in anvil forge; do
    "node_modules/.bin/$tool" --version >/dev/null || stop \
        "$tool does not run on this machine ($(uname -sm)); Linux and macOS on x86-64 and arm64 are supported."
done
mkdir -p .stamps
