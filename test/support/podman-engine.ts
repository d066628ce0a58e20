import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { isAlive, processIdentity, type ProcessIdentity } from '../../src/base/process-identity.ts';

/** A Podman with storage of its own, run as whoever runs the tests; or what is missing here for one. */
export type TestPodman =
  | {
      /** The client: it knows where its storage is. */
      readonly program: string;
      /** It can hold limits: as root, or with control groups of version 2 that the user may use. */
      readonly limits: boolean;
      stop(): void;
    }
  | { readonly missing: string };

const RUNTIMES = ['/usr/sbin/runc', '/usr/bin/runc', '/usr/bin/crun'];

/** Makes a Podman ready that shares nothing with another one of this machine. `GLOVEBOX_TEST_PODMAN` names another program. */
export function startPodman(): TestPodman {
  const program = process.env['GLOVEBOX_TEST_PODMAN'] ?? '/usr/bin/podman';
  const runtime = RUNTIMES.find((name) => existsSync(name));
  if (!existsSync(program)) return { missing: 'podman is not installed' };
  if (runtime === undefined) return { missing: 'neither runc nor crun is installed' };
  const base = mkdtempSync('/var/tmp/gbp-');
  const before = traces();
  const client = configure(base, { program, runtime });
  const stop = (): void => removeTraces(base, client, before);
  const asked = spawnSync(client, ['info', '--format', '{{json .Host}}'], { encoding: 'utf8' });
  if (asked.status === 0) {
    const { cgroupVersion, cgroupControllers } = JSON.parse(asked.stdout) as HostInfo;
    const root = process.getuid?.() === 0;
    const limits = cgroupVersion === 'v1' ? root : cgroupControllers.includes('memory');
    return { program: client, limits, stop };
  }
  stop();
  return { missing: `podman does not work here: ${asked.stderr.trim().split('\n').at(-1) ?? 'no answer'}` };
}

interface HostInfo {
  readonly cgroupVersion: string;
  readonly cgroupControllers: readonly string[];
}

/** Everything that it writes goes below `base`. Source: containers.conf(5), containers-storage.conf(5), containers-policy.json(5). */
function configure(
  base: string,
  { program, runtime }: { readonly program: string; readonly runtime: string },
): string {
  const home = path.join(base, 'home');
  mkdirSync(path.join(home, '.config/containers'), { recursive: true });
  mkdirSync(path.join(base, 'run'), { mode: 0o700 });
  writeFileSync(
    path.join(home, '.config/containers/policy.json'),
    '{"default":[{"type":"insecureAcceptAnything"}]}',
  );
  const name = path.basename(runtime);
  // Beside the program, where that was unpacked instead of installed.
  const monitors = [path.join(path.dirname(realpathSync(program)), 'conmon'), '/usr/bin/conmon'];
  const lines = [
    '[engine]',
    `conmon_path = ${JSON.stringify(monitors.filter((file) => existsSync(file)))}`,
    `runtime = "${name}"`,
    ...['cgroup_manager = "cgroupfs"', 'events_logger = "none"', 'lock_type = "file"'],
    ...[`tmp_dir = "${base}/tmp"`, `volume_path = "${base}/volumes"`],
    `[engine.runtimes]\n${name} = ["${runtime}"]`,
  ];
  writeFileSync(path.join(base, 'containers.conf'), `${lines.join('\n')}\n`);
  const graph = `${base}/graph`;
  const storage = `[storage]\ndriver = "overlay"\ngraphroot = "${graph}"\nrunroot = "${base}/runroot"\nrootless_storage_path = "${graph}"\n`;
  writeFileSync(path.join(base, 'storage.conf'), storage);
  const client = path.join(base, 'podman');
  const words = [`HOME=${home}`, `XDG_RUNTIME_DIR=${base}/run`, `CONTAINERS_CONF=${base}/containers.conf`];
  const script = `#!/bin/sh\n${words.join(' ')} CONTAINERS_STORAGE_CONF=${base}/storage.conf exec ${program} "$@"\n`;
  writeFileSync(client, script);
  chmodSync(client, 0o755);
  return client;
}

const CGROUPS = '/sys/fs/cgroup';
/** Written by name, wherever the storage is. */
const CACHES = ['/var/lib/containers/cache', '/var/lib/containers'];

/** What Podman keeps outside of its storage. */
function traces(): ReadonlySet<string> {
  const groups = existsSync(CGROUPS)
    ? [CGROUPS, ...readdirSync(CGROUPS).map((name) => path.join(CGROUPS, name))]
    : [];
  return new Set(
    [...groups.map((dir) => path.join(dir, 'libpod_parent')), ...CACHES].filter((name) => existsSync(name)),
  );
}

function removeTraces(base: string, client: string, before: ReadonlySet<string>): void {
  spawnSync(client, ['rm', '--all', '--force']);
  const holder = namespaceHolder(base);
  unmountBelow(base);
  if (holder !== undefined && isAlive(holder)) process.kill(holder.pid, 'SIGKILL');
  // Layers of an ordinary user may have modes that keep him out.
  spawnSync('chmod', ['-R', 'u+rwx', base]);
  rmSync(base, { recursive: true, force: true });
  if (process.getuid?.() !== 0) return;
  for (const left of traces()) {
    if (before.has(left)) continue;
    if (left.startsWith(CGROUPS)) removeGroup(left);
    else rmSync(left, { recursive: true, force: true });
  }
}

/** An ordinary user's Podman keeps a process that holds his user namespace. */
function namespaceHolder(base: string): ProcessIdentity | undefined {
  const files = ['tmp/pause.pid', 'run/libpod/tmp/pause.pid'].map((name) => path.join(base, name));
  const file = files.find((name) => existsSync(name));
  return file === undefined ? undefined : processIdentity(Number(readFileSync(file, 'utf8').trim()));
}

function unmountBelow(base: string): void {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap((line) => line.split(' ')[4] ?? [])
    .filter((point) => point.startsWith(`${base}/`));
  for (const point of points.toReversed()) spawnSync('umount', ['--lazy', point]);
}

/** Empty ones only: a group with something in it belongs to another Podman. */
function removeGroup(group: string): void {
  try {
    for (const name of readdirSync(group, { withFileTypes: true }))
      if (name.isDirectory()) rmdirSync(path.join(group, name.name));
    rmdirSync(group);
  } catch {
    // Not empty.
  }
}
