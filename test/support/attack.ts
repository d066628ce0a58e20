import { spawn, spawnSync, type ChildProcess, type StdioOptions } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import {
  engineEnv,
  isMachine,
  lendMachines,
  PATIENCE_MS,
  policyTier,
  type AttackTier,
} from './attack-tiers.ts';
import { collect, GLOVEBOX, TestBox, type BoxResult, type RunOptions } from './box.ts';

export { hostLoopbackPolicy, CanaryService, processesWith, until } from './attack-host.ts';
export {
  type AttackTier,
  TIERS,
  forEachTier,
  tierNeeds,
  policyTier,
  engineEnv,
  isGuest,
  leastMemory,
  inGuest,
  lendMachines,
  inMachine,
  needsProgram,
  needsArch,
  isRoot,
  isMachine,
} from './attack-tiers.ts';
export {
  outcomes,
  expectRefused,
  expectAllRefused,
  expectUnseen,
  expectRecorded,
  expectEvent,
  expectDenied,
} from './attack-verdicts.ts';

const PROBES = path.resolve(import.meta.dirname, '../attack/probes');
export const PYTHON = '/usr/bin/python3';
/** How long the longest run of a test may take of what the test has. */
const RUN_PART = 0.75;

/** A test box whose runs ask for one tier, with canaries. */
export class AttackBox extends TestBox {
  readonly tier: AttackTier;
  /** A secret that stands in no other file of this machine. */
  readonly canary = `canary-${randomBytes(12).toString('hex')}`;
  readonly #children: ChildProcess[] = [];

  constructor(tier: AttackTier) {
    super();
    this.tier = tier;
    if (isMachine(tier)) lendMachines(this);
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
  const timeoutMs = PATIENCE_MS[box.tier] * RUN_PART;
  const env = {
    PATIENCE_S: String(timeoutMs / 1000),
    ...(options.hangUpAfter === undefined ? {} : { HANG_UP_AFTER: options.hangUpAfter }),
  };
  const command = [...shell, ...box.command([PYTHON, '-c', pythonProbe(script)])];
  const result = await onHost(box, command, { env, timeoutMs });
  expect(result.code, result.stderr).toBe(0);
  const report: TerminalReport = JSON.parse(result.stdout);
  return report;
}
