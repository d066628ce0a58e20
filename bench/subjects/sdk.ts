import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';
import { packageRoot } from '../../src/base/version.ts';
import type * as Sdk from '../../src/index.ts';
import { bareBubblewrap, type Subject } from '../lib/context.ts';
import { ended } from '../lib/child.ts';
import type { Invocation } from '../lib/command.ts';
import { find, interleave, type Arm } from '../lib/rounds.ts';
import { against, ratio } from '../lib/stats.ts';

const ROUNDS = 40;

/** What a service pays that is up already: a whole sandbox for one command, and a command in a sandbox that stands. */
export const sdk: Subject = {
  name: 'sdk',
  summary: 'Sandbox.create and commands.run from a running program, beside spawn and bare bubblewrap',
  run: async ({ place, rounds, budgetMs }) => {
    const { Sandbox } = await builtSdk();
    const workspace = place.workspace('sdk');
    const options = { workspace, hostEnv: place.env() };
    const bare = bareBubblewrap(place, workspace);
    const running = await Sandbox.create(options);
    try {
      const arms: Arm[] = [
        spawned('spawn', "child_process.spawn('true')", { ...bare, argv: ['true'] }),
        spawned('bwrap', 'bwrap --unshare-all … true', bare),
        {
          name: 'sandbox',
          command: "Sandbox.create(); commands.run('true'); kill()",
          sample: async () => {
            const laps = [performance.now()];
            const box = await Sandbox.create(options);
            laps.push(performance.now());
            await box.commands.run(['true']);
            laps.push(performance.now());
            await box.kill();
            laps.push(performance.now());
            return lapTimes(laps);
          },
        },
        {
          name: 'command',
          command: "commands.run(['true']) in a running sandbox",
          sample: () => stopwatch(() => running.commands.run(['true'])),
        },
        {
          name: 'shell line',
          command: "commands.run('true') in a running sandbox (bash)",
          sample: () => stopwatch(() => running.commands.run('true')),
        },
      ];
      const metrics = { '': 'ms', create: 'ms', 'first command': 'ms', kill: 'ms' } as const;
      const series = await interleave({ arms, metrics, rounds: rounds(ROUNDS), warmups: 3, budgetMs });
      const of = (name: string) => find(series, name);
      return {
        series,
        comparisons: [
          ...against(of('sandbox'), { at: 'most', value: 25 }),
          ...against(of('command'), { at: 'most', value: 4 }),
          ...ratio({ label: 'sandbox / bwrap', of: of('sandbox'), to: of('bwrap') }),
          ...ratio({ label: 'command / spawn', of: of('command'), to: of('spawn') }),
        ],
        skips: [],
      };
    } finally {
      await running.kill();
    }
  },
};

/** The SDK as it ships, found as a program that depends on it finds it. */
export async function builtSdk(): Promise<typeof Sdk> {
  const index = createRequire(path.join(packageRoot(), 'package.json')).resolve('glovebox');
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- The bundle is made from the very module whose type is named.
  return (await import(pathToFileURL(index).href)) as typeof Sdk;
}

function lapTimes(laps: readonly number[]): Readonly<Record<string, number>> {
  const [begin = 0, created = 0, ran = 0, end = 0] = laps;
  return { '': end - begin, create: created - begin, 'first command': ran - created, kill: end - ran };
}

async function stopwatch(work: () => Promise<unknown>): Promise<Readonly<Record<string, number>>> {
  const started = performance.now();
  await work();
  return { '': performance.now() - started };
}

/** A child with captured output, as `commands.run` captures it. */
function spawned(name: string, command: string, run: Invocation): Arm {
  const sample = (): Promise<Readonly<Record<string, number>>> =>
    stopwatch(async () => {
      const [file = '', ...args] = run.argv;
      const child = spawn(file, args, { cwd: run.cwd, env: run.env, stdio: ['pipe', 'pipe', 'pipe'] });
      child.stdout.resume();
      child.stderr.resume();
      await ended(child, run.argv.join(' '));
    });
  return { name, command, sample };
}
