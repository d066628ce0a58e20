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
# git and python3 run inside sandboxes in the tests; util-linux has setpriv; clang has the fuzzer; docker.io and podman have the
# engines that the tests start for themselves (the service that one may bring along is not used); the others are real clients and
# servers that the gateway is tried with.
dev_packages=(git util-linux procps iproute2 clang libclang-rt-14-dev
  openssh-client openssh-server python3-requests python3-grpcio golang-go openjdk-17-jdk-headless
  mmdebstrap zstd redis-server postgresql docker.io podman
  python3-matplotlib python3-pandas)

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

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# runsc (gVisor), for the container tier. What Debian 12 has itself is too old; its backports have a newer one. A machine without it
# has the process tier.
install_runsc() {
  local codename
  if [ -n "${GLOVEBOX_RUNSC:-}" ]; then
    say "using the runsc that GLOVEBOX_RUNSC names: $GLOVEBOX_RUNSC"
    return 0
  fi
  if command -v runsc >/dev/null && ! runsc --version | grep -q '20221219'; then return 0; fi
  codename=$(. /etc/os-release 2>/dev/null && printf '%s' "${VERSION_CODENAME:-}")
  if [ "$codename" != bookworm ]; then
    install_packages runsc || say 'no runsc: the container tier will not be available (https://gvisor.dev/docs/user_guide/install)'
    return 0
  fi
  if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    say 'no runsc: run this script once as root for the container tier'
    return 0
  fi
  say 'installing runsc from bookworm-backports'
  if ! enable_backports || ! DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends -t bookworm-backports runsc >/dev/null; then
    say 'no runsc: the container tier will not be available'
  fi
}

# From the server that the machine's own packages come from.
enable_backports() {
  local site
  # shellcheck disable=SC2016 # apt-get fills these in
  apt-get indextargets --format '$(RELEASE)' | grep -qx bookworm-backports && return 0
  # shellcheck disable=SC2016
  site=$(apt-get indextargets --format '$(RELEASE) $(SITE)' | awk '$1 == "bookworm" { print $2; exit }')
  printf '%s\n' 'Types: deb' "URIs: ${site:-http://deb.debian.org/debian}" 'Suites: bookworm-backports' 'Components: main' \
    'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' |
    as_root tee /etc/apt/sources.list.d/bookworm-backports.sources >/dev/null
  as_root apt-get update -qq
}

# shellcheck source=scripts/setup-vm.sh
. scripts/setup-vm.sh

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
install_runsc
install_vm
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  say 'installing the packages of package-lock.json'
  npm ci --no-audit --no-fund --loglevel=error
fi
say 'building'
npm run --silent build
