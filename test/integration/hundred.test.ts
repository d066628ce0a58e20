import { readdirSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { Sandbox } from '../../src/index.ts';
import { needsProgram } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { cgroupsOf, expectNothingLeft, sandboxIds } from '../support/tree.ts';

/** Files and directories below the box that are not its records and caches. */
function left(box: TestBox): readonly string[] {
  const dirs = ['run/glovebox', 'home/.cache/glovebox/workspaces'].map((dir) => path.join(box.base, dir));
  return dirs.flatMap((dir) => {
    try {
      return readdirSync(dir, { recursive: true, withFileTypes: true })
        .filter((entry) => !entry.isDirectory() || entry.name.startsWith('ws-'))
        .map((entry) => path.join(entry.parentPath, entry.name));
    } catch {
      return [];
    }
  });
}

const cases = [
  ['process', 100, needsProgram('bwrap')],
  ['container', 100, needsProgram('runsc') ?? needsProgram('bwrap')],
] as const;

for (const [tier, count, lack] of cases) {
  it.skipIf(lack !== undefined)(
    `[${tier}] ${count} sandboxes at once: all answer, all end, none leaves anything${lack === undefined ? '' : ` (skipped: ${lack})`}`,
    async () => {
      using box = new TestBox();
      const before = left(box);
      const options = { temporary: true, tier, profile: 'code', hostEnv: box.env() } as const;
      const answers = await Promise.all(
        Array.from({ length: count }, async (_, i) => {
          await using sandbox = await Sandbox.create(options);
          return (await sandbox.commands.run(['printf', '%s', String(i)])).stdout;
        }),
      );
      expect(answers).toEqual(Array.from({ length: count }, (_, i) => String(i)));
      await expectNothingLeft(box, 10_000);
      const ids = sandboxIds(box);
      expect(ids).toHaveLength(count);
      expect(cgroupsOf(ids)).toEqual([]);
      expect(left(box)).toEqual(before);
      const ends = box.records().filter((record) => record.kind === 'run.end');
      expect(ends).toHaveLength(count);
      expect(ends.flatMap((record) => record.data['left'])).toEqual([]);
    },
    600_000,
  );
}
