import { setTimeout as sleep } from 'node:timers/promises';
import { gloveboxRun, type Subject } from '../lib/context.ts';
import { timed } from '../lib/command.ts';
import { fillTree } from '../lib/place.ts';
import { find, interleave } from '../lib/rounds.ts';
import { difference, ratio } from '../lib/stats.ts';

const ROUNDS = 15;
const FILES = 50_000;
const SETTLE_MS = 2000;

/** What the size of the workspace costs: literal rules look at no tree, the look for new executable files at the end does. */
export const startTree: Subject = {
  name: 'start-tree',
  summary: 'start in an empty workspace and in one of 50,000 files',
  run: async ({ place, rounds, budgetMs }) => {
    const empty = place.workspace('empty');
    const large = place.workspace('large');
    fillTree(large, FILES, (i) => `file${i}.txt`);
    // The memory of the last scan trusts no directory that changed a moment ago; nobody fills a tree before every run.
    await sleep(SETTLE_MS);
    const env = place.env();
    const arm = (name: string, workspace: string) =>
      timed(name, 'glovebox run -- true', gloveboxRun({ workspace, env, command: ['true'] }));
    const arms = [arm('empty workspace', empty), arm('50,000 files', large)];
    const series = await interleave({
      arms,
      metrics: { '': 'ms' },
      rounds: rounds(ROUNDS),
      warmups: 1,
      budgetMs,
    });
    const pair = { of: find(series, '50,000 files'), to: find(series, 'empty workspace') };
    return {
      series,
      comparisons: [
        ...ratio({ label: '50,000 files / empty', ...pair }),
        ...difference({ label: '50,000 files − empty', ...pair }),
      ],
      skips: [],
    };
  },
};
