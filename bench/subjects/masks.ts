import { gloveboxRun, type Context, type Subject } from '../lib/context.ts';
import { timed } from '../lib/command.ts';
import { fillTree } from '../lib/place.ts';
import { find, interleave, type Arm } from '../lib/rounds.ts';
import { difference } from '../lib/stats.ts';

const ROUNDS = 9;
const COUNTS = [0, 100, 1000, 10_000] as const;
const PATTERN = '**/*.pem';

/** What hidden files cost: each is a mount of its own. All workspaces hold 10,000 files; only the share that is denied differs. */
export const masks: Subject = {
  name: 'masks',
  summary: 'start with a deny glob that matches 0, 100, 1,000 and 10,000 of 10,000 files',
  run: async (context) => {
    const arms = COUNTS.map((count) => arm(context, count));
    const { rounds, budgetMs } = context;
    const series = await interleave({
      arms,
      metrics: { '': 'ms' },
      rounds: rounds(ROUNDS),
      warmups: 1,
      budgetMs,
    });
    const none = find(series, nameOf(0));
    return {
      series,
      comparisons: COUNTS.slice(1).flatMap((count) =>
        difference({ label: `${nameOf(count)} − none`, of: find(series, nameOf(count)), to: none }),
      ),
      skips: [],
    };
  },
};

const nameOf = (count: number): string =>
  count === 0 ? 'no match' : `${count.toLocaleString('en')} matches`;

function arm({ place }: Context, count: number): Arm {
  const workspace = place.workspace(`masks-${count}`);
  fillTree(workspace, Math.max(...COUNTS), (i) => (i < count ? `key${i}.pem` : `file${i}.txt`));
  const run = gloveboxRun({ workspace, env: place.env(), options: ['--deny', PATTERN], command: ['true'] });
  return timed(nameOf(count), `glovebox run --deny '${PATTERN}' -- true`, run);
}
