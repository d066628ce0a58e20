import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { expect } from 'vitest';
import { isGloveboxError, Sandbox, type SandboxOptions } from '../../src/index.ts';
import type { AttackTier } from './attack.ts';
import type { TestBox } from './box.ts';
import { cgroupsOf, expectNothingLeft, sandboxIds } from './tree.ts';

const LIBRARY = pathToFileURL(path.resolve(import.meta.dirname, '../../dist/lib/index.js')).href;

/** A sandbox of this process in the box's workspace. */
export function create(box: TestBox, options: SandboxOptions = {}): Promise<Sandbox> {
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

/**
 * Another process of the same user with the built SDK. Its source has `Sandbox`, `options` (workspace and tier) and `say(value)`,
 * which the test reads with `next`.
 */
export class Script implements Disposable {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly stderr: string }>;
  readonly #lines: AsyncIterator<string>;

  constructor(box: TestBox, tier: AttackTier, source: string) {
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
