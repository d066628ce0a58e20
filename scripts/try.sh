#!/usr/bin/env bash
# Sets Glovebox up and shows it at work on a sample project: one allowed and one refused attempt of each kind.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
cd "$root"
bash scripts/setup.sh --demo

demo=$(mktemp -d "${XDG_CACHE_HOME:-$HOME/.cache}/glovebox-demo-XXXXXX" 2>/dev/null || mktemp -d /var/tmp/glovebox-demo-XXXXXX)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$demo"' EXIT
project=$demo/project
mkdir -p "$project/.git/hooks" "$demo/secrets"
echo 'print("built", 6 * 7)' > "$project/build.py"
cat > "$project/fetch.py" <<'PY'
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1]).read().decode().strip())
except urllib.error.HTTPError as error:
    print(error, error.headers.get("X-Glovebox-Denied"))
    sys.exit(1)
PY
echo 'API_KEY=canary-in-dot-env' > "$project/.env"
echo 'canary-outside' > "$demo/secrets/token"

# A service of the host, for the two network attempts: nothing leaves this machine.
node -e 'require("http").createServer((q,r)=>r.end("answer of a host service\n")).listen(0,"127.0.0.1",function(){console.log(this.address().port)})' > "$demo/port" &
server=$!
while [ ! -s "$demo/port" ]; do read -r -t 0.05 <> <(:) || true; done
port=$(cat "$demo/port")

glovebox() { node "$root/dist/bin/glovebox.js" "$@"; }
quoted() { # words as they would be typed
  local word
  for word in "$@"; do
    if [[ $word =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]]; then printf ' %s' "$word"; else printf " '%s'" "$word"; fi
  done
}
attempt() { # TITLE -- glovebox options and command
  printf '\n\033[1m%s\033[0m\n' "$1"
  shift
  printf '  $ glovebox run%s\n' "$(quoted "$@")"
  local code=0
  (cd "$project" && glovebox run "$@") > "$demo/output" 2>&1 || code=$?
  sed 's/^/    /' "$demo/output"
  printf '    exit code %s\n' "$code"
}

attempt 'Files: the workspace can be read and written' -- sh -c 'cat build.py && echo done > out.txt && cat out.txt'
attempt 'Files: the rest of the machine is not there' -- cat "$demo/secrets/token"
attempt 'Files: what the policy denies is not there either' --deny .env -- cat .env
attempt 'Persistence: nothing may be planted that your machine runs later' -- sh -c 'echo evil > .git/hooks/pre-commit'
attempt 'Programs: what is installed runs' -- python3 build.py
attempt 'Processes: only its own are there' -- sh -c 'ls -d /proc/[0-9]* | wc -l'
attempt 'Network: a host that no rule names' -- python3 fetch.py http://example.com/
attempt 'Network: an allowed service' --allow "host-loopback:$port" -- python3 fetch.py "http://host-loopback:$port/"
attempt 'Spending: wall clock' --timeout 1s -- sleep 60
attempt 'Spending: processes' --pids 40 -- sh -c 'for i in $(seq 60); do sleep 1 & done; wait'

printf '\n\033[1mCredentials: one host, one account (examples/pinned-api.mjs)\033[0m\n'
node "$root/examples/pinned-api.mjs" | sed 's/^/    /'

printf '\n\033[1mThe record of every decision\033[0m\n'
glovebox audit tail -n 12 | sed 's/^/    /'
glovebox audit verify | sed 's/^/    /'
printf '\nNow in a project of yours: node %s/dist/bin/glovebox.js run -- COMMAND\n' "$root"
