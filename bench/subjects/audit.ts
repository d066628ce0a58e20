import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { ended } from '../lib/child.ts';
import type { Context, Subject } from '../lib/context.ts';
import { readNumbers } from '../lib/json.ts';
import { interleave, type Arm } from '../lib/rounds.ts';

const ROUNDS = 7;
/** Time for all the writers to be up before the first record. */
const LEAD_MS = 700;

interface Writers {
  readonly processes: number;
  /** Records of each process. */
  readonly count: number;
  readonly mode: 'each' | 'queued';
}

/** Records a second into one log: one writer that waits for each, one that queues, and eight processes at once. */
export const audit: Subject = {
  name: 'audit',
  summary: 'records a second into the audit log: one writer, and eight at once',
  run: async (context) => {
    const arms = [
      arm(context, 'one writer, waits for each', { processes: 1, count: 2000, mode: 'each' }),
      arm(context, 'one writer, queued', { processes: 1, count: 20_000, mode: 'queued' }),
      arm(context, 'eight writers, each waits', { processes: 8, count: 250, mode: 'each' }),
    ];
    const { rounds, budgetMs } = context;
    const series = await interleave({
      arms,
      metrics: { '': '1/s' },
      rounds: rounds(ROUNDS),
      warmups: 1,
      budgetMs,
    });
    return { series, comparisons: [], skips: [] };
  },
};

function arm({ place, programs }: Context, name: string, writers: Writers): Arm {
  const stateDir = path.join(place.root, 'audit');
  const script = path.join(programs, 'audit-writer.mjs');
  return {
    name,
    command: `${writers.processes} × ${writers.count} × audit.write()`,
    before: () => rmSync(stateDir, { recursive: true, force: true }),
    sample: async () => {
      const beginAt = Date.now() + LEAD_MS;
      const args = [script, stateDir, String(writers.count), writers.mode, String(beginAt)];
      const spans = await Promise.all(Array.from({ length: writers.processes }, () => spanOf(args)));
      const began = Math.min(...spans.map((span) => span.began));
      const last = Math.max(...spans.map((span) => span.ended));
      return { '': (writers.processes * writers.count) / ((last - began) / 1000) };
    },
  };
}

interface Span {
  readonly began: number;
  readonly ended: number;
}

async function spanOf(args: readonly string[]): Promise<Span> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], timeout: 60_000 });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8');
  });
  await ended(child, 'an audit writer');
  const { began = Number.NaN, ended: last = Number.NaN } = readNumbers(text);
  return { began, ended: last };
}
