#!/usr/bin/env bash
# Sets everything up and runs the tests: as the caller and, when that is root, again as an ordinary user. `--full` adds those that boot a
# machine for each of many faults or fetch a base system of Debian packages, and tries every attack in the machines of both their tiers: an
# hour and more where they are emulated.
# Ends with one plain line: N passed, N failed, N skipped. A test that fails is tried once more, and named at the end if it passes then:
# what a busy machine does to a time limit must not hide what a change did, nor the other way round.
set -uo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh --dev || exit 1

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
status=0

full=${1:-}
slow=(--exclude 'test/integration/{vm-faults,machine-stage,image-debian}.test.ts')
[ "$full" = --full ] && slow=()

note() { printf '\n== %s\n' "$*"; }

# What an ordinary user's rights change. Every attack runs in the process tier as root and in the container tier as this user, whose
# sandbox has to do without any of root's rights; each is the harder way for its tier.
user_files=(test/attack/
  test/integration/{sdk,sdk-attach,sdk-crash,files,faults,network-change,publish}.test.ts
  test/integration/{container,podman,inspection-clients}.test.ts)
# Attacks on the gateway's own bounds, which it sets without knowing the tier or the user: once is enough. All of them by hand:
# `GLOVEBOX_TEST_TIERS=container npx vitest run --project attack`.
user_leaves_out=(--exclude 'test/attack/egress-{ask-flood,budgets,dlp-large,dns-tunnel,idle-sockets,isolation,path-tricks}.test.ts'
  --exclude 'test/attack/egress-{memory,memory-websocket,record-flood,stall}.test.ts' --exclude 'test/attack/terminal-question.test.ts')

# A machine is the process tier's sandbox on a kernel of its own, so the default is one attack for each wall that stands elsewhere there:
# the file servers, the relay, the memory and the processes of the machine. Four for gVisor in it: its channel, its own first process, masks
# below its gofer, its network stack behind two relays.
machine_attacks=(file-proc-root file-devices file-workspace-symlink-out deny-direct deny-glob-unreadable deny-rename-parent
  protect-git-hooks protect-symlink-replaced network-udp network-ipv6 network-unlisted-host egress-redirect
  process-capabilities process-ptrace-init resource-fork-bomb resource-memory-children)
nested_attacks=(process-channel-hijack process-init-memory protect-git-hooks network-ipv6)

# attack_in RESULT TIERS FILE...: every attack where no file is named.
attack_in() {
  local result=$1 tiers=$2
  shift 2
  GLOVEBOX_TEST_TIERS=$tiers npx --no-install vitest run --retry 1 --project attack "$@" \
    --reporter=default --reporter=json --outputFile.json="$results/$result.json" || status=1
}

# The same suite from a copy that an ordinary user can read; hard links where the file system allows.
run_as_user() {
  local copy
  copy=$(mktemp -d /var/tmp/glovebox-user-XXXXXX)
  cp -al . "$copy/tree" 2>/dev/null || { rm -rf "$copy/tree"; cp -a . "$copy/tree"; }
  rm -rf "$copy/tree/.git"
  mkdir -p "$copy/home" "$copy/results"
  chmod 755 "$copy" "$copy/tree"
  # vitest compiles its configuration in there.
  mkdir -p "$copy/tree/node_modules/.vite-temp"
  chown 1000:1000 "$copy/home" "$copy/results" "$copy/tree/node_modules/.vite-temp"
  (
    cd "$copy/tree" &&
      env -i PATH="$PATH" HOME="$copy/home" LANG=C.UTF-8 GLOVEBOX_TEST_TIERS=container ${CI:+CI="$CI"} ${NODE_EXTRA_CA_CERTS:+NODE_EXTRA_CA_CERTS="$NODE_EXTRA_CA_CERTS"} \
        npm_config_registry="$(npm config get registry 2>/dev/null)" \
        setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all --bounding-set=-all \
        npx --no-install vitest run --retry 1 --project integration --project attack \
        "${user_files[@]}" "${user_leaves_out[@]}" --reporter=default --reporter=json --outputFile.json="$copy/results/user.json"
  ) || status=1
  cp "$copy/results/user.json" "$results/" 2>/dev/null || status=1
  rm -rf "$copy"
}

note 'static checks'
npm run --silent check || status=1

note 'the agent (C): unit tests and fuzzing under sanitizers'
bash agent/test.sh 2>&1 | tee "$results/agent.txt" || status=1

note 'tests'
npx --no-install vitest run --retry 1 --project unit --project pins --project gateway --project integration "${slow[@]}" \
  --reporter=default --reporter=json --outputFile.json="$results/all.json" || status=1

note 'attacks'
attack_tiers=process,container
[ "$(id -u)" -eq 0 ] && attack_tiers=process
attack_in attacks "$attack_tiers"

# Fewer at once than elsewhere: an emulated machine keeps a processor busy. vitest's option for it gives way to the project's own.
note 'attacks in a machine'
export VITEST_MAX_WORKERS=2
if [ "$full" = --full ]; then
  attack_in machine vm,vm+gvisor
else
  attack_in machine vm "${machine_attacks[@]/#/test/attack/}"
  attack_in nested vm+gvisor "${nested_attacks[@]/#/test/attack/}"
fi
unset VITEST_MAX_WORKERS

if [ "$(id -u)" -eq 0 ]; then
  note 'sandbox tests as an ordinary user'
  run_as_user
fi

node scripts/count.mjs "$results" || status=1
exit "$status"
