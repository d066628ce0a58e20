#!/usr/bin/env bash
# Installs what Glovebox needs on Debian 12 (or newer) and builds it. Safe to run again: it only adds what is missing.
#   scripts/setup.sh          packages for running
#   scripts/setup.sh --demo   also what the demonstration uses
#   scripts/setup.sh --dev    also what the tests use
set -euo pipefail
cd "$(dirname "$0")/.."

# bubblewrap: the jail. gcc, libc6-dev, musl-tools: the agent, one small static C program. ca-certificates: TLS of npm.
packages=(bubblewrap gcc libc6-dev musl-tools ca-certificates)
demo_packages=(python3 curl openssl)
# git and python3 run inside sandboxes in the tests; util-linux has setpriv; clang has the fuzzer; the others are real clients and
# servers that the gateway is tried with.
dev_packages=(git util-linux procps iproute2 clang libclang-rt-14-dev
  openssh-client openssh-server python3-requests python3-grpcio golang-go openjdk-17-jdk-headless
  redis-server postgresql)

say() { printf 'setup: %s\n' "$*" >&2; }

missing() {
  local name
  for name in "$@"; do
    dpkg-query -W -f='${Status}\n' "$name" 2>/dev/null | grep -q 'ok installed' || printf '%s\n' "$name"
  done
}

install_packages() {
  local wanted
  mapfile -t wanted < <(missing "$@")
  [ "${#wanted[@]}" -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then
    say "these are missing, and there is no apt-get to install them with: ${wanted[*]}"
    exit 125
  fi
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { say "run once as root: apt-get install ${wanted[*]}"; exit 125; }
    sudo=(sudo)
  fi
  say "installing ${wanted[*]}"
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
}

check_node() {
  command -v node >/dev/null || { say "Node.js 20.19 or newer is needed (https://nodejs.org)"; exit 125; }
  node -e 'const [a,b]=process.versions.node.split(".").map(Number); process.exit(a>20||(a===20&&b>=19)?0:1)' ||
    { say "Node.js 20.19 or newer is needed, this is $(node --version)"; exit 125; }
}

check_node
case "${1:-}" in
  --dev) install_packages "${packages[@]}" "${demo_packages[@]}" "${dev_packages[@]}" ;;
  --demo) install_packages "${packages[@]}" "${demo_packages[@]}" ;;
  *) install_packages "${packages[@]}" ;;
esac
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  say 'installing the packages of package-lock.json'
  npm ci --no-audit --no-fund --loglevel=error
fi
say 'building'
npm run --silent build
