import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { expect } from 'vitest';
import { isGloveboxError, Sandbox, type SandboxOptions } from '../../src/index.ts';
import { forEachTier, lendMachines, TIERS, type AttackTier } from './attack.ts';
import type { TestBox } from './box.ts';
import { cgroupsOf, expectNothingLeft, sandboxIds } from './tree.ts';

const LIBRARY = pathToFileURL(path.resolve(import.meta.dirname, '../../dist/lib/index.js')).href;

/** Tiers that bring their own jail; an engine's is tried by its own driver's tests. */
export type OwnTier = 'process' | 'container' | 'vm' | 'vm+gvisor';

const isOwn = (tier: AttackTier): tier is OwnTier => tier !== 'docker';

/** One test in every tier that is asked for. */
export function forEachOwnTier(name: string, attempt: (tier: OwnTier) => Promise<void>): void {
  forEachTier(name, async (tier) => (isOwn(tier) ? attempt(tier) : undefined), [], TIERS.filter(isOwn));
}

/** A sandbox of this process in the box's workspace. */
export function create(box: TestBox, options: SandboxOptions = {}): Promise<Sandbox> {
  if (options.tier === 'vm' || options.tier === 'vm+gvisor') lendMachines(box);
  return Sandbox.create({ workspace: box.workspace, hostEnv: box.env(), ...options });
}

/** The code that a promise is refused with. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return isGloveboxError(error) ? error.code : String(error);
}

/** What is read becomes what is expected within a time that a busy machine may need. */
export const eventually = <T>(read: () => T): ReturnType<typeof expect.poll<T>> =>
  expect.poll(read, { timeout: 20_000, interval: 20 });

/**
 * Another process of the same user with the built SDK. Its source has `Sandbox`, `options` (workspace and tier) and `say(value)`,
 * which the test reads with `next`.
 */
export class Script implements Disposable {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly stderr: string }>;
  readonly #lines: AsyncIterator<string>;

  constructor(box: TestBox, tier: OwnTier, source: string) {
    if (tier === 'vm' || tier === 'vm+gvisor') lendMachines(box);
    const head = `import { Sandbox } from ${JSON.stringify(LIBRARY)};
      const say = (value) => process.stdout.write(JSON.stringify(value ?? null) + '\\n');
      const options = ${JSON.stringify({ workspace: box.workspace, tier })};`;
    this.child = spawn(process.execPath, ['--input-type=module', '-e', `${head}\n${source}`], {
      cwd: box.workspace,
      env: box.env(),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const { stdout, stderr } = this.child;
    if (stdout === null || stderr === null) throw new Error('the script has no pipes');
    const errors: string[] = [];
    stderr.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
    this.#lines = createInterface(stdout)[Symbol.asyncIterator]();
    this.ended = once(this.child, 'close').then(() => ({
      code: this.child.exitCode,
      stderr: errors.join(''),
    }));
  }

  /** The next value that it says. */
  async next(): Promise<unknown> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`the script ended: ${JSON.stringify(await this.ended)}`);
    return JSON.parse(line.value);
  }

  [Symbol.dispose](): void {
    this.child.kill('SIGKILL');
  }
}

/** Names in a directory of the box, none when it is not there. */
function namesIn(box: TestBox, below: string): readonly string[] {
  const dir = path.join(box.base, below);
  return existsSync(dir) ? readdirSync(dir) : [];
}

/** Where a sandbox's owner answers other processes, as the registry says. */
export function socketOf(box: TestBox, id: string): string {
  const entry: unknown = JSON.parse(box.read(path.join(box.home, `.local/state/glovebox/runs/${id}.json`)));
  return (entry as { readonly served: { readonly socket: string } }).served.socket;
}

/** Ids of runs that are registered, whether or not they got as far as a record. */
export function registeredIds(box: TestBox): readonly string[] {
  return namesIn(box, 'home/.local/state/glovebox/runs').map((name) => name.split('.')[0] ?? '');
}

/** No process, mount, control group, socket, run entry, temporary workspace or placeholder of the box is left. */
export async function expectAllGone(box: TestBox, ids: readonly string[] = []): Promise<void> {
  await expectNothingLeft(box, 5000);
  expect(cgroupsOf([...ids, ...sandboxIds(box)])).toEqual([]);
  expect(namesIn(box, 'run/glovebox/sandboxes')).toEqual([]);
  expect(namesIn(box, 'run/glovebox/relays')).toEqual([]);
  expect(namesIn(box, 'home/.local/state/glovebox/runs')).toEqual([]);
  expect(namesIn(box, 'home/.cache/glovebox/workspaces')).toEqual([]);
  expect(box.listing()).toEqual([]);
}
