import { performance } from 'node:perf_hooks';
import type { Sandbox } from '../../src/index.ts';
import type { Subject } from '../lib/context.ts';
import { find, interleave, type Arm } from '../lib/rounds.ts';
import { against, ratio } from '../lib/stats.ts';
import { builtSdk } from './sdk.ts';

const ROUNDS = 15;
const BULK_BYTES = 64 * 1024 * 1024;

/** Files through the SDK beside what a program has without it: `cat` inside, over the same channel. */
export const files: Subject = {
  name: 'files',
  summary:
    'files.read and files.write of a running sandbox, 64 MiB beside `cat` inside and small ones by themselves',
  run: async ({ place, rounds, budgetMs }) => {
    const { Sandbox } = await builtSdk();
    const box = await Sandbox.create({ workspace: place.workspace('files'), hostEnv: place.env() });
    try {
      const content = Buffer.alloc(BULK_BYTES, 'files of a sandbox\n');
      await box.files.write('bulk', content);
      await box.files.write('small', 'x'.repeat(1024));
      const arms = armsOf(box, content);
      const series = await interleave({
        arms,
        metrics: { '': 'ms' },
        rounds: rounds(ROUNDS),
        warmups: 2,
        budgetMs,
      });
      const of = (name: string) => find(series, name);
      // At least half as fast.
      const half = { at: 'most', value: 2 } as const;
      return {
        series,
        comparisons: [
          ...ratio({ label: 'files.read / cat', of: of('read'), to: of('cat'), target: half }),
          ...ratio({ label: 'files.write / cat >', of: of('write'), to: of('cat >'), target: half }),
          ...against(of('small read'), { at: 'most', value: 2 }),
          ...ratio({ label: 'small read / true inside', of: of('small read'), to: of('true') }),
        ],
        skips: [],
      };
    } finally {
      await box.kill();
    }
  },
};

function armsOf(box: Sandbox, content: Buffer): Arm[] {
  const timed = (name: string, command: string, work: () => Promise<unknown>): Arm => ({
    name,
    command,
    sample: async () => {
      const started = performance.now();
      await work();
      return { '': performance.now() - started };
    },
  });
  return [
    timed('read', "files.read('bulk', { format: 'stream' }), 64 MiB", async () => {
      let bytes = 0;
      for await (const chunk of await box.files.read('bulk', { format: 'stream' })) bytes += chunk.length;
      if (bytes !== BULK_BYTES) throw new Error(`${bytes} bytes`);
    }),
    timed('cat', "commands.start(['cat', 'bulk']), every piece taken", async () => {
      let bytes = 0;
      for await (const { data } of box.commands.start(['cat', 'bulk'], { maxOutputBytes: 0 }))
        bytes += data.length;
      if (bytes !== BULK_BYTES) throw new Error(`${bytes} bytes`);
    }),
    timed('write', "files.write('copy', 64 MiB)", () => box.files.write('copy', content)),
    timed('cat >', "commands.run('cat > copy', { stdin: 64 MiB })", () =>
      box.commands.run('cat > copy', { stdin: content }),
    ),
    timed('small read', "files.read('small'), 1 KiB", () => box.files.read('small')),
    timed('small write', "files.write('other', 1 KiB)", () => box.files.write('other', 'x'.repeat(1024))),
    timed('true', "commands.run(['true'])", () => box.commands.run(['true'])),
  ];
}
