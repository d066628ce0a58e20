import { spawn } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import type * as Sdk from '../../src/index.ts';
import { ended } from '../lib/child.ts';
import type { Subject } from '../lib/context.ts';
import { find, interleave, type Arm } from '../lib/rounds.ts';
import { ratio } from '../lib/stats.ts';
import { builtSdk } from './sdk.ts';

const ROUNDS = 20;
const PRINT = 'print(1)';
/** The one that the sandbox sees too, and no shim before it. */
const PYTHON = '/usr/bin/python3';

/** What a piece of Python costs: in a sandbox made for it, in one that waited for it, in a context that is warm. */
export const code: Subject = {
  name: 'code',
  summary: 'runCode in a fresh, a pooled and a warm sandbox, beside bare python3 -c',
  run: async ({ place, rounds, budgetMs }) => {
    const { Sandbox } = await builtSdk();
    const env = place.env();
    const options = { temporary: true, hostEnv: env } as const;
    const warm = await Sandbox.create(options);
    const pool = Sandbox.pool({ sandbox: options, size: 2, languages: ['python'] });
    const once = async (box: Sdk.Sandbox): Promise<number> => {
      const execution = await box.runCode(PRINT);
      if (execution.logs.stdout.join('') !== '1\n') throw new Error('the code did not print');
      const answered = performance.now();
      await box.kill();
      return answered;
    };
    const arms: Arm[] = [
      {
        name: 'python3',
        command: `${PYTHON} -c '${PRINT}'`,
        sample: () => timed(() => bare(env)),
      },
      {
        name: 'fresh',
        command: "Sandbox.create(); runCode('print(1)')",
        sample: () => timed(async () => once(await Sandbox.create(options))),
      },
      {
        name: 'pooled',
        command: "pool.take(); runCode('print(1)')",
        sample: async () => {
          // The pool fills itself again between samples; an empty one would measure a start.
          while (pool.counts.ready === 0) await new Promise((resolve) => setTimeout(resolve, 20));
          return timed(async () => once(await pool.take()));
        },
      },
      {
        name: 'warm',
        command: "runCode('print(1)') in a context that has run before",
        sample: () =>
          timed(async () => {
            await warm.runCode(PRINT);
            return performance.now();
          }),
      },
    ];
    try {
      const series = await interleave({
        arms,
        metrics: { '': 'ms' },
        rounds: rounds(ROUNDS),
        warmups: 2,
        budgetMs,
      });
      const of = (name: string) => find(series, name);
      const to = of('python3');
      return {
        series,
        comparisons: [
          ...ratio({ label: 'fresh / python3', of: of('fresh'), to }),
          ...ratio({ label: 'pooled / python3', of: of('pooled'), to }),
          ...ratio({ label: 'warm / python3', of: of('warm'), to }),
        ],
        skips: [],
      };
    } finally {
      await warm.kill();
      await pool[Symbol.asyncDispose]();
    }
  },
};

/** Until the answer is there; what comes behind it is not measured. */
async function timed(work: () => Promise<number>): Promise<Readonly<Record<string, number>>> {
  const started = performance.now();
  return { '': (await work()) - started };
}

async function bare(env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn(PYTHON, ['-c', PRINT], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.resume();
  child.stderr.resume();
  await ended(child, 'python3');
  return performance.now();
}
