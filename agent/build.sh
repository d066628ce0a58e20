#!/bin/sh
# Builds the static helper. Usage: agent/build.sh [--asan] [OUT]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mode=static
if [ "${1:-}" = --asan ]; then
  mode=asan
  shift
fi
[ "$mode" = asan ] && name=glovebox-agent-asan || name=glovebox-agent
out=${1:-$here/build/$name}
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' "$here/../package.json" 2>/dev/null || true)

pick() {
  for candidate in "$@"; do
    if command -v "$candidate" >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
}

if [ "$mode" = asan ]; then cc=$(pick gcc clang cc); else cc=${CC:-$(pick musl-gcc gcc cc)}; fi
if [ -z "$cc" ]; then
  echo "agent/build.sh: no C compiler found. Install one: apt-get install gcc libc6-dev (or musl-tools)" >&2
  exit 1
fi

flags="-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2 -g0 -fno-strict-aliasing -fstack-protector-strong"
if [ "$mode" = asan ]; then
  flags="$flags -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
else
  flags="$flags -static"
fi

mkdir -p "$(dirname "$out")"
# Written beside the target and renamed, so that a running sandbox never executes half a file.
# shellcheck disable=SC2086
if ! "$cc" $flags -DGLOVEBOX_AGENT_VERSION="\"${version:-0.0.0}\"" -o "$out.$$" "$here"/src/*.c; then
  rm -f "$out.$$"
  echo "agent/build.sh: $cc failed. A static libc is needed: apt-get install libc6-dev (or musl-tools)" >&2
  exit 1
fi
[ "$mode" = asan ] || strip "$out.$$" 2>/dev/null || true
mv -f "$out.$$" "$out"
