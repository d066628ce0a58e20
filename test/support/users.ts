import { spawn, spawnSync } from 'node:child_process';
import path from 'node:path';
import { collect, GLOVEBOX, type BoxResult, type RunOptions, type TestBox } from './box.ts';

export const isRoot = process.getuid?.() === 0;

/** For `describe.skipIf`/`it.skipIf`: true unless a mount namespace of one's own can be made. */
export const noMountNamespace =
  !isRoot || spawnSync('unshare', ['-m', '--propagation', 'private', 'true']).status !== 0;

/** A shell word. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** `glovebox` with these words, for a shell script of the host. */
export function commandText(args: readonly string[]): string {
  return [process.execPath, GLOVEBOX, ...args].map(quote).join(' ');
}

/** Runs a shell script on the host, in the box's environment and workspace. */
export function hostShell(box: TestBox, script: string, options: RunOptions = {}): Promise<BoxResult> {
  return hostProgram(box, ['bash', '-c', script], options);
}

/** The same in a mount namespace of its own, whose mounts vanish with it. Needs root. */
export function mountShell(box: TestBox, script: string, options: RunOptions = {}): Promise<BoxResult> {
  return hostProgram(box, ['unshare', '-m', '--propagation', 'private', 'bash', '-ec', script], options);
}

/** Runs a program on the host. A variable given as '' is left out of the environment. */
export function hostProgram(
  box: TestBox,
  words: readonly string[],
  options: RunOptions = {},
): Promise<BoxResult> {
  const [file = '', ...args] = words;
  const env = Object.fromEntries(Object.entries(box.env(options.env)).filter(([, value]) => value !== ''));
  const child = spawn(file, args, {
    cwd: options.cwd ?? box.workspace,
    env,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  return collect(child, options);
}

/** First directory of PATH that has the program, or undefined. */
export function findProgram(name: string): string | undefined {
  const found = spawnSync('sh', ['-c', `command -v ${quote(name)}`], { encoding: 'utf8' }).stdout.trim();
  return path.isAbsolute(found) ? found : undefined;
}
