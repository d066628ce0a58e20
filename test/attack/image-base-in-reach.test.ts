// A base directory that the sandbox could write, or that shows the home directory: links planted there would be followed by the next run.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, forEachTier } from '../support/attack.ts';
import { smallRootfs } from '../support/rootfs.ts';

forEachTier('a base system in reach of the sandbox is refused', async (tier) => {
  using box = new AttackBox(tier);
  const inside = smallRootfs(path.join(box.workspace, 'rootfs'));
  const link = path.join(box.base, 'link');
  symlinkSync(inside, link);
  mkdirSync(path.join(box.base, 'usr'));
  const cases: readonly (readonly [string, string, readonly string[]])[] = [
    [inside, 'the sandbox may write to', []],
    [link, 'the sandbox may write to', []],
    ['/', 'the sandbox may write to', []],
    [box.base, 'the sandbox may write to', []],
    ['/proc/self/root', 'the sandbox may write to', []],
    [path.join(box.base, 'nothing'), 'there is no such directory', []],
    [box.home, 'has neither usr nor bin', []],
  ];
  for (const [base, why, flags] of cases) {
    const result = await box.run(['/bin/true'], { flags: ['--image', base, ...flags] });
    expect([base, result.code, result.stderr]).toEqual([
      base,
      125,
      expect.stringMatching(/E_POLICY_INVALID/),
    ]);
    if (base !== '/') expect(result.stderr).toContain(why);
    expect(box.records().at(-1)).toMatchObject({ kind: 'run.refused', data: { code: 'E_POLICY_INVALID' } });
  }
});

forEachTier(
  'a base system that holds the home directory is refused, also with a workspace elsewhere',
  async (tier) => {
    using box = new AttackBox(tier);
    mkdirSync(path.join(box.base, 'usr'));
    const elsewhere = mkdtempSync('/var/tmp/gbx-elsewhere-');
    const result = await box.run(['/bin/true'], { flags: ['--image', box.base, '--workspace', elsewhere] });
    rmSync(elsewhere, { recursive: true });
    expect(result.stderr).toContain('which no sandbox sees');
    expect(result.code).toBe(125);
    expect(box.records().at(-1)).toMatchObject({ kind: 'run.refused', data: { code: 'E_POLICY_INVALID' } });
  },
);
