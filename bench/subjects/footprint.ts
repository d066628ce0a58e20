import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { gloveboxRun, type Subject } from '../lib/context.ts';
import type { Invocation } from '../lib/command.ts';
import { peerSettings } from '../lib/peer.ts';
import { descendants, proportionalMiB } from '../lib/processes.ts';
import { find, interleave, type Arm } from '../lib/rounds.ts';
import { against, ratio } from '../lib/stats.ts';

const ROUNDS = 5;
/** Long enough to be found and looked at. */
const COMMAND = ['sleep', '5'] as const;
const APPEAR_MS = 20_000;
/** Start-up work is over by then. */
const SETTLE_MS = 1000;

/** What stands beside a command while it runs. */
export const footprint: Subject = {
  name: 'footprint',
  summary: 'processes and memory beside a running command, for glovebox and srt',
  run: async ({ place, peer, rounds, budgetMs }) => {
    const workspace = place.workspace('footprint');
    const env = place.env();
    const found = peer();
    const arms = [
      arm('glovebox', 'glovebox run -- sleep 5', gloveboxRun({ workspace, env, command: COMMAND })),
    ];
    if (found.peer !== undefined) {
      const argv = found.peer.argv(peerSettings(place, workspace), COMMAND);
      arms.push(arm('srt', 'srt sleep 5', { argv, cwd: workspace, env }));
    }
    const metrics = { processes: 'processes', memory: 'MiB' } as const;
    const series = await interleave({ arms, metrics, rounds: rounds(ROUNDS), warmups: 0, budgetMs });
    const of = (name: string) => find(series, name);
    return {
      series,
      comparisons: [
        ...against(of('glovebox: processes'), { at: 'most', value: 3 }),
        ...against(of('glovebox: memory'), { at: 'most', value: 65 }),
        ...ratio({ label: 'memory, glovebox / srt', of: of('glovebox: memory'), to: of('srt: memory') }),
      ],
      skips: found.why === undefined ? [] : [{ label: 'srt', why: found.why }],
    };
  },
};

function arm(name: string, command: string, run: Invocation): Arm {
  return { name, command, sample: () => lookAt(run) };
}

async function lookAt(run: Invocation): Promise<Readonly<Record<string, number>>> {
  const [file = '', ...args] = run.argv;
  const child = spawn(file, args, { cwd: run.cwd, env: run.env, stdio: 'ignore' });
  const ended = once(child, 'exit');
  try {
    await untilRunning(child.pid ?? 0);
    await sleep(SETTLE_MS);
    const beside = descendants(child.pid ?? 0).filter((one) => one.name !== COMMAND[0]);
    const sizes = beside.map((one) => proportionalMiB(one.pid));
    if (sizes.includes(undefined))
      throw new Error('a process of the sandbox does not show its memory to this user');
    return { processes: beside.length, memory: sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0) };
  } finally {
    await ended;
  }
}

async function untilRunning(pid: number): Promise<void> {
  for (const deadline = Date.now() + APPEAR_MS; Date.now() < deadline; await sleep(20)) {
    if (descendants(pid).some((one) => one.name === COMMAND[0])) return;
  }
  throw new Error(`the command did not start within ${APPEAR_MS} ms`);
}
