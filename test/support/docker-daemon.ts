import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** A Docker engine of our own, with everything it has below one temporary directory; or what is missing here for one. */
export type TestDocker =
  | { readonly host: string; readonly runtimes: readonly string[]; stop(): Promise<void> }
  | { readonly missing: string };

const PROGRAMS = ['/usr/sbin/dockerd', '/usr/bin/dockerd'];
const READY_TRIES = 150;

/** Starts a `dockerd` that touches neither the network nor another engine. Needs root. */
export async function startDocker(): Promise<TestDocker> {
  const program = PROGRAMS.find((name) => existsSync(name));
  if (process.getuid?.() !== 0) return { missing: 'a dockerd of its own needs root' };
  if (program === undefined) return { missing: 'dockerd is not installed' };
  // Short: sockets below it have at most 107 bytes.
  const base = mkdtempSync('/var/tmp/gbd-');
  const host = `unix://${base}/d.sock`;
  const before = groups();
  const runsc = ['/usr/bin/runsc', '/usr/local/bin/runsc'].find((name) => existsSync(name));
  const daemon = spawn(program, daemonArgs(base, host, runsc), { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [daemon.stdout, daemon.stderr])
    stream.on('data', (chunk: Buffer) => (log += chunk.toString()));
  const ended = new Promise<void>((resolve) => {
    daemon.once('error', () => resolve());
    daemon.once('close', () => resolve());
  });
  const stop = async (): Promise<void> => {
    daemon.kill('SIGTERM');
    await ended;
    removeTraces(base, before);
  };
  const over = { now: false };
  void ended.then(() => (over.now = true));
  for (let tries = 0; tries < READY_TRIES && !over.now; tries++) {
    if (log.includes('API listen on'))
      return { host, runtimes: runsc === undefined ? ['runc'] : ['runc', 'runsc'], stop };
    await delay(100);
  }
  await stop();
  const why = /(?:failed to start daemon|level=(?:fatal|error) msg=)(.*)/.exec(log)?.[1] ?? 'it said nothing';
  return { missing: `dockerd does not start here: ${why.trim().slice(0, 200)}` };
}

function daemonArgs(base: string, host: string, runsc: string | undefined): readonly string[] {
  const config = path.join(base, 'daemon.json');
  const runtimeArgs = ['--platform=systrap', '--network=none', '--host-uds=open'];
  const runtimes = runsc === undefined ? {} : { runsc: { path: runsc, runtimeArgs } };
  writeFileSync(config, JSON.stringify({ runtimes }));
  return [
    ...['--config-file', config, '--data-root', `${base}/data`, '--exec-root', `${base}/exec`],
    ...['--pidfile', `${base}/pid`, '--host', host, '--iptables=false', '--ip6tables=false', '--bridge=none'],
    ...['--storage-driver=overlay2', '--exec-opt', 'native.cgroupdriver=cgroupfs'],
  ];
}

const CGROUPS = '/sys/fs/cgroup';

/** The engine's own groups: one in each hierarchy of version 1, one in version 2. */
function groups(): ReadonlySet<string> {
  if (!existsSync(CGROUPS)) return new Set();
  const parents = [CGROUPS, ...readdirSync(CGROUPS).map((name) => path.join(CGROUPS, name))];
  return new Set(parents.map((dir) => path.join(dir, 'docker')).filter((dir) => existsSync(dir)));
}

/** What a stopped engine leaves: mounts, directories, empty groups. */
function removeTraces(base: string, before: ReadonlySet<string>): void {
  const points = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap((line) => line.split(' ')[4] ?? [])
    .filter((point) => point.startsWith(`${base}/`));
  for (const point of points.toReversed()) spawnSync('umount', ['--lazy', point]);
  rmSync(base, { recursive: true, force: true });
  for (const group of groups()) {
    if (before.has(group)) continue;
    try {
      rmdirSync(group);
    } catch {
      // Another engine has something in it.
    }
  }
}
