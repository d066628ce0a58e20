import { spawnSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { readNumbers } from './json.ts';
import type { Arm } from './rounds.ts';

/** A program to run, and where. */
export interface Invocation {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
}

/** Nothing that is measured takes this long; what does is stuck. */
const STUCK_MS = 120_000;

/** Wall-clock milliseconds from before fork to after wait. Standard streams are /dev/null: nothing is relayed. */
export function timeRun(run: Invocation): number {
  const [program = '', ...args] = run.argv;
  const options = { cwd: run.cwd, env: run.env, timeout: STUCK_MS, killSignal: 'SIGKILL' as const };
  const started = performance.now();
  const { status } = spawnSync(program, args, { ...options, stdio: 'ignore' });
  const elapsed = performance.now() - started;
  if (status !== 0) throw failure(run);
  return elapsed;
}

/** What a program writes to its standard output. */
export function outputOf(run: Invocation): string {
  const [program = '', ...args] = run.argv;
  const { cwd, env } = run;
  const result = spawnSync(program, args, {
    cwd,
    env,
    timeout: STUCK_MS,
    killSignal: 'SIGKILL',
    encoding: 'utf8',
  });
  if (result.status !== 0) throw new Error(complaint(run.argv, result));
  return result.stdout;
}

/** The named numbers that a helper program prints. */
export const numbersOf = (run: Invocation): Readonly<Record<string, number>> => readNumbers(outputOf(run));

/** Runs it once more, this time listening. */
function failure(run: Invocation): Error {
  const [program = '', ...args] = run.argv;
  const { cwd, env } = run;
  const result = spawnSync(program, args, {
    cwd,
    env,
    timeout: STUCK_MS,
    killSignal: 'SIGKILL',
    encoding: 'utf8',
  });
  return new Error(complaint(run.argv, result));
}

function complaint(argv: readonly string[], result: ReturnType<typeof spawnSync>): string {
  const why = result.error?.message ?? `exit code ${result.status ?? result.signal}`;
  const said = String(result.stderr ?? '').trim();
  return `${argv.join(' ')}: ${why}${said === '' ? '' : `\n${said}`}`;
}

/** An arm that times a whole program. */
export function timed(name: string, command: string, run: Invocation): Arm {
  return { name, command, sample: () => Promise.resolve({ '': timeRun(run) }) };
}
