import { spawn, spawnSync, type ChildProcess, type StdioOptions } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  accessSync,
  constants,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, inject, it } from 'vitest';
import { collect, GLOVEBOX, TestBox, type BoxResult, type RunOptions } from './box.ts';

/** `docker` is the container tier by Docker with its usual runtime: the host's kernel, so its answers are those of the process tier. */
export type AttackTier = 'process' | 'container' | 'vm' | 'vm+gvisor' | 'docker';

/** The tiers that every attack is tried in; `GLOVEBOX_TEST_TIERS=container` leaves the others out. */
export const TIERS: readonly AttackTier[] = (
  ['process', 'container', 'vm', 'vm+gvisor', 'docker'] as const
).filter((tier) => (process.env['GLOVEBOX_TEST_TIERS'] ?? 'process,container').split(',').includes(tier));

const PROBES = path.resolve(import.meta.dirname, '../attack/probes');
export const PYTHON = '/usr/bin/python3';

/** Where QEMU translates every instruction, a busy machine takes its time. */
const PATIENCE_MS: Readonly<Record<AttackTier, number>> = {
  process: 60_000,
  container: 60_000,
  docker: 60_000,
  vm: 180_000,
  'vm+gvisor': 360_000,
};
/** How long the longest run of a test may take of that. */
const RUN_PART = 0.75;

/**
 * One attack, tried in every tier. `needs` lists what is missing here (undefined: nothing): the test is then skipped with
 * the missing piece in its name.
 */
export function forEachTier(
  name: string,
  attack: (tier: AttackTier) => Promise<void>,
  needs: readonly (string | undefined)[] = [],
  tiers: readonly AttackTier[] = TIERS,
): void {
  for (const tier of tiers) {
    const refused = BEYOND[tier]?.get(name);
    const missing = [tierNeeds(tier), refused, ...needs].filter((need) => need !== undefined);
    if (missing.length > 0) it.skip(`[${tier}] ${name} (skipped: ${missing.join(', ')})`, () => undefined);
    else it(`[${tier}] ${name}`, { timeout: PATIENCE_MS[tier] }, () => attack(tier));
  }
}

const LINKS = 'an engine follows links: such a rule is refused, see docker-refuses.test.ts';

/** What an engine cannot do, and is not asked for: src/drivers/docker/README.md. */
const BEYOND_ENGINES: ReadonlyMap<string, string> = new Map([
  ['a protected link is held in place, and so is its target', LINKS],
  ['the absent target of a protected link cannot be created', LINKS],
  ['a rule on a link, or through a linked directory, covers the real file', LINKS],
  [
    'a deny glob covers files with odd names',
    'an engine takes only UTF-8: refused, see docker-refuses.test.ts',
  ],
  [
    '/sys, cgroupfs, debugfs and securityfs are not there',
    'an empty /sys/fs/cgroup is: see docker-walls.test.ts',
  ],
]);

/** What a machine cannot be lent, and is not asked for: docs/design/microvm.md. */
const BEYOND_MACHINES: ReadonlyMap<string, string> = new Map(
  [
    'the lent agent signs logins at named hosts and does nothing else',
    'a flood of refused signatures does not fill the record',
  ].map((name) => [name, 'a machine reaches no socket of the host: refused, see vm.test.ts']),
);

const BEYOND: Readonly<Partial<Record<AttackTier, ReadonlyMap<string, string>>>> = {
  docker: BEYOND_ENGINES,
  vm: BEYOND_MACHINES,
  'vm+gvisor': BEYOND_MACHINES,
};

/** What this tier lacks on this machine. */
export function tierNeeds(tier: AttackTier): string | undefined {
  const jail = needsProgram('bwrap');
  if (tier === 'docker') return jail ?? inject('dockerMissing');
  if (tier === 'vm') return jail ?? inject('machineMissing');
  if (tier === 'vm+gvisor') return jail ?? inject('machineMissing') ?? needsProgram('runsc');
  return tier === 'process' ? jail : (jail ?? needsProgram('runsc') ?? inject('guestMissing'));
}

/** The tier as a policy names it. */
export function policyTier(tier: AttackTier): 'process' | 'container' | 'vm' | 'vm+gvisor' {
  return tier === 'docker' ? 'container' : tier;
}

/** What makes a run of this tier use its engine. */
export function engineEnv(tier: AttackTier): Readonly<Record<string, string>> {
  const host = tier === 'docker' ? inject('dockerHost') : undefined;
  return host === undefined ? {} : { GLOVEBOX_DRIVER: 'docker', DOCKER_HOST: host };
}

/** Answers that only a guest kernel gives; docs/design/container.md has each of them with its reason. */
export function inGuest(tier: AttackTier, ...answers: readonly string[]): readonly string[] {
  return tier === 'container' || tier === 'vm+gvisor' ? answers : [];
}

/** What machines boot is made once for all boxes, instead of once in the cache of each. */
export function lendMachines(box: TestBox): void {
  const place = path.join(box.home, '.cache/glovebox/machine');
  if (lstatSync(place, { throwIfNoEntry: false }) !== undefined) return;
  mkdirSync(path.dirname(place), { recursive: true, mode: 0o700 });
  symlinkSync(inject('machineCache'), place);
}

/** Answers that only a machine gives; docs/design/microvm.md has each of them with its reason. */
export function inMachine(tier: AttackTier, ...answers: readonly string[]): readonly string[] {
  return tier === 'vm' || tier === 'vm+gvisor' ? answers : [];
}

/** What to hand to `forEachTier` for a program that may be absent on this machine. */
export function needsProgram(name: string): string | undefined {
  const dirs = [...(process.env['PATH'] ?? '').split(':'), '/usr/bin', '/usr/sbin'];
  return dirs.some((dir) => isExecutable(path.join(dir, name))) ? undefined : `${name} is not installed`;
}

export function needsArch(arch: NodeJS.Architecture): string | undefined {
  return process.arch === arch ? undefined : `${arch} only`;
}

export const isRoot = process.getuid?.() === 0;

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A test box whose runs ask for one tier, with canaries. */
export class AttackBox extends TestBox {
  readonly tier: AttackTier;
  /** A secret that stands in no other file of this machine. */
  readonly canary = `canary-${randomBytes(12).toString('hex')}`;
  readonly #children: ChildProcess[] = [];

  constructor(tier: AttackTier) {
    super();
    this.tier = tier;
    if (tier === 'vm' || tier === 'vm+gvisor') lendMachines(this);
  }

  override run(command: readonly string[], options: RunOptions = {}): Promise<BoxResult> {
    const timeoutMs = PATIENCE_MS[this.tier] * RUN_PART;
    return super.run(command, { timeoutMs, ...options, flags: this.flags(options.flags) });
  }

  flags(more: readonly string[] = []): readonly string[] {
    return ['--tier', policyTier(this.tier), ...more];
  }

  override env(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
    return super.env({ ...engineEnv(this.tier), ...extra });
  }

  /** The whole command line of a run, for a host program that starts it. */
  command(inner: readonly string[], flags: readonly string[] = []): readonly string[] {
    return [process.execPath, GLOVEBOX, 'run', ...this.flags(flags), '--', ...inner];
  }

  /** Writes the canary to a file, by default outside the workspace; returns its absolute path. */
  plant(name: string, base: string = this.base): string {
    const file = path.resolve(base, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, `${this.canary}\n`);
    return file;
  }

  /** Runs a Python probe (see probes/prelude.py) inside the sandbox. */
  python(
    script: string,
    options: RunOptions & { readonly args?: readonly string[] } = {},
  ): Promise<BoxResult> {
    return this.run([PYTHON, '-c', pythonProbe(script), ...(options.args ?? [])], options);
  }

  /** Tries every way to change these paths of the workspace (see probes/tamper.py); on the host all of them are as they were. */
  async tamper(paths: readonly string[], options: RunOptions = {}): Promise<BoxResult> {
    const args = paths.map((name) => path.resolve(this.workspace, name));
    const env = ['--env', `WORKSPACE=${this.workspace}`, '--env', `TIER=${this.tier}`];
    const flags = [...(options.flags ?? []), ...env];
    const before = args.map(stateOf);
    const result = await this.python(probeText('tamper.py'), { ...options, args, flags });
    expect(args.map(stateOf)).toEqual(before);
    expect(fifosBelow(this.workspace)).toEqual([]);
    return result;
  }

  /** Starts a run that goes on; its end is awaited with `ended`. */
  start(command: readonly string[], options: RunOptions & { readonly stdio?: StdioOptions } = {}): Running {
    const args = [GLOVEBOX, 'run', ...this.flags(options.flags), '--', ...command];
    const child = spawn(process.execPath, args, {
      cwd: options.cwd ?? this.workspace,
      env: this.env(options.env),
      stdio: options.stdio ?? ['pipe', 'pipe', 'pipe'],
    });
    this.#children.push(child);
    return new Running(child);
  }

  startPython(script: string, options: RunOptions & { readonly stdio?: StdioOptions } = {}): Running {
    return this.start([PYTHON, '-c', pythonProbe(script)], options);
  }

  /** Compiles a C probe into the workspace; returns its path. Needs gcc. */
  compile(name: string): string {
    const out = path.join(this.workspace, name.replace(/\.c$/, ''));
    const done = spawnSync('gcc', ['-O1', '-o', out, path.join(PROBES, name)], { encoding: 'utf8' });
    expect(done.stderr).toBe('');
    return out;
  }

  override [Symbol.dispose](): void {
    for (const child of this.#children) child.kill('SIGKILL');
    super[Symbol.dispose]();
  }
}

/** Everything about a path of the host that tampering could change. */
function stateOf(file: string): unknown {
  const found = lstatSync(file, { bigint: true, throwIfNoEntry: false });
  if (found === undefined) return `${file} is not there`;
  const { ino, mode, uid, gid, nlink, size, mtimeNs } = found;
  const content = found.isFile() ? readFileSync(file, 'latin1') : undefined;
  const names = found.isDirectory() ? readdirSync(file).sort() : undefined;
  return { file, ino, mode, uid, gid, nlink, size, mtimeNs, content, names };
}

/** FIFOs of the host, which a tampering probe may have left. */
function fifosBelow(dir: string): readonly string[] {
  return readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFIFO())
    .map((entry) => path.join(entry.parentPath, entry.name));
}

function probeText(name: string): string {
  return readFileSync(path.join(PROBES, name), 'utf8');
}

/** A probe with the helpers it may use. */
export function pythonProbe(script: string): string {
  return `${probeText('prelude.py')}\n${script}`;
}

/** A `glovebox run` that is still going. */
export class Running {
  readonly child: ChildProcess;
  readonly ended: Promise<BoxResult>;
  #out = '';

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.on('data', (chunk: Buffer) => (this.#out += chunk.toString()));
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
    child.stdin?.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      child.on('close', (code, signal) => {
        resolve({
          code,
          signal,
          stdout: Buffer.concat(out).toString(),
          stderr: Buffer.concat(err).toString(),
        });
      });
    });
  }

  /** Standard output so far. */
  get output(): string {
    return this.#out;
  }

  /** Resolves when the command has printed `text`; rejects when it ends without. */
  said(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (this.#out.includes(text)) resolve();
      };
      look();
      this.child.stdout?.on('data', look);
      void this.ended.then((result) =>
        reject(new Error(`ended without saying "${text}": ${JSON.stringify(result)}`)),
      );
    });
  }

  /** Sends a line to the command. */
  tell(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  /** Closes its input and waits for the end. */
  finish(): Promise<BoxResult> {
    this.child.stdin?.end();
    return this.ended;
  }
}

/** Runs something of the host's (not in a sandbox) with the box's environment. */
export function onHost(
  box: TestBox,
  command: readonly string[],
  options: RunOptions = {},
): Promise<BoxResult> {
  const [file = '', ...args] = command;
  const child = spawn(file, args, {
    cwd: options.cwd ?? box.workspace,
    env: box.env(options.env),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  return collect(child, options);
}

/** What a terminal looked like to the shell that ran a sandbox on it. */
export interface TerminalReport {
  /** Everything that was shown. */
  readonly screen: string;
  /** What the shell would read next as typed. */
  readonly input?: string;
  readonly modesKept?: boolean;
  readonly foregroundKept?: boolean;
  readonly code?: number;
}

/** Runs a Python probe in a sandbox on a terminal of its own (see probes/terminal.py). */
export async function onTerminal(
  box: AttackBox,
  script: string,
  options: { readonly hangUpAfter?: string } = {},
): Promise<TerminalReport> {
  const shell = [PYTHON, path.join(PROBES, 'terminal.py')];
  const env = options.hangUpAfter === undefined ? {} : { HANG_UP_AFTER: options.hangUpAfter };
  const result = await onHost(box, [...shell, ...box.command([PYTHON, '-c', pythonProbe(script)])], { env });
  expect(result.code, result.stderr).toBe(0);
  const report: TerminalReport = JSON.parse(result.stdout);
  return report;
}

/** What each attempt of a probe came to, by name. */
export function outcomes(result: BoxResult): Readonly<Record<string, string>> {
  const pairs = result.stdout.split('\n').flatMap((line) => {
    const at = line.indexOf('=');
    return at === -1 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const];
  });
  return Object.fromEntries(pairs);
}

/** Every named attempt was made and refused with one of `errnos`. */
export function expectRefused(result: BoxResult, names: readonly string[], errnos: readonly string[]): void {
  const seen = outcomes(result);
  const wrong = names.filter((name) => !errnos.includes(seen[name] ?? 'never tried'));
  const shown = Object.fromEntries(wrong.map((name) => [name, seen[name] ?? 'never tried']));
  expect(shown, `${result.stdout}${result.stderr}`).toEqual({});
}

/** Every attempt that the probe printed was refused, and there were at least `least`. */
export function expectAllRefused(result: BoxResult, least: number): void {
  const seen = Object.entries(outcomes(result));
  expect(seen.length, `${result.stdout}${result.stderr}`).toBeGreaterThanOrEqual(least);
  expect(seen.filter(([, outcome]) => outcome.startsWith('OK'))).toEqual([]);
}

/** The secret got neither to standard output nor to standard error. */
export function expectUnseen(result: BoxResult, secret: string): void {
  expect(result.stdout).not.toContain(secret);
  expect(result.stderr).not.toContain(secret);
}

/** The records that every run leaves, also when the kernel alone refused: one sandbox, start to end. */
export function expectRecorded(box: TestBox): void {
  const records = box.records();
  const start = records.findLast((record) => record.kind === 'run.start');
  expect(start?.sandbox).toBeTypeOf('string');
  const kinds = records.filter((record) => record.sandbox === start?.sandbox).map((record) => record.kind);
  expect(kinds).toContain('run.command');
  expect(kinds).toContain('run.end');
}

/** A record of this kind whose data holds these fields. */
export function expectEvent(box: TestBox, kind: string, data: Readonly<Record<string, unknown>> = {}): void {
  const candidates = box.records().filter((record) => record.kind === kind);
  expect(candidates.map((record) => record.data)).toContainEqual(expect.objectContaining(data));
}

/** A network refusal with its rule. */
export function expectDenied(box: TestBox, data: Readonly<Record<string, unknown>>): void {
  expectEvent(box, 'network.verdict', { action: 'deny', ...data });
}

/** A policy that allows one port of the host's 127.0.0.1: a real way out that needs no network. */
export function hostLoopbackPolicy(port: number, protocol: 'tcp' | 'http' | 'https'): string {
  return `version: 1\nnetwork:\n  allow:\n    - { host: host-loopback, ports: [${port}], protocol: ${protocol} }\n`;
}

/** A service of the host that counts who came. */
export class CanaryService implements AsyncDisposable {
  readonly #server: net.Server;
  readonly #sockets: net.Socket[] = [];
  connections = 0;
  received = '';

  private constructor() {
    this.#server = net.createServer((socket) => {
      this.connections++;
      this.#sockets.push(socket);
      socket.on('error', () => undefined);
      socket.on('data', (chunk: Buffer) => (this.received += chunk.toString('latin1')));
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbreach');
    });
  }

  /** On a TCP address (port 0 picks one), a path, or an abstract name that begins with NUL. */
  static async on(
    where: { readonly host: string; readonly port: number } | { readonly path: string },
  ): Promise<CanaryService> {
    const service = new CanaryService();
    await new Promise<void>((resolve, reject) => {
      service.#server.once('error', reject);
      service.#server.listen(where, resolve);
    });
    return service;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('not a TCP service');
    return address.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Numbers of the host's processes whose command line holds `marker`. */
export function processesWith(marker: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .filter((name) => commandLine(name).includes(marker))
    .map(Number);
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}

/** Waits until `condition` holds; fails after `timeoutMs`. For what has no event: files of others, the process table. */
export async function until(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await delay(10);
  }
}
