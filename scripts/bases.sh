#!/usr/bin/env bash
# Builds base systems of Debian packages and puts them into the image store: reproducible enough, and nothing is downloaded from a registry.
#   scripts/bases.sh python [node …]        makes images of those names
#   SUITE=trixie scripts/bases.sh python    from another Debian release (default: bookworm)
# Needs mmdebstrap. The mirror, and the way to it, are those of this machine's apt.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A packages=(
  [minimal]=''
  [python]='python3,python3-venv,python3-pip,ca-certificates,git'
  [node]='nodejs,npm,ca-certificates,git'
)
suite="${SUITE:-bookworm}"
glovebox="${GLOVEBOX:-node dist/bin/glovebox.js}"

say() { printf 'bases: %s\n' "$*" >&2; }

command -v mmdebstrap >/dev/null || { say 'mmdebstrap is missing: apt-get install mmdebstrap'; exit 125; }
[ "$#" -gt 0 ] || { say "name at least one of: ${!packages[*]}"; exit 125; }

# An ordinary user needs ranges in /etc/subuid for the other modes; the store gives every file to its owner anyway.
mode=auto
for name in "$@"; do
  [ -n "${packages[$name]+set}" ] || { say "there is no base $name; known: ${!packages[*]}"; exit 125; }
  say "building $name from $suite"
  include="${packages[$name]}"
  # Documentation and translations are two thirds of what nobody reads in a sandbox.
  mmdebstrap --quiet --mode="$mode" --variant=minbase ${include:+--include="$include"} \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --aptopt='APT::Install-Recommends "false"' "$suite" - | $glovebox image import - "$name"
done
