import { spawn, type ChildProcess } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  truncateSync,
  watch,
} from 'node:fs';
import { once } from 'node:events';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { Duplex } from 'node:stream';
import { encodeAdoption } from '../../src/agent/keeper.ts';
import { locateAgent } from '../../src/agent/locate.ts';
import { machineReady } from '../../src/agent/machine.ts';
import { AgentSession } from '../../src/agent/session.ts';
import { gloveboxDirs } from '../../src/base/paths.ts';
import { MEMORY_FILE, qemuArgs, shareArgv, type MachineInput } from '../../src/drivers/qemu/args.ts';
import { openControl, type Control } from '../../src/drivers/qemu/control.ts';
import { PLACES, type ShareName } from '../../src/drivers/qemu/layout.ts';
import { goOnStopped } from '../../src/drivers/qemu/migrate.ts';
import { findFileServer, findQemu, tscKhz } from '../../src/drivers/qemu/probe.ts';
import { memoryEnd } from '../../src/drivers/qemu/template.ts';
import { MachineCache, machineCacheDir } from '../../src/machine/cache/cache.ts';
import { dataFile, readRecord } from '../../src/machine/cache/record.ts';
import { ensureInitrd, ensureKernel } from '../../src/machine/guest.ts';
import { findKernel } from '../../src/machine/kernel/find.ts';
import type { Place } from './place.ts';

/** Memory of every machine that is measured, in bytes. */
export const MEMORY_BYTES = 1024 ** 3;

const SHARES: readonly ShareName[] = ['base', 'view'];

type Sample = Readonly<Record<string, number>>;

/** Machines without what Glovebox puts around them: no jail, no gateway, no policy, no record. */
export interface BareMachines {
  /** Boots to where a machine would be told what it is. No files. */
  readonly boot: () => Promise<Sample>;
  /**
   * Goes on from the newest template of a plan, to its agent's answer: two file servers that serve everything, a copy of the memory, QEMU. What a
   * clone cannot do without.
   */
  readonly restore: () => Promise<Sample>;
}

/** Text: why there can be none. */
export async function bareMachines(place: Place): Promise<string | BareMachines> {
  const env = place.env();
  try {
    const cacheDir = machineCacheDir(gloveboxDirs(env));
    const cache = new MachineCache(cacheDir);
    const wanted = { cache, lease: cache.lease(), kernel: findKernel(env), agent: locateAgent(env) };
    const kernel = await ensureKernel(wanted);
    const initrd = await ensureInitrd({ ...wanted, features: ['network', 'share'] });
    const khz = tscKhz();
    const machine: MachineInput = {
      ...{ qemu: findQemu(env, '/'), arch: process.arch === 'arm64' ? 'arm64' : 'x64', accelerator: 'tcg' },
      ...{ memoryBytes: MEMORY_BYTES, cpus: 1, shares: [], disk: false, network: true },
      ...(khz === undefined ? {} : { tscKhz: khz }),
    };
    const files = { kernel: kernel.file, initrd: initrd.file };
    return {
      boot: () => bootOnce(machine, files),
      restore: () => restoreOnce({ env, root: place.root, template: newestPlan(cacheDir), machine, files }),
    };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

interface Files {
  readonly kernel: string;
  readonly initrd: string;
}

function start(machine: MachineInput, places: ReadonlyMap<string, string>): ChildProcess {
  const located = (word: string): string =>
    [...places].reduce((text, [from, to]) => text.replace(from, to), word);
  const [program = '', ...words] = qemuArgs(machine).map(located);
  const child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
  child.stderr?.resume();
  return child;
}

function channelOf(child: ChildProcess): Duplex {
  const channel = child.stdio[3];
  if (channel instanceof Duplex) return channel;
  throw new Error('QEMU has no channel');
}

const bootPlaces = ({ kernel, initrd }: Files): readonly (readonly [string, string])[] => [
  [PLACES.kernel, kernel],
  [PLACES.initrd, initrd],
];

async function bootOnce(machine: MachineInput, files: Files): Promise<Sample> {
  const started = performance.now();
  const child = start(machine, new Map(bootPlaces(files)));
  try {
    await machineReady(channelOf(child));
    return { '': performance.now() - started };
  } finally {
    child.kill('SIGKILL');
  }
}

function newestPlan(cacheDir: string): string {
  const entries = path.join(cacheDir, 'entries');
  const found = readdirSync(entries)
    .map((name) => path.join(entries, name))
    .find((entry) => readRecord(entry)?.slot.startsWith('plan ') === true);
  if (found === undefined) throw new Error('no plan has a template');
  return dataFile(found);
}

interface Restore {
  readonly env: NodeJS.ProcessEnv;
  readonly root: string;
  readonly template: string;
  readonly machine: MachineInput;
  readonly files: Files;
}

async function restoreOnce(input: Restore): Promise<Sample> {
  const { template, machine, files } = input;
  const sockets = mkdtempSync(path.join(input.root, 'bare-'));
  const memory = mkdtempSync('/dev/shm/glovebox-bench-');
  const children: ChildProcess[] = [];
  const started = performance.now();
  try {
    const control = await openControl(sockets);
    await Promise.all([
      copyMemory(template, path.join(memory, MEMORY_FILE)),
      ...SHARES.map((name) => serve(name, { sockets, env: input.env, children })),
    ]);
    const places = new Map([
      ...bootPlaces(files),
      [PLACES.sockets, sockets] as const,
      [`mem-path=${PLACES.memory}`, `mem-path=${memory}`] as const,
    ]);
    const child = start({ ...machine, shares: SHARES, control: true, memory: 'shared' }, places);
    children.push(child);
    const session = await adopt(channelOf(child), control, template);
    const elapsed = performance.now() - started;
    session.destroy();
    control.close();
    return { '': elapsed };
  } finally {
    await Promise.all(children.map(ended));
    rmSync(memory, { recursive: true, force: true });
    rmSync(sockets, { recursive: true, force: true });
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

/** By our own copier, which skips holes. */
async function copyMemory(template: string, file: string): Promise<void> {
  const from = openSync(template, 'r');
  const to = openSync(file, 'wx', 0o600);
  try {
    truncateSync(file, memoryEnd({ memoryBytes: MEMORY_BYTES }));
    const child = spawn(locateAgent(), ['keep'], { stdio: ['ignore', 'ignore', 'ignore', from, to] });
    const [code] = (await once(child, 'exit')) as [number | null];
    if (code !== 0) throw new Error(`the memory could not be copied: ${code}`);
  } finally {
    closeSync(from);
    closeSync(to);
  }
}

interface Serving {
  readonly sockets: string;
  readonly env: NodeJS.ProcessEnv;
  readonly children: ChildProcess[];
}

/** A file server without a jail, which serves the whole host: paths below it are those that a clone's guest knows. */
async function serve(name: ShareName, { sockets, env, children }: Serving): Promise<void> {
  const server = findFileServer(env, '/');
  if (server === undefined) throw new Error('no virtiofsd');
  const libraries = server.libraries ?? '';
  const loader =
    libraries === '' ? '' : (readdirSync(libraries).find((file) => file.startsWith('ld-linux')) ?? '');
  const [program = '', ...words] = shareArgv(server, { name, loader, succeeds: true }).map((word) =>
    word
      .replace(PLACES.sockets, sockets)
      .replace(`--shared-dir=${PLACES.view}`, '--shared-dir=/')
      .replace(/^\/server\/virtiofsd$/, server.program)
      .replace(/^\/server/, libraries),
  );
  children.push(spawn(program, words, { stdio: 'ignore' }));
  const watcher = watch(sockets);
  try {
    while (!existsSync(path.join(sockets, name))) await once(watcher, 'change');
  } finally {
    watcher.close();
  }
}

async function adopt(channel: Duplex, control: Control, template: string): Promise<AgentSession> {
  const client = await control.client;
  await client.open();
  await goOnStopped(client, template, memoryEnd({ memoryBytes: MEMORY_BYTES }));
  const session = new AgentSession(channel, { airlock: false, oneshot: false });
  const thawed = (await control.keeper).thaw({
    ...{ hostname: 'bare', machineId: '1'.repeat(32), seed: new Uint8Array(64) },
    clockNs: BigInt(Date.now()) * 1_000_000n,
  });
  channel.write(encodeAdoption());
  await Promise.all([thawed, session.hello]);
  return session;
}
