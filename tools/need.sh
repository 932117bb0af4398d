#!/usr/bin/env bash
# Sees to it that system packages are there: tools/need.sh COMMAND=PACKAGE ...
# Installs what is missing with apt where it may, otherwise stops and names it. Never skips.
set -euo pipefail

missing=()
for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo -n)
fi
if command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }; then
    echo "installing ${missing[*]} ..." >&2
    ${as_root[@]+"${as_root[@]}"} apt-get update -qq
    DEBIAN_FRONTEND=noninteractive ${as_root[@]+"${as_root[@]}"} \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
else
    printf '%s\n' "the tests need these system packages: ${missing[*]}" \
        "Install them with your package manager and start again." >&2
    exit 1
fi
