import { spawn, type ChildProcess } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');
export const GLOVEBOX = path.join(ROOT, 'dist/bin/glovebox.js');

/** One audit record, as far as tests look at it. */
export interface Record_ {
  readonly kind: string;
  readonly sandbox?: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface BoxResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Options of `glovebox run` before `--`. */
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly cwd?: string;
  readonly timeoutMs?: number;
}

/** A home, a workspace and state of its own for one test, and the real command line run in it. */
export class TestBox implements Disposable {
  readonly base: string;
  readonly home: string;
  readonly workspace: string;

  constructor() {
    // Not below /tmp: the sandbox has a /tmp of its own.
    this.base = realpathSync(mkdtempSync('/var/tmp/gbx-'));
    this.home = path.join(this.base, 'home');
    this.workspace = path.join(this.home, 'project');
    mkdirSync(this.workspace, { recursive: true });
  }

  env(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
    const runtime = path.join(this.base, 'run');
    mkdirSync(runtime, { recursive: true, mode: 0o700 });
    return {
      PATH: process.env['PATH'] ?? '/usr/bin:/bin',
      HOME: this.home,
      LANG: 'C.UTF-8',
      XDG_RUNTIME_DIR: runtime,
      // Emulated machines are everywhere; where KVM is to be tried, the variable says so.
      GLOVEBOX_VM_ACCEL: process.env['GLOVEBOX_VM_ACCEL'] ?? 'tcg',
      ...extra,
    };
  }

  /** Runs `glovebox` with these words. */
  cli(args: readonly string[], options: RunOptions = {}): Promise<BoxResult> {
    const child = spawn(process.execPath, [GLOVEBOX, ...args], {
      cwd: options.cwd ?? this.workspace,
      env: this.env(options.env),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    return collect(child, options);
  }

  /** Runs an argument vector inside the sandbox. */
  run(command: readonly string[], options: RunOptions = {}): Promise<BoxResult> {
    return this.cli(['run', ...(options.flags ?? []), '--', ...command], options);
  }

  /** Runs a shell script inside the sandbox. */
  sh(script: string, options: RunOptions = {}): Promise<BoxResult> {
    return this.run(['bash', '-c', script], options);
  }

  write(name: string, content: string | Uint8Array = 'content\n'): string {
    const file = path.resolve(this.workspace, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content);
    return file;
  }

  read(name: string): string {
    return readFileSync(path.resolve(this.workspace, name), 'utf8');
  }

  /** Writes the user policy (`~/.config/glovebox/policy.yaml`). */
  policy(yaml: string): void {
    const dir = path.join(this.home, '.config/glovebox');
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    writeFileSync(path.join(dir, 'policy.yaml'), yaml);
  }

  /** Every audit record so far, oldest first. */
  records(): readonly Record_[] {
    const dir = path.join(this.home, '.local/state/glovebox/audit');
    const files = readdirSync(dir)
      .filter((name) => name.endsWith('.jsonl'))
      .sort();
    return files.flatMap((name) =>
      readFileSync(path.join(dir, name), 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record_),
    );
  }

  /** Names in the workspace, dot files included. */
  listing(): readonly string[] {
    return readdirSync(this.workspace).sort();
  }

  [Symbol.dispose](): void {
    rmSync(this.base, { recursive: true, force: true });
  }
}

/** Collects a child's output, with a hard end. */
export async function collect(child: ChildProcess, options: RunOptions): Promise<BoxResult> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(options.input ?? '');
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 45_000);
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
    child.on('close', (c, s) => resolve([c, s]));
  });
  clearTimeout(timer);
  return { code, signal, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() };
}
