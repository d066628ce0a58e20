#!/bin/sh
# Unit tests of the helper under ASan and UBSan, then a bounded fuzz of its parsers.
# Usage: agent/test.sh [SECONDS]; the fuzz takes 5 seconds by default.
set -u
here=$(cd "$(dirname "$0")" && pwd)
seconds=${1:-5}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
passed=0
failed=0
sources=$(ls "$here"/src/*.c | grep -v '/main\.c$')
flags="-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all"

pick() {
  for candidate in "$@"; do
    command -v "$candidate" >/dev/null 2>&1 && echo "$candidate" && return
  done
}

# step NAME COMMAND...: one check that passes or fails as a whole.
step() {
  name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "agent: $name failed:" >&2
    tail -40 "$work/log" >&2
  fi
}

cc=$(pick gcc clang cc)
if [ -z "$cc" ]; then
  echo "agent: no C compiler found. Install one: apt-get install gcc libc6-dev" >&2
  echo "agent: 0 passed, 1 failed"
  exit 1
fi

step "build with sanitizers" "$here/build.sh" --asan "$work/agent-asan"
step "sanitized version" "$work/agent-asan" version

# shellcheck disable=SC2086
step "build unit tests" "$cc" $flags -fsanitize=address,undefined -pthread -o "$work/unit" "$here/test/unit.c" "$here/test/work.c" "$here/test/tunnel.c" "$here/test/machine.c" "$here/test/copied.c" "$here/test/ferry.c" $sources
if [ -x "$work/unit" ]; then
  counts=$("$work/unit" 2>"$work/unit.err") || cat "$work/unit.err" >&2
  # shellcheck disable=SC2086
  set -- $counts
  passed=$((passed + ${1:-0}))
  failed=$((failed + ${2:-1}))
fi

# shellcheck disable=SC2086
step "build fuzz driver" "$cc" $flags -fsanitize=address,undefined -o "$work/driver" "$here/test/fuzz.c" "$here/test/driver.c" $sources
step "fuzz with fixed inputs" "$work/driver" 20000

# shellcheck disable=SC2086
if command -v clang >/dev/null 2>&1 &&
  clang $flags -fsanitize=fuzzer,address,undefined -o "$work/fuzz" "$here/test/fuzz.c" $sources 2>"$work/clang.err"; then
  mkdir "$work/corpus"
  step "libFuzzer" "$work/fuzz" -max_total_time="$seconds" -max_len=4096 -timeout=5 -artifact_prefix="$work/" "$work/corpus"
else
  echo "agent: libFuzzer skipped: clang with its runtime is missing (apt-get install clang)" >&2
fi

echo "agent: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
