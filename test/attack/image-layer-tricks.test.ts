// Layers that climb out, write through links or replace files of the host. Sources: CVE-2019-14271, CVE-2018-20839 and the tar slip family.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { AttackBox } from '../support/attack.ts';
import { imageOf, TestRegistry } from '../support/registry.ts';
import type { TarSpec } from '../support/tar.ts';

const TRICKS: readonly (readonly [string, (outside: string) => readonly (readonly TarSpec[])[]])[] = [
  ['a climbing name', () => [[{ name: '../../../../../../../../victim', content: 'evil' }]]],
  ['a hard link to a host file', (outside) => [[{ name: 'x', flag: '1', link: outside }]]],
  [
    'a hard link that climbs',
    (outside) => [[{ name: 'x', flag: '1', link: `../../../../../../../..${outside}` }]],
  ],
  [
    'a hard link through a symlink of a lower layer',
    (outside) => [
      [{ name: 'l', flag: '2', link: path.dirname(outside) }],
      [{ name: 'x', flag: '1', link: 'l/victim' }],
    ],
  ],
  ['a whiteout of the parent', () => [[{ name: 'a/x' }], [{ name: 'a/.wh...' }]]],
];

describe('layers that reach outside are refused, and leave a record', () => {
  it.each(TRICKS)('%s', async (_, layers) => {
    using box = new AttackBox('process');
    await using registry = await TestRegistry.start();
    const victim = box.plant('victim');
    registry.add('evil', 'latest', imageOf({ layers: layers(victim) }));
    const result = await box.cli(['image', 'pull', `${registry.host}/evil`]);
    expect(result.stderr).toContain('[E_IMAGE_INVALID]');
    expect(readFileSync(victim, 'utf8')).toBe(`${box.canary}\n`);
    expect(readdirSync(path.join(box.home, '.cache/glovebox/images/rootfs'))).toEqual([]);
    expect(box.records().at(-1)).toMatchObject({
      kind: 'image.refused',
      data: { action: 'pull', code: 'E_IMAGE_INVALID' },
    });
  });

  it('writes and removals through symlinks stay in the image', async () => {
    using box = new AttackBox('process');
    await using registry = await TestRegistry.start();
    const victim = box.plant('dir/victim');
    const dir = path.dirname(victim);
    registry.add(
      'evil',
      'latest',
      imageOf({
        layers: [
          [
            { name: 'l', flag: '2', link: dir },
            { name: 'm', flag: '2', link: victim },
          ],
          [
            { name: 'l/victim', content: 'evil' },
            { name: 'm', content: 'evil' },
            { name: 'l/.wh.other' },
            { name: 'l/.wh..wh..opq' },
          ],
          [{ name: 'l/', mode: 0o777 }],
        ],
      }),
    );
    expect(await box.cli(['image', 'pull', `${registry.host}/evil`])).toMatchObject({ code: 0 });
    expect(readFileSync(victim, 'utf8')).toBe(`${box.canary}\n`);
    expect(readdirSync(dir)).toEqual(['victim']);
    expect(box.records().at(-1)).toMatchObject({ kind: 'image.changed', data: { action: 'pull' } });
  });
});
